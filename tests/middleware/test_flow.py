"""One HTTP exchange: decided early, edited right, settled once."""

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from aupgate.enforcement import Enforcement
from aupgate.middleware import AcceptableUse
from aupgate.model import HeaderEdits, Mode, OnError
from aupgate.policies.headers import Headers, Settings
from tests.gateway import scripted
from tests.gateway.scripted import Inspect, Judge, Strip, Watch, refusing
from tests.middleware.wrapped import DISCONNECT, App, Server, a_gateway, body_messages, call, http_scope

REFUSE = Judge("p", refusing("p.first"))
UPLOAD = [(b"host", b"a"), (b"content-length", b"10")]


# -- deciding ----------------------------------------------------------------------------------------------------------


async def test_a_refused_head_is_answered_before_the_first_receive() -> None:
    """No receive, so no 100-continue: a client that asked first never sends the body."""
    app = App()
    scope = http_scope(method="POST", headers=[*UPLOAD, (b"expect", b"100-continue")])
    server = await call(app, a_gateway(REFUSE), scope, body_messages(b"0123456789"))
    assert (server.status, server.received, app.scopes) == (403, 0, [])


async def test_a_refused_client_that_is_still_sending_gets_the_answer_before_it_is_read_on() -> None:
    server = await call(
        App(), a_gateway(REFUSE), http_scope(method="POST", headers=UPLOAD), body_messages(b"01234", b"56789")
    )
    assert (b"connection", b"close") in server.headers
    assert [(message["type"], message.get("more_body")) for message in server.sent] == [
        ("http.response.start", None),
        ("http.response.body", True),
        ("http.response.body", False),
    ]
    assert server.received == 2


async def test_a_refusal_without_a_body_leaves_the_connection_open() -> None:
    server = await call(App(), a_gateway(REFUSE))
    assert b"connection" not in dict(server.headers)
    assert b'"status": 403' in server.body


async def test_an_observed_refusal_passes_and_the_application_may_know() -> None:
    app = App()
    server = await call(app, a_gateway(Enforcement(REFUSE, ceiling=Mode.OBSERVE)))
    assert server.status == 200
    assert [judgement.finding.rule for judgement in app.scopes[0]["aupgate"].findings] == ["p.first"]


# -- headers -----------------------------------------------------------------------------------------------------------


async def test_stripped_fields_do_not_reach_the_application_and_others_keep_order_and_duplicates() -> None:
    app = App()
    headers = [(b"a", b"1"), (b"x-real-ip", b"6.6.6.6"), (b"b", b"2"), (b"a", b"3")]
    await call(app, a_gateway(Strip("s", b"x-real-ip")), http_scope(headers=headers))
    assert app.scopes[0]["headers"][:-1] == [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]


async def test_the_application_and_the_client_get_the_same_fresh_request_id() -> None:
    app = App()
    server = await call(
        app, a_gateway(), http_scope(headers=[(b"x-request-id", b"chosen"), (b"X-Request-ID", b"chosen")])
    )
    ids = [value for name, value in app.scopes[0]["headers"] if name.lower() == b"x-request-id"]
    assert ids == [value for name, value in server.headers if name == b"x-request-id"]
    assert ids == [app.scopes[0]["aupgate"].request_id.encode()]


async def test_an_applications_own_request_id_stays() -> None:
    server = await call(App([(b"X-Request-Id", b"mine")]), a_gateway())
    assert [value for name, value in server.headers if name.lower() == b"x-request-id"] == [b"mine"]


