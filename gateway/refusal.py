"""Refusals as a client sees them: RFC 9457 problem details, or a plain HTML page for a person with a browser.

How much a refusal says is the rule's `disclosure`; evidence never leaves the gateway.
"""

import json
from collections.abc import Callable, Sequence
from html import escape
from http import HTTPStatus
from typing import Any, Final

from aupgate.http import prefers_html, retry_after
from aupgate.model import Clause, Content, Disclosure, Finding, Header, Judgement, Request
from aupgate.values import value

RULE_URN: Final = "urn:aupgate:rule:"
"""A rule's URI is this and the rule's name."""


@value
class Aup:
    """What a refusal says of the policy it enforces, from `[aup]`."""

    name: str = ""
    url: str = ""
    contact: str = ""


@value
class Answer:
    """A whole response of the gateway's own."""

    status: int
    headers: tuple[Header, ...]
    body: bytes


Renderer = Callable[[Request, Judgement, Sequence[Header]], Answer]
"""Makes the answer for a refusal, with the header fields that the verdict adds. A site may bring its own."""


class Refusals:
    """The renderer that comes with aupgate."""

    def __init__(self, aup: Aup) -> None:
        self._aup = aup

    def __call__(self, request: Request, judgement: Judgement, fields: Sequence[Header] = ()) -> Answer:
        """Return the answer for `judgement`; a HEAD request gets its header fields and no body."""
        if judgement.finding.content is not None:
            return _content(request, judgement.finding, judgement.finding.content, fields)
        problem = self.problem(request, judgement)
        if prefers_html(request.header(b"accept")):
            media_type, body = b"text/html; charset=utf-8", self._page(problem).encode()
        else:
            media_type, body = (
                b"application/problem+json",
                json.dumps(problem, ensure_ascii=False).encode(),
            )
        headers = [
            (b"content-type", media_type),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", request.id.encode("latin-1")),
            *judgement.finding.headers,
            *fields,
        ]
        if media_type.startswith(b"text/html"):
            headers += _PAGE_FIELDS
        if judgement.finding.retry_after is not None:
            headers.append((b"retry-after", retry_after(judgement.finding.retry_after)))
        return Answer(
            judgement.finding.status,
            tuple(headers),
            b"" if request.method == "HEAD" else body,
        )

    def problem(self, request: Request, judgement: Judgement) -> dict[str, Any]:
        """Return the problem details (RFC 9457 section 3) as far as the rule discloses them."""
        finding, rule = judgement.finding, judgement.rule
        problem: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(finding.status).phrase,
            "status": finding.status,
            "instance": f"urn:uuid:{request.id}",
        }
        if rule.disclosure is not Disclosure.NONE:
            problem |= {"type": RULE_URN + rule.name, "title": rule.title}
            problem["clauses"] = [self._clause(clause) for clause in judgement.clauses]
        if rule.disclosure is Disclosure.FULL:
            problem["detail"] = finding.detail
        if self._aup.contact:
            problem["contact"] = self._aup.contact
        return problem

    def _clause(self, clause: Clause) -> dict[str, str]:
        url = clause.url or self._aup.url
        return {"id": clause.id, "title": clause.title} | ({"url": url} if url else {})

    def _page(self, problem: dict[str, Any]) -> str:
        title = escape(problem["title"])
        name = escape(self._aup.name)
        detail = problem.get("detail", "")
        paragraphs = [f"<p>{escape(detail[:1].upper() + detail[1:])}.</p>"] if detail else []
        if problem.get("clauses"):
            paragraphs.append(f"<p>The policy says:</p><ul>{''.join(map(_clause_item, problem['clauses']))}</ul>")
        if self._aup.contact:
            address = escape(self._aup.contact, quote=True)
            paragraphs.append(
                f'<p>If this is a mistake, write to <a href="{address}">{address.removeprefix("mailto:")}</a>.</p>'
            )
        return _PAGE.format(
            title=title,
            name=name,
            body="".join(paragraphs),
            status=problem["status"],
            id=escape(problem["instance"]),
        )


def _content(request: Request, finding: Finding, content: Content, fields: Sequence[Header]) -> Answer:
    headers = (
        (b"content-type", content.type),
        (b"content-length", b"%d" % len(content.body)),
        (b"x-content-type-options", b"nosniff"),
        (b"x-request-id", request.id.encode("latin-1")),
        *finding.headers,
        *fields,
    )
    if not any(name == b"cache-control" for name, _ in finding.headers):
        headers = (*headers, (b"cache-control", b"no-store"))
    return Answer(finding.status, headers, b"" if request.method == "HEAD" else content.body)


def _clause_item(clause: dict[str, str]) -> str:
    title, id_ = escape(clause["title"]), escape(clause["id"])
    text = f'<a href="{escape(clause["url"], quote=True)}">{title}</a>' if "url" in clause else title
    return f"<li>{text} <code>{id_}</code></li>"


_PAGE_FIELDS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    ),
    (b"content-language", b"en"),
)

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:10vh auto;padding:0 1rem;color:#222}}
h1{{font-size:1.4rem}}code,small{{color:#555}}@media(prefers-color-scheme:dark){{body{{color:#eee;background:#181818}}
code,small{{color:#aaa}}a{{color:#8bf}}}}</style></head>
<body><main><p>{name}</p><h1>{title}</h1>{body}<p><small>{status} · {id}</small></p></main></body></html>
"""
