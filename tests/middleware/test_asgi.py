"""The ASGI adapter makes the right request of a scope and leaves alone what is not its business."""

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.errors import ConfigError
from aupgate.gateway import request_id
from aupgate.middleware import AcceptableUse
from aupgate.middleware.asgi import raw_path
from aupgate.model import Account
from aupgate.policies.rate_limits import Limit, RateLimits
from aupgate.policies.rate_limits import Settings as RateLimitsSettings
from tests.gateway.scripted import Judge, refusing
from tests.middleware.wrapped import QUIET, App, Server, a_gateway, body_messages, call, http_scope


class Remember(Judge):
    """Lets everything pass and remembers the requests."""

    def __init__(self) -> None:
        super().__init__("remember")
        self.requests: list[Any] = []

    def on_request(self, request: Any) -> Any:
        self.requests.append(request)
        return ()


async def seen(scope: Any, **config: Any) -> Any:
    """Return the request that the policies see for `scope`."""
    remember = Remember()
    await call(App(), a_gateway(remember, **config), scope)
    return remember.requests[0]


# -- the request -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "raw", "root", "expected"),
    [
        pytest.param("/a/b", b"/a/b", "", "/a/b", id="plain"),
        pytest.param("/a b", b"/a%20b", "", "/a b", id="encoded"),
        pytest.param("/internal/x", b"/internal%2Fx", "", "/internal/x", id="encoded slash"),
        pytest.param("/a/../internal", b"/a/../internal", "", "/internal", id="dot segments"),
        pytest.param("//internal", b"//internal", "", "/internal", id="double slash"),
        pytest.param("/a", None, "", "/a", id="a server without raw_path"),
        pytest.param("/a b?c", None, "", "/a b?c", id="a server without raw_path, odd characters"),
        pytest.param("/a", b"/a?x=1", "", "/a", id="a server that leaves the query in raw_path"),
        pytest.param("/new", b"/old", "", "/new", id="rewritten by an outer middleware"),
        pytest.param("/v1/items", b"/v1/items", "/v1", "/items", id="mounted"),
        pytest.param("/v1", b"/v1", "/v1", "/", id="mounted, its root"),
        pytest.param("/v10/items", b"/v10/items", "/v1", "/v10/items", id="root_path ends at a slash"),
        pytest.param("/caf\u00e9", b"/caf%C3%A9", "", "/caf\u00e9", id="UTF-8"),
    ],
)
async def test_rules_match_the_path_that_the_application_routes_by(
    path: str, raw: bytes | None, root: str, expected: str
) -> None:
    request = await seen(http_scope(path=path, raw_path=raw, root_path=root))
    assert request.path == expected


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_path_without_its_raw_form_is_read_as_it_is(text: str) -> None:
    from urllib.parse import unquote

    path = "/" + text
    assert unquote(raw_path({"path": path}).decode()) == path


async def test_the_target_keeps_the_query() -> None:
    request = await seen(http_scope(path="/a", query_string=b"q=1&q=2"))
    assert (request.target, request.query) == (b"/a?q=1&q=2", b"q=1&q=2")


@pytest.mark.parametrize(
    "headers", [[(b"host", b"a")], ((b"host", b"a"),), iter([(b"host", b"a")])], ids=["list", "tuple", "iterator"]
)
async def test_headers_may_be_any_iterable(headers: Any) -> None:
    assert (await seen(http_scope(headers=headers))).header(b"host") == b"a"


async def test_a_request_over_a_unix_socket_has_no_address() -> None:
    assert (await seen(http_scope(client=None))).client.address == ""


def test_request_ids_are_random_version_4_uuids() -> None:
    ids = {request_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(str(uuid.UUID(text, version=4)) == text for text in ids)


# -- accounts ----------------------------------------------------------------------------------------------------------


async def ann(_: Any) -> str:
    return "ann"


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        (lambda _: "ann", Account("ann", "callable", verified=True)),
        (ann, Account("ann", "callable", verified=True)),
        (lambda _: Account("bob", "mine", verified=False), Account("bob", "mine", verified=False)),
        (lambda scope: scope["state"].get("user"), None),
    ],
    ids=["string", "coroutine", "account", "none"],
)
async def test_the_application_can_name_the_account(account: Any, expected: Account | None) -> None:
    remember = Remember()
    await call(App(), a_gateway(remember), account=account)
    assert remember.requests[0].account == expected


