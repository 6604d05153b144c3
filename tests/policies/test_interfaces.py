"""`interfaces`: paths, methods and media types that are offered pass, and nothing else."""

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aupgate.errors import ServiceError
from aupgate.http import normalise_path
from aupgate.model import Action, Disclosure, Request
from aupgate.policies.interfaces import Interfaces, Settings
from aupgate.policy import Services
from tests.gateway.scripted import a_request

HOST = (b"host", b"app.example")
CONFIGURED: dict[str, Any] = {
    "default": "refuse",
    "allow": [
        {"path": "/"},
        {"path": "/api/{rest:path}", "methods": ["GET", "POST"], "content_types": ["application/json"]},
        {"path": "/api/avatars/{id}", "methods": ["PUT"], "content_types": ["image/*"]},
        {"path": "/api/hooks", "content_types": ["*/*"]},
        {"path": "/live", "methods": ["GET"]},
    ],
    "deny": [{"path": "/internal/{rest:path}"}, {"path": "/api/admin/{rest:path}"}],
}


def policy(settings: dict[str, Any] | None = None) -> Interfaces:
    return Interfaces(Settings.model_validate(CONFIGURED if settings is None else settings))


def asked(method: str, raw: bytes, *headers: tuple[bytes, bytes], **given_: Any) -> Request:
    path = normalise_path(raw.partition(b"?")[0])
    return a_request(method=method, target=raw, path=path, headers=[HOST, *headers], **given_)


def body(type_: bytes | None, length: bytes = b"5") -> list[tuple[bytes, bytes]]:
    return [(b"content-length", length), *([(b"content-type", type_)] if type_ is not None else [])]


def found(request: Request, settings: dict[str, Any] | None = None) -> list[tuple[str, int]]:
    findings = policy(settings).on_request(request)
    assert all(finding.action is Action.REFUSE for finding in findings)
    return [(finding.rule.removeprefix("interfaces."), finding.status) for finding in findings]


JSON = b"application/json"

PASSES = [
    asked("GET", b"/"),
    asked("DELETE", b"/"),
    asked("GET", b"/api/items"),
    asked("GET", b"/api/items?path=/internal"),
    asked("HEAD", b"/api/items"),
    asked("GET", b"/api/items/"),
    asked("GET", b"/api"),
    asked("OPTIONS", b"/api/items"),
    asked("OPTIONS", b"/api/avatars/7", (b"origin", b"https://a"), (b"access-control-request-method", b"PUT")),
    asked("OPTIONS", b"*"),
    asked("POST", b"/api/items", *body(JSON)),
    asked("POST", b"/api/items", *body(b"Application/JSON; charset=utf-8")),
    asked("POST", b"/api/items"),
    asked("POST", b"/api/items", *body(b"text/xml", b"0")),
    asked("POST", b"/api/items", (b"transfer-encoding", b"chunked"), (b"content-type", JSON)),
    asked("POST", b"/api/items", (b"content-type", JSON), http_version="2"),
    asked("GET", b"/api/items", (b"content-type", b"text/xml")),
    asked("PUT", b"/api/avatars/7", *body(b"image/png")),
    asked("POST", b"/api/avatars/7", *body(JSON)),
    asked("POST", b"/api/hooks", *body(b"text/xml")),
    asked("POST", b"/api/hooks", *body(None)),
    asked("GET", b"/live", kind="websocket", scheme="wss"),
    asked("GET", b"http://app.example/api/items"),
]
REFUSED = [
    (asked("GET", b"/internal"), [("denied", 404), ("unknown_path", 404)]),
    (asked("GET", b"/api/admin/users"), [("denied", 404)]),
    (asked("OPTIONS", b"/api/admin/users"), [("denied", 404)]),
    (asked("DELETE", b"/api/admin/users"), [("denied", 404), ("method", 405)]),
    (asked("GET", b"/api/admin/live", kind="websocket"), [("denied", 404)]),
    (asked("GET", b"/unknown"), [("unknown_path", 404)]),
    (asked("GET", b"/apis"), [("unknown_path", 404)]),
    (asked("GET", b"/API/items"), [("unknown_path", 404)]),
    (asked("OPTIONS", b"/unknown"), [("unknown_path", 404)]),
    (asked("DELETE", b"/api/items"), [("method", 405)]),
    (asked("get", b"/api/items"), [("method", 405)]),
    (asked("POST", b"/live"), [("method", 405)]),
    (asked("POST", b"/api/items", *body(b"text/xml")), [("media_type", 415)]),
    (asked("POST", b"/api/items", *body(b"application/problem+json")), [("media_type", 415)]),
    (asked("POST", b"/api/items", *body(b"application/json, text/xml")), [("media_type", 415)]),
    (asked("POST", b"/api/items", *body(b"json")), [("media_type", 415)]),
    (asked("POST", b"/api/items", *body(None)), [("media_type", 415)]),
    (asked("POST", b"/api/items", (b"transfer-encoding", b"chunked")), [("media_type", 415)]),
    (asked("POST", b"/api/items", (b"content-type", b"text/xml"), http_version="2"), [("media_type", 415)]),
    (asked("GET", b"/api/items", *body(b"text/xml")), [("media_type", 415)]),
    (asked("PUT", b"/api/avatars/7", *body(JSON)), [("media_type", 415)]),
    (asked("CONNECT", b"db.example:5432"), [("open_proxy", 403), ("unknown_path", 404)]),
    (asked("GET", b"http://other.example/api/items"), [("open_proxy", 403)]),
    (asked("GET", b"ftp://app.example/api/items"), [("open_proxy", 403)]),
]