async def test_duplicate_response_fields_are_kept() -> None:
    server = await call(App([(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]), a_gateway())
    assert [value for name, value in server.headers if name == b"set-cookie"] == [b"a=1", b"b=2"]


async def test_policies_edit_the_response() -> None:
    watch = Watch("w", HeaderEdits(frozenset({b"server"}), ((b"x-added", b"1"),)))
    server = await call(App([(b"server", b"secret/1")]), a_gateway(watch))
    assert b"server" not in dict(server.headers)
    assert dict(server.headers)[b"x-added"] == b"1"


@pytest.mark.parametrize(("scheme", "secured"), [("https", True), ("http", False)])
async def test_a_mount_takes_banners_from_responses_and_tells_of_transport_security(scheme: str, secured: bool) -> None:
    gateway = a_gateway(Headers(Settings()))
    app = App([(b"X-Powered-By", b"Example/1"), (b"set-cookie", b"a"), (b"x-runtime", b"0.1"), (b"set-cookie", b"b")])
    server = await call(app, gateway, http_scope(scheme=scheme))
    assert server.headers[:2] == [(b"set-cookie", b"a"), (b"set-cookie", b"b")]
    assert (b"strict-transport-security" in dict(server.headers)) is secured


async def test_transport_security_as_the_application_says_it_stays() -> None:
    server = await call(
        App([(b"Strict-Transport-Security", b"max-age=1")]), a_gateway(Headers(Settings())), http_scope(scheme="https")
    )
    said = [value for name, value in server.headers if name.lower() == b"strict-transport-security"]
    assert said == [b"max-age=1"]


async def test_behind_trusted_proxies_the_application_sees_the_client() -> None:
    app = App()
    gateway = a_gateway(client={"trusted_proxies": ["10.0.0.0/8"]})
    await call(app, gateway, http_scope(client=("10.0.0.1", 1), headers=[(b"x-forwarded-for", b"198.51.100.9")]))
    assert app.scopes[0]["client"] == ("198.51.100.9", 0)


@pytest.mark.parametrize(("said", "scheme"), [(b"https", "https"), (b"http", "http"), (b"odd", "http")])
async def test_behind_trusted_proxies_the_application_sees_the_scheme_the_client_used(said: bytes, scheme: str) -> None:
    app = App()
    gateway = a_gateway(client={"trusted_proxies": ["10.0.0.0/8"]})
    headers = [(b"x-forwarded-for", b"198.51.100.9"), (b"x-forwarded-proto", said)]
    await call(app, gateway, http_scope(client=("10.0.0.1", 1), headers=headers))
    assert app.scopes[0]["scheme"] == scheme
    await call(app, gateway, http_scope(client=("198.51.100.9", 1), headers=headers))
    assert app.scopes[1]["scheme"] == "http"


async def test_what_a_server_adds_to_its_headers_later_does_not_reach_the_application() -> None:
    """uvicorn appends a chunked request's trailers to the list that it gave, after the request was judged."""
    app, headers = App(), [(b"transfer-encoding", b"chunked")]
    server = Server(body_messages(b"ab", b"cd"))
    receive = server.receive

    async def with_trailers() -> Any:
        headers.append((b"x-remote-user", b"admin"))
        return await receive()

    scope = http_scope(method="POST", headers=headers)
    await AcceptableUse(app, a_gateway(Inspect("i")))(scope, with_trailers, server.send)
    assert b"x-remote-user" not in dict(app.scopes[0]["headers"])


# -- bodies ------------------------------------------------------------------------------------------------------------


async def test_a_held_body_is_replayed_once_and_then_the_server_is_asked_again() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while not seen or seen[-1]["type"] != "http.disconnect":
            seen.append(await receive())

    await call(app, a_gateway(Inspect("i")), http_scope(method="POST"), [*body_messages(b"ab", b"cd"), DISCONNECT])
    assert [message["type"] for message in seen] == ["http.request", "http.disconnect"]
    assert seen[0] == {"type": "http.request", "body": b"abcd", "more_body": False}


async def test_no_disconnect_is_invented_after_a_held_body() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.01)

    await call(app, a_gateway(Inspect("i")), http_scope(method="POST"), body_messages(b"abcd"))


async def test_a_client_that_leaves_before_the_last_chunk_is_not_forwarded() -> None:
    app = App()
    messages = [{"type": "http.request", "body": b"ab", "more_body": True}, DISCONNECT]
    server = await call(app, a_gateway(Inspect("i")), http_scope(method="POST"), messages)
    assert (app.scopes, server.sent) == ([], [])


@pytest.mark.parametrize(
    ("version", "headers"),
    [("1.1", [(b"transfer-encoding", b"chunked")]), ("1.1", [(b"content-length", b"4")]), ("2", [])],
    ids=["chunked", "with length", "HTTP/2 without length"],
)
async def test_a_held_body_travels_on_with_its_length(version: str, headers: list[tuple[bytes, bytes]]) -> None:
    app = App()
    scope = http_scope(method="POST", http_version=version, headers=headers)
    await call(app, a_gateway(Inspect("i")), scope, body_messages(b"ab", b"cd"))
    fields = dict(app.scopes[0]["headers"])
    assert fields[b"content-length"] == b"4"
    assert b"transfer-encoding" not in fields
    assert app.bodies == [b"abcd"]


async def test_a_refused_body_never_reaches_the_application() -> None:
    app = App()
    policy = Inspect("i", [refusing("i.first", 422)])
    server = await call(app, a_gateway(policy), http_scope(method="POST"), body_messages(b"ab", b"cd"))
    assert (server.status, app.scopes) == (422, [])


async def test_a_body_is_refused_as_soon_as_it_is_too_large() -> None:
    app = App()
    messages = body_messages(*[b"x" * 400] * 100)
    server = await call(
        app, a_gateway(Inspect("i", max_size=1000)), http_scope(method="POST", http_version="2"), messages
    )
    assert (server.status, server.received, app.scopes) == (413, 3, [])


