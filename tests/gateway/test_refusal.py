"""Refusals as clients see them."""

import json

import pytest

from aupgate.model import Action, Clause, Disclosure, Finding, Judgement, Mode, Rule
from aupgate.refusal import Answer, Aup, Refusals
from tests.gateway.scripted import a_request

AUP = Aup("Example Inc.", "https://example.com/aup", "mailto:abuse@example.com")
CLAUSE = Clause("test.robots", "No <robots>", "", ("scrapers",), "test")
BROWSER = (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")


def answered(
    *,
    disclosure: Disclosure = Disclosure.FULL,
    headers: list[tuple[bytes, bytes]] | None = None,
    method: str = "GET",
    finding: Finding | None = None,
) -> Answer:
    finding = finding or Finding("scrapers.scraper", Action.REFUSE, 403, "robots <are> refused")
    judgement = Judgement(finding, Rule(finding.rule, "Robots & spiders", disclosure), Mode.ENFORCE, (CLAUSE,))
    return Refusals(AUP)(a_request(headers=headers or [], method=method), judgement, [(b"ratelimit", b'"a";r=0;t=1')])


def test_a_refusal_is_problem_details_that_name_rule_clause_and_request() -> None:
    answer = answered()
    assert answer.status == 403
    assert dict(answer.headers)[b"content-type"] == b"application/problem+json"
    assert json.loads(answer.body) == {
        "type": "urn:aupgate:rule:scrapers.scraper",
        "title": "Robots & spiders",
        "status": 403,
        "detail": "robots <are> refused",
        "instance": "urn:uuid:6f9c3c9e-1111-4222-8333-444455556666",
        "clauses": [{"id": "test.robots", "title": "No <robots>", "url": "https://example.com/aup"}],
        "contact": "mailto:abuse@example.com",
    }


def test_a_person_with_a_browser_gets_a_page_with_everything_escaped() -> None:
    answer = answered(headers=[BROWSER])
    page = answer.body.decode()
    assert dict(answer.headers)[b"content-type"].startswith(b"text/html")
    assert "No &lt;robots&gt;" in page
    assert "Robots &lt;are&gt; refused." in page
    assert "<are>" not in page
    assert 'href="mailto:abuse@example.com"' in page


@pytest.mark.parametrize("headers", [[], [BROWSER]], ids=["json", "page"])
@pytest.mark.parametrize(
    ("disclosure", "said", "unsaid"),
    [
        (Disclosure.FULL, [b"refused", b"test.robots", b"Robots"], []),
        (Disclosure.CLAUSE, [b"test.robots", b"Robots"], [b"refused"]),
        (Disclosure.NONE, [b"Forbidden"], [b"refused", b"test.robots", b"Robots", b"scrapers"]),
    ],
)
def test_a_refusal_says_no_more_than_the_rule_discloses(
    headers: list[tuple[bytes, bytes]], disclosure: Disclosure, said: list[bytes], unsaid: list[bytes]
) -> None:
    body = answered(disclosure=disclosure, headers=headers).body
    assert all(text in body for text in said)
    assert not any(text in body for text in unsaid)


def test_evidence_never_leaves_the_gateway() -> None:
    finding = Finding("scrapers.scraper", Action.REFUSE, 403, "no", evidence={"signature": "secret-evidence"})
    for headers in ([], [BROWSER]):
        assert b"secret-evidence" not in answered(headers=headers, finding=finding).body


def test_a_head_request_gets_the_fields_and_no_body() -> None:
    answer = answered(method="HEAD")
    assert answer.body == b""
    assert dict(answer.headers)[b"content-length"] == b"%d" % len(answered().body)


def test_a_refusal_carries_the_fields_of_finding_and_verdict() -> None:
    finding = Finding("interfaces.method", Action.REFUSE, 405, "no", headers=((b"allow", b"GET"),), retry_after=1.2)
    fields = dict(answered(finding=finding).headers)
    assert fields[b"allow"] == b"GET"
    assert fields[b"retry-after"] == b"2"
    assert fields[b"ratelimit"] == b'"a";r=0;t=1'
    assert fields[b"cache-control"] == b"no-store"
    assert fields[b"x-request-id"] == b"6f9c3c9e-1111-4222-8333-444455556666"