@pytest.mark.parametrize("request_", PASSES, ids=lambda each: f"{each.method} {each.target!r}")
def test_what_is_offered_passes(request_: Request) -> None:
    assert found(request_) == []


@pytest.mark.parametrize(("request_", "rules"), REFUSED, ids=[f"{each.method} {each.target!r}" for each, _ in REFUSED])
def test_what_is_not_offered_is_refused(request_: Request, rules: list[tuple[str, int]]) -> None:
    assert found(request_) == rules


@pytest.mark.parametrize(
    "raw",
    [
        b"/internal", b"/internal/", b"/internal/users", b"//internal/users", b"/./internal", b"/x/../internal",
        b"/%69nternal/users", b"/internal%2fusers", b"/internal%2Fusers", b"/internal\\users", b"/internal%5cusers",
        b"/internal;v=1/users", b"/internal;", b"/x/..;/internal", b"/x/%2e%2e/internal", b"\\internal",
        b"/internal//users", b"/internal/?x=1", b"http://app.example/internal", b"/%2finternal", b"/internal/.",
        b"/;/internal/users", b"/internal%3b/x",
    ],
)  # fmt: skip
def test_a_denied_path_is_denied_in_every_spelling(raw: bytes) -> None:
    settings = {"deny": [{"path": "/internal/{rest:path}"}]}
    assert found(asked("GET", raw), settings) == [("denied", 404)]


@given(st.binary(max_size=8), st.sampled_from([b"/", b"%2f", b"\\", b"//", b"/./", b";x/"]))
def test_nothing_before_or_within_the_path_gets_around_a_denial(tail: bytes, separator: bytes) -> None:
    path = normalise_path(b"/internal" + separator + tail.replace(b"..", b"").replace(b"%", b""))
    denying = policy({"deny": [{"path": "/internal/{rest:path}"}]})
    assert denying.on_request(a_request(path=path)) or not path.startswith("/internal")


@pytest.mark.parametrize("raw", [b"/INTERNAL/users", b"/Internal", b"//elsewhere/internal/users", b"//e/Internal"])
def test_a_denial_holds_for_applications_that_ignore_case_or_take_the_path_for_a_url(raw: bytes) -> None:
    assert found(asked("GET", raw), {"deny": [{"path": "/internal/{rest:path}"}]}) == [("denied", 404)]


@pytest.mark.parametrize("raw", [b"/internals", b"/api/internal", b"/internal-docs", b"/internal.html"])
def test_a_path_of_a_similar_name_is_not_denied(raw: bytes) -> None:
    assert found(asked("GET", raw), {"deny": [{"path": "/internal/{rest:path}"}]}) == []


def test_a_denial_reveals_nothing() -> None:
    disclosures = {rule.name: rule.disclosure for rule in Interfaces.rules}
    assert disclosures["interfaces.denied"] is Disclosure.NONE


def test_a_refused_method_is_told_those_that_are_taken() -> None:
    (refusal,) = policy().on_request(asked("DELETE", b"/api/avatars/7"))
    assert dict(refusal.headers) == {b"allow": b"GET, POST, PUT, HEAD, OPTIONS"}


def test_a_refused_media_type_is_told_those_that_are_accepted() -> None:
    (refusal,) = policy().on_request(asked("POST", b"/api/items", *body(b"text/xml")))
    assert dict(refusal.headers) == {b"accept": JSON, b"accept-post": JSON}


def test_without_settings_everything_passes_but_requests_to_a_proxy() -> None:
    assert found(asked("BREW", b"/pot", *body(b"message/coffeepot")), {}) == []
    assert found(asked("CONNECT", b"db.example:5432"), {}) == [("open_proxy", 403)]