async def test_without_a_name_from_the_application_the_configured_sources_are_asked() -> None:
    remember = Remember()
    gateway = a_gateway(remember, account={"sources": ["header:x-user"]})
    await call(App(), gateway, http_scope(headers=[(b"x-user", b"ann")]), account=lambda _: None)
    assert remember.requests[0].account == Account("ann", "header:x-user", verified=False)


async def test_the_application_reads_what_was_decided() -> None:
    app = App()
    await call(app, a_gateway(Remember()), account=lambda _: "ann")
    decided = app.scopes[0]["aupgate"]
    assert decided.client.address == "198.51.100.7"
    assert decided.account.id == "ann"
    assert str(uuid.UUID(decided.request_id)) == decided.request_id
    assert decided.findings == ()


# -- other people's business -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lifespan", "unheard-of"])
async def test_a_scope_that_is_no_request_reaches_the_application_as_it_is(kind: str) -> None:
    scope, seen = {"type": kind, "state": {}}, []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, await receive()))
        await send({"type": "made.up"})

    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "any"}

    async def send(message: Any) -> None:
        sent.append(message)

    await AcceptableUse(app, a_gateway())(scope, receive, send)
    assert seen == [(scope, {"type": "any"})]
    assert seen[0][0] is scope
    assert sent == [{"type": "made.up"}]


async def test_the_servers_scope_is_not_changed_and_its_state_is_shared() -> None:
    app, scope = App(), http_scope(headers=[(b"host", b"a"), (b"x-request-id", b"chosen")])
    before = {**scope, "headers": list(scope["headers"])}
    await call(app, a_gateway(Remember()), scope)
    assert scope == before
    assert app.scopes[0]["state"] is scope["state"]


async def test_unknown_messages_pass_both_ways() -> None:
    received: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.append(await receive())
        await send({"type": "http.response.debug", "info": {}})
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b""})
        await send({"type": "http.response.trailers", "headers": [], "more_trailers": False})

    server = await call(app, a_gateway(), messages=[{"type": "http.made.up"}])
    assert received == [{"type": "http.made.up"}]
    assert [message["type"] for message in server.sent] == [
        "http.response.debug",
        "http.response.start",
        "http.response.body",
        "http.response.trailers",
    ]
    assert server.sent[1]["trailers"] is True


# -- configuration -----------------------------------------------------------------------------------------------------


def test_a_wrong_configuration_fails_when_the_application_is_built() -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        AcceptableUse(App(), {"gatewy": {}})


async def test_a_mount_needs_no_configuration() -> None:
    server = await call(App(), AcceptableUse(App(), QUIET).gateway)
    assert (server.status, server.body) == (200, b"hello")


async def test_a_configuration_may_be_a_file(tmp_path: Any) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[log]\naudit = "off"\n[aup]\nname = "From a file"\n')
    assert AcceptableUse(App(), str(path)).gateway.config.aup.name == "From a file"
    assert AcceptableUse(App(), path).gateway.config.aup.name == "From a file"


async def test_an_uncertain_client_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    wrapped = AcceptableUse(App(), a_gateway(Judge("p", refusing("p.first"))))
    scope = http_scope(client=("10.0.0.1", 1), headers=[(b"x-forwarded-for", b"198.51.100.7")])
    for _ in range(3):
        server = Server(body_messages(b""))
        await wrapped(scope, server.receive, server.send)
    assert caplog.text.count("trusted_proxies is not set") == 1


async def test_a_trusted_proxy_that_names_no_client_is_warned_of_and_never_limited(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = RateLimits(RateLimitsSettings(limits=(Limit(name="few", rate="2/minute", key=("client",)),)))
    wrapped = AcceptableUse(App(), a_gateway(limits, client={"trusted_proxies": ["10.0.0.0/8"]}))

    async def statuses(*headers: tuple[bytes, bytes]) -> list[int]:
        scope, servers = http_scope(client=("10.0.0.1", 1), headers=list(headers)), []
        for _ in range(4):
            servers.append(Server(body_messages(b"")))
            await wrapped(scope, servers[-1].receive, servers[-1].send)
        return [server.status for server in servers]

    assert await statuses() == [200] * 4
    assert await statuses((b"x-forwarded-for", b"garbage")) == [200] * 4
    assert await statuses((b"x-forwarded-for", b"198.51.100.7")) == [200, 200, 429, 429]
    assert "trusted_proxies is not set" not in caplog.text
    assert caplog.text.count("a trusted proxy (10.0.0.1) names no client") == 1