async def test_an_observed_body_streams_untouched_and_is_inspected_afterwards() -> None:
    policy, arrived = Inspect("i", [refusing("i.first", 422)]), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            arrived.append((await receive())["body"])
            assert policy.seen == []
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    gateway = a_gateway(Enforcement(policy, ceiling=Mode.OBSERVE))
    server = await call(app, gateway, http_scope(method="POST"), body_messages(b"ab", b"cd"))
    assert (server.status, arrived, policy.seen) == (200, [b"ab", b"cd"], [b"abcd"])


async def test_an_observed_body_that_is_too_large_streams_on() -> None:
    app, policy = App(), Inspect("i", max_size=3)
    gateway = a_gateway(Enforcement(policy, ceiling=Mode.OBSERVE))
    server = await call(app, gateway, http_scope(method="POST"), body_messages(b"ab", b"cd", b"ef"))
    assert (server.status, app.bodies, policy.seen) == (200, [b"abcdef"], [])
    assert 'rule="i.too_large"' in gateway.metrics.render().decode()


@pytest.mark.parametrize("size", [300, 400, 1001])
async def test_a_body_whose_excess_is_only_observed_is_forwarded_whole(size: int) -> None:
    """A rule for the size that observes lets pass what holding cannot take, without losing a byte."""
    app, policy = App(), Inspect("i", [refusing("i.first", 422)], max_size=1000)
    gateway = a_gateway(Enforcement(policy, rules={"too_large": Mode.OBSERVE}))
    chunks = [bytes([number]) * size for number in range(5)]
    headers = [(b"content-length", b"%d" % (5 * size))]
    await call(app, gateway, http_scope(method="POST", headers=headers), body_messages(*chunks))
    assert app.bodies == [b"".join(chunks)]
    assert dict(app.scopes[0]["headers"])[b"content-length"] == b"%d" % (5 * size)


async def test_a_replaced_body_is_forwarded_with_its_own_length() -> None:
    app = App()
    await call(
        app, a_gateway(Inspect("i", replacement=b"clean")), http_scope(method="POST"), body_messages(b"dirty body")
    )
    assert app.bodies == [b"clean"]
    assert dict(app.scopes[0]["headers"])[b"content-length"] == b"5"


async def test_a_spool_without_room_follows_on_error_and_is_freed() -> None:
    for on_error, status in ((OnError.REFUSE, 503), (OnError.ALLOW, 200)):
        gateway = a_gateway(
            Enforcement(Inspect("i", max_size=10**6), on_error=on_error), spool={"budget": "1 KiB", "memory": "1 KiB"}
        )
        app = App()
        server = await call(
            app, gateway, http_scope(method="POST", http_version="2"), body_messages(b"x" * 600, b"x" * 600)
        )
        assert server.status == status
        assert app.bodies == ([b"x" * 1200] if on_error is OnError.ALLOW else [])
        assert gateway.spools.budget.used == 0


# -- endings -----------------------------------------------------------------------------------------------------------


def ended(watch: Watch) -> Any:
    [outcome] = watch.outcomes
    return outcome


async def test_the_end_tells_status_and_bytes_both_ways() -> None:
    watch = Watch("w")
    await call(App(), a_gateway(watch), http_scope(method="POST"), body_messages(b"abc"))
    outcome = ended(watch)
    assert (outcome.status, outcome.bytes_in, outcome.bytes_out, outcome.aborted, outcome.refused) == (
        200,
        3,
        5,
        False,
        False,
    )


async def test_the_end_comes_for_a_refusal_too() -> None:
    watch = Watch("w")
    await call(App(), a_gateway(watch, REFUSE))
    assert (ended(watch).status, ended(watch).refused) == (403, True)


async def test_the_end_comes_for_a_client_that_left() -> None:
    watch = Watch("w")
    await call(App(), a_gateway(watch), messages=[DISCONNECT])
    assert ended(watch).aborted


@pytest.mark.parametrize("started", [False, True])
async def test_an_applications_error_is_the_servers_to_answer_and_ends_the_exchange(started: bool) -> None:
    watch = Watch("w")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if started:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError("the application's own")

    with pytest.raises(ZeroDivisionError):
        await call(app, a_gateway(watch))
    assert (ended(watch).status, ended(watch).aborted) == ((200, True) if started else (500, False))


async def test_a_cancelled_exchange_ends() -> None:
    watch = Watch("w")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(call(app, a_gateway(watch)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert ended(watch).aborted


async def test_work_that_the_application_does_after_its_response_is_not_cut() -> None:
    done: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        done.append("background")

    await call(app, a_gateway(Inspect("i")), http_scope(method="POST"), body_messages(b"x"))
    assert done == ["background"]


async def test_context_variables_reach_the_application_and_come_back() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(variable.get())
        variable.set("by the application")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    variable.set("by the server")
    await call(app, a_gateway(scripted.Count("c")))
    assert (seen, variable.get()) == (["by the server"], "by the application")