def test_where_unknown_paths_pass_known_ones_are_still_judged() -> None:
    settings = CONFIGURED | {"default": "allow"}
    assert found(asked("DELETE", b"/unknown", *body(b"text/xml")), settings) == []
    assert found(asked("DELETE", b"/api/items"), settings) == [("method", 405)]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"default": "refuse"}, 'expected "allow" or "openapi" to say what is offered'),
        ({"default": "refuse", "deny": [{"path": "/x"}]}, 'expected "allow" or "openapi"'),
        ({"default": "deny"}, "'allow' or 'refuse'"),
        ({"allow": [{"path": "api"}]}, 'a path that begins with "/"'),
        ({"allow": [{"path": "/api", "methods": ["get"]}]}, "upper case"),
        ({"allow": [{"path": "/api", "content_types": ["json"]}]}, "media type"),
        ({"deny": [{"path": "/api", "methods": ["GET"]}]}, "Extra inputs are not permitted"),
        ({"deny": [{}]}, "Field required"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(settings)
    assert reason in str(caught.value)


class Documents:
    """Services with one document, or an error."""

    def __init__(self, answer: bytes | ServiceError) -> None:
        self.documents = self
        self.fetched: list[str] = []
        self._answer = answer

    async def fetch(self, location: str) -> bytes:
        self.fetched.append(location)
        if isinstance(self._answer, ServiceError):
            raise self._answer
        return self._answer


DESCRIPTION = json.dumps(
    {
        "openapi": "3.1.0",
        "servers": [{"url": "/v1"}],
        "paths": {
            "/items": {"get": {}, "post": {"requestBody": {"content": {"application/json": {}}}}},
            "/items/{id}": {"get": {}, "delete": {}},
        },
    }
).encode()


async def prepared(settings: dict[str, Any], document: bytes = DESCRIPTION) -> Interfaces:
    interfaces = policy(settings | {"openapi": "/openapi.json"})
    services = Documents(document)
    await interfaces.prepare(cast("Services", services))
    assert services.fetched == ["/openapi.json"]
    return interfaces


@pytest.mark.parametrize(
    ("request_", "rules"),
    [
        (asked("GET", b"/v1/items"), []),
        (asked("POST", b"/v1/items", *body(JSON)), []),
        (asked("DELETE", b"/v1/items/7"), []),
        (asked("GET", b"/live"), []),
        (asked("POST", b"/v1/items", *body(b"text/xml")), ["interfaces.media_type"]),
        (asked("DELETE", b"/v1/items"), ["interfaces.method"]),
        (asked("GET", b"/items"), ["interfaces.unknown_path"]),
        (asked("GET", b"/v1/items/7/parts"), ["interfaces.unknown_path"]),
    ],
    ids=lambda each: f"{each.method} {each.target!r}" if isinstance(each, Request) else "",
)
async def test_a_description_offers_its_operations_besides_what_is_allowed(request_: Request, rules: list[str]) -> None:
    interfaces = await prepared({"default": "refuse", "allow": [{"path": "/live"}]})
    assert [finding.rule for finding in interfaces.on_request(request_)] == rules


async def test_where_unknown_paths_pass_described_ones_are_still_judged() -> None:
    interfaces = await prepared({"default": "allow"})
    assert list(interfaces.on_request(asked("DELETE", b"/elsewhere"))) == []
    (refusal,) = interfaces.on_request(asked("DELETE", b"/v1/items"))
    assert dict(refusal.headers) == {b"allow": b"GET, POST, HEAD, OPTIONS"}


def test_before_the_description_is_read_a_request_is_a_fault_and_not_a_silent_pass() -> None:
    interfaces = policy({"openapi": "openapi.json", "deny": [{"path": "/internal"}]})
    with pytest.raises(ServiceError, match="has not been read yet"):
        interfaces.on_request(asked("GET", b"/items"))
    assert [finding.rule for finding in interfaces.on_request(asked("GET", b"/internal"))] == ["interfaces.denied"]


def test_before_the_description_is_read_unknown_paths_are_refused_for_a_while_where_they_are_refused_at_all() -> None:
    interfaces = policy({"default": "refuse", "openapi": "openapi.json", "allow": [{"path": "/", "methods": ["GET"]}]})
    (refusal,) = interfaces.on_request(asked("GET", b"/items"))
    assert (refusal.rule, refusal.status, refusal.retry_after is not None) == ("interfaces.unready", 503, True)
    assert list(interfaces.on_request(asked("GET", b"/"))) == []
    assert [each.rule for each in interfaces.on_request(asked("POST", b"/"))] == ["interfaces.method"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ServiceError("no such file"), "no such file"),
        (b"openapi: 3.0.0", "the openapi document 'openapi.yaml' cannot be used: it is not JSON"),
        (b'{"openapi": "3.0.0", "paths": {"/a}": {"get": {}}}}', "unpaired brace"),
    ],
    ids=["away", "YAML", "a bad path"],
)
async def test_a_description_that_cannot_be_had_is_a_service_error_and_can_be_tried_again(
    answer: bytes | ServiceError, reason: str
) -> None:
    interfaces = policy({"openapi": "openapi.yaml"})
    with pytest.raises(ServiceError) as caught:
        await interfaces.prepare(cast("Services", Documents(answer)))
    assert reason in str(caught.value)
    with pytest.raises(ServiceError):
        interfaces.on_request(asked("GET", b"/v1/items"))
    await interfaces.prepare(cast("Services", Documents(DESCRIPTION)))
    assert list(interfaces.on_request(asked("GET", b"/v1/items"))) == []


async def test_nothing_is_fetched_when_no_description_is_configured() -> None:
    services = Documents(ServiceError("not to be asked"))
    await policy().prepare(cast("Services", services))
    assert services.fetched == []
