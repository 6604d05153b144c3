"""The direct lane: nobody can tell it from the ASGI way, and it leaves what it cannot take."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from aupgate.model import Header
from aupgate.proxy.connection import Timeouts
from aupgate.proxy.intake import IntakeLimits
from tests.gateway.proxy.both_ways import (
    BOTH,
    HELLO,
    OFF,
    PLAIN,
    STRICT,
    Recorder,
    asked,
    one_by_one,
    same,
    site,
    without_chance,
)
from tests.gateway.proxy.servers import (
    GUARD,
    RawServer,
    Scope,
    ask,
    get,
    open_to,
    parts,
    read_head,
    saying,
    until,
)

# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(get("/"), id="plain"),
        pytest.param(get("/a%2Fb;c//../d?x=%20&y"), id="a path that could be normalised"),
        pytest.param(get("/?"), id="an empty query"),
        pytest.param(get("//host/a??b?c"), id="slashes and question marks"),
        pytest.param(get("/a", method="HEAD"), id="HEAD"),
        pytest.param(get("/a", method="OPTIONS"), id="OPTIONS"),
        pytest.param(get("/a", method="DELETE"), id="DELETE"),
        pytest.param(get("/a", "x-forwarded-for: 1.2.3.4", "X_Real_IP: 1.2.3.4", "forwarded: for=a"), id="forwarded"),
        pytest.param(get("/a", "cookie: a", "accept: b", "Accept: c", "cookie: d"), id="fields more than once"),
        pytest.param(get("/a", "x-request-id: mine"), id="an id of the client's"),
        pytest.param(get("/a", "connection: x-secret, te", "x-secret: a", "te: trailers"), id="nominated fields"),
        pytest.param(get("/a", "connection: cookie", "cookie: a"), id="a nominated field that stays"),
        pytest.param(get("/a", "upgrade: h2c"), id="an offer that is none"),
        pytest.param(get("/", "upgrade: h2c").replace(b"close", b"close, upgrade"), id="an offer of another protocol"),
        pytest.param(get("/a", "a: b\xe4", "empty:", "tab: a\tb"), id="odd values"),
        pytest.param(get("/a").replace(b"connection: close", b"Connection: Close"), id="close in another spelling"),
    ],
)
async def test_upstream_and_client_cannot_tell_which_way_a_request_went(tmp_path: Path, request_: bytes) -> None:
    assert (await same(tmp_path, request_, taken=1)).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(get("/", "content-length: 3") + b"abc", id="GET with a body"),
        pytest.param(get("/", "content-length: 0"), id="a length of nothing"),
        pytest.param(get("/", "transfer-encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n", id="chunked"),
        pytest.param(get("/", "content-length: 3", method="POST") + b"abc", id="POST"),
        pytest.param(get("/", method="PUT"), id="PUT"),
        pytest.param(get("/", method="POST"), id="POST without a body"),
        pytest.param(get("/", "expect: 100-continue"), id="an expectation"),
        pytest.param(get("http://example.test/a?b"), id="the absolute form"),
        pytest.param(get("*", method="OPTIONS"), id="the asterisk form"),
        pytest.param(get("/a#b"), id="a fragment"),
        pytest.param(get("/").replace(b"/1.1", b"/1.0"), id="HTTP/1.0"),
        pytest.param(get("/\xe4"), id="a target that is not ASCII"),
        pytest.param(get("/", "a: b\0c"), id="NUL in a value"),
        pytest.param(b"GET / HTTP/1.1\r\nconnection: close\r\n bad\r\n\r\n", id="a folded field"),
        pytest.param(get("/", "content-length: 3", "transfer-encoding: chunked"), id="two framings"),
    ],
)
async def test_what_the_lane_declines_goes_as_it_went_without_it(tmp_path: Path, request_: bytes) -> None:
    await same(tmp_path, request_, taken=0)


async def test_each_octet_of_a_target_goes_both_ways_alike(tmp_path: Path) -> None:
    seen: list[tuple[list[bytes], list[bytes]]] = []
    for direct in (True, False):
        upstream = Recorder(HELLO)
        async with RawServer(tmp_path / "up", upstream) as server, site(server.url, direct=direct) as gateway:
            targets = [b"/a%cb?c%cd" % (octet, octet) for octet in range(256)]
            answers = [await ask(gateway.address, get("/?").replace(b"/?", target)) for target in targets]
        (tmp_path / "up").unlink(missing_ok=True)
        seen.append(([answer[9:12] for answer in answers], [without_chance(head) for head in upstream.heads]))
    assert seen[0] == seen[1]


async def test_a_client_behind_a_trusted_proxy_is_told_alike(tmp_path: Path) -> None:
    config = {**OFF, "client": {"trusted_proxies": ["127.0.0.0/8"]}}
    request = get("/", "x-forwarded-for: 6.6.6.6, 192.0.2.7", "x-forwarded-proto: https")
    assert await same(tmp_path, request, taken=1, config=config)


# --- policies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_refusal_is_the_same_both_ways_and_the_limit_is_told(tmp_path: Path, method: str) -> None:
    one = get("/a", method=method).replace(b"close", b"keep-alive")
    requests = get("/internal/x", method=method).replace(b"close", b"keep-alive") + one * 3 + get("/a", method=method)
    answers = {}
    for direct in (True, False):
        async with (
            RawServer(tmp_path / "up", saying(HELLO if method == "GET" else HELLO[:-5])) as server,
            site(server.url, config=STRICT, direct=direct) as gateway,
        ):
            answers[direct] = without_chance(await one_by_one(gateway, requests))
            assert gateway.taken == (5 if direct else 0)
            assert gateway.metric('aupgate_requests_total{outcome="refused",status="4xx"}') == 2
        (tmp_path / "up").unlink(missing_ok=True)
    assert answers[True] == answers[False]
    assert [each.strip()[:3] for each in answers[True].split(b"HTTP/1.1 ")[1:]] == [
        b"404",
        b"200",
        b"200",
        b"200",
        b"429",
    ]
    assert b"ratelimit: " in answers[True].lower()


async def test_requests_on_one_connection_have_ids_of_their_own(tmp_path: Path) -> None:
    upstream = Recorder(HELLO)
    async with RawServer(tmp_path / "up", upstream) as server, site(server.url) as gateway:
        answer = await one_by_one(gateway, PLAIN * 3 + get("/"))
        assert gateway.taken == 4
        assert server.connections == 1
    told = [head.partition(b"x-request-id: ")[2].partition(b"\r\n")[0] for head in answer.split(b"HTTP/1.1 ")[1:]]
    forwarded = [head.partition(b"x-request-id: ")[2].partition(b"\r\n")[0] for head in upstream.heads]
    assert told == forwarded
    assert len(set(told)) == 4


async def test_while_a_policy_is_not_ready_the_lane_declines(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "up", saying(HELLO)) as server, site(server.url) as gateway:
        assert gateway.lane is not None
        waiting: list[object] = [object()]
        gateway.lane._waiting = waiting
        await ask(gateway.address, get("/"))
        assert gateway.taken == 0
        waiting.clear()
        await ask(gateway.address, get("/"))
        assert gateway.taken == 1


async def test_an_uncertain_client_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = {"gateway": {"mode": "off"}}
    async with RawServer(tmp_path / "up", saying(HELLO)) as server, site(server.url, config=config) as gateway:
        for _ in range(3):
            await ask(gateway.address, get("/", "x-forwarded-for: 1.2.3.4"))
        assert gateway.taken == 2
    assert sum("trusted_proxies" in record.getMessage() for record in caplog.records) == 1


@BOTH
async def test_a_request_that_is_not_forwarded_is_answered_for_as_the_embedder_says(
    tmp_path: Path, direct: bool
) -> None:
    def on_error(scope: Scope, status: int, rule: str, _: str) -> tuple[list[Header], bytes]:
        body = f"{status} {rule} {scope['method']} {scope['raw_path'].decode()} {scope['query_string'].decode()}"
        assert scope["aupgate"].request.id
        return [(b"content-length", b"%d" % len(body))], body.encode()

    async with site(f"unix:{tmp_path}/nobody", direct=direct, options={"on_error": on_error}) as gateway:
        status, fields, body = parts(await ask(gateway.address, get("/a?b")))
        assert (status, body) == (502, b"502 upstream.unreachable GET /a b")
        assert b"x-request-id" in fields
        assert gateway.metric('aupgate_requests_total{outcome="passed",status="5xx"}') == 1


@BOTH
async def test_an_upstream_that_does_not_answer_in_time_is_answered_for(tmp_path: Path, direct: bool) -> None:
    _, answer, _ = await asked(tmp_path, direct, get("/"), answer=b"", timeouts=Timeouts(response=0.1))
    assert parts(answer)[0] == 504


class Faulty:
    """Fails where a policy or a renderer might."""

    def __call__(self, *_: object, **__: object) -> Any:
        raise LookupError("a fault")


@pytest.mark.parametrize("where", ["request", "open", "refusals", "response_fields"])
@BOTH
async def test_a_fault_is_answered_with_500_and_logged(
    tmp_path: Path, where: str, direct: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        RawServer(tmp_path / "up", saying(HELLO)) as server,
        site(server.url, config=STRICT, direct=direct) as gateway,
    ):
        if where == "refusals":
            gateway.gateway.refusals = Faulty()
        else:
            monkeypatch.setattr(type(gateway.gateway), where, Faulty())
        answer = await ask(
            gateway.address, get("/internal/x" if where == "refusals" else "/").replace(b"close", b"keep-alive")
        )
        assert gateway.metric("aupgate_requests_in_flight") == 0
    assert parts(answer)[::2] == (500, b"Internal Server Error")
    assert b"connection: close" in answer
    assert any(record.exc_info for record in caplog.records)


# --- what responses lose and get --------------------------------------------------------------------------------------

BANNERED = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.2\r\nX-Powered-By: PHP/8.1\r\nX_Debug.Token: a\r\nVary: a\r\n"
    b"Content-Length: 0\r\n\r\n"
)
OVER_HTTPS: dict[str, Any] = {"client": {"trusted_proxies": ["127.0.0.1"]}}
SECURE = get("/", "x-forwarded-for: 198.51.100.1", "x-forwarded-proto: https")
INSECURE = get("/", "x-forwarded-for: 198.51.100.1", "x-forwarded-proto: http")


@pytest.mark.parametrize(
    ("policy", "request_", "there", "gone"),
    [
        ({}, INSECURE, {b"vary"}, {b"server", b"x-powered-by", b"x_debug.token", b"strict-transport-security"}),
        ({}, SECURE, {b"vary", b"strict-transport-security"}, {b"server"}),
        ({"hsts": ""}, SECURE, {b"vary"}, {b"server", b"strict-transport-security"}),
        ({"nosniff": True}, INSECURE, {b"x-content-type-options"}, {b"server"}),
        ({"response_keep": ["server"], "response_strip": ["vary"]}, INSECURE, {b"server"}, {b"vary", b"x-powered-by"}),
        ({"mode": "observe"}, SECURE, {b"server", b"x-powered-by"}, {b"strict-transport-security"}),
        ({"mode": "off"}, SECURE, {b"server", b"x-powered-by"}, {b"strict-transport-security"}),
        ({"rules": {"banner": "off"}}, SECURE, {b"server", b"strict-transport-security"}, set()),
        ({"share": "0%"}, SECURE, {b"server"}, {b"strict-transport-security"}),
    ],
)
async def test_responses_are_edited_alike_both_ways(
    tmp_path: Path, policy: dict[str, Any], request_: bytes, there: set[bytes], gone: set[bytes]
) -> None:
    config = {**OVER_HTTPS, "policies": {"headers": policy}}
    fields = parts(await same(tmp_path, request_, taken=1, answer=BANNERED, config=config))[1]
    assert there <= fields.keys()
    assert not gone & fields.keys()


@BOTH
async def test_the_switch_to_observe_stops_the_editing_of_responses_and_back(tmp_path: Path, direct: bool) -> None:
    async with (
        RawServer(tmp_path / "up", saying(BANNERED)) as server,
        site(server.url, config=OVER_HTTPS, direct=direct) as gateway,
    ):
        seen = []
        for on in (False, True, False):
            gateway.gateway.observe(on=on)
            seen.append(b"server" in parts(await ask(gateway.address, INSECURE))[1])
    assert seen == [False, True, False]


@BOTH
async def test_editing_a_response_leaves_no_finding(tmp_path: Path, direct: bool) -> None:
    for mode in ("enforce", "observe"):
        config = {**OVER_HTTPS, "policies": {"headers": {"mode": mode}}}
        async with (
            RawServer(tmp_path / mode, saying(BANNERED)) as server,
            site(server.url, config=config, direct=direct) as gateway,
        ):
            await ask(gateway.address, INSECURE)
            assert b'rule="headers.' not in gateway.gateway.metrics.render()


# --- connections ------------------------------------------------------------------------------------------------------


@BOTH
async def test_pipelined_requests_are_answered_in_order(tmp_path: Path, direct: bool) -> None:
    async def numbered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await read_head(reader)).split(b" ")[1]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    async with RawServer(tmp_path / "up", numbered) as server, site(server.url, direct=direct) as gateway:
        requests = [b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n" % number for number in range(50)]
        posted = b"POST /posted HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"
        answer = await ask(gateway.address, b"".join([*requests, posted, get("/last")]))
    bodies = [part.rpartition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [b"/%d" % number for number in range(50)] + [b"/posted", b"/last"]


@BOTH
async def test_pipelined_refusals_are_all_said(tmp_path: Path, direct: bool) -> None:
    async with site(f"unix:{tmp_path}/nobody", config=STRICT, direct=direct) as gateway:
        one = get("/internal/x").replace(b"close", b"keep-alive")
        answer = await ask(gateway.address, one * 20 + get("/internal/x"))
        assert answer.count(b"HTTP/1.1 404 ") == 21
        assert gateway.metric('aupgate_requests_total{outcome="refused",status="4xx"}') == 21


async def test_nothing_is_read_after_a_request_that_asks_to_close(tmp_path: Path) -> None:
    async with site(f"unix:{tmp_path}/nobody", config=STRICT) as gateway:
        answer = await ask(gateway.address, get("/internal/x") + get("/internal/x"))
        assert answer.count(b"HTTP/1.1 ") == 1
        assert gateway.taken == 1


@BOTH
async def test_what_cannot_be_read_is_refused_after_the_answer_before_it(tmp_path: Path, direct: bool) -> None:
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await go_on.wait()
        writer.write(HELLO)
        await reader.read()

    async with RawServer(tmp_path / "up", slow) as server, site(server.url, direct=direct) as gateway:
        asking = asyncio.create_task(ask(gateway.address, PLAIN + b"nonsense\r\n\r\n"))
        await until(lambda: server.connections == 1)
        go_on.set()
        first, _, rest = (await asking).partition(b"hello")
    assert (parts(first)[0], parts(rest)[0]) == (200, 400)


async def test_a_connection_that_is_not_used_is_closed(tmp_path: Path) -> None:
    async with (
        RawServer(tmp_path / "up", saying(HELLO)) as server,
        site(server.url, idle=1, limits=IntakeLimits(head_timeout=0.2)) as gateway,
        asyncio.timeout(GUARD),
    ):
        reader, writer = await open_to(gateway.address)
        writer.write(PLAIN)
        assert (await reader.read()).endswith(b"hello")
        writer.close()


async def test_a_head_after_an_answer_has_its_time_and_no_more(tmp_path: Path) -> None:
    async with (
        RawServer(tmp_path / "up", saying(HELLO)) as server,
        site(server.url, limits=IntakeLimits(head_timeout=0.1)) as gateway,
        asyncio.timeout(GUARD),
    ):
        reader, writer = await open_to(gateway.address)
        writer.write(PLAIN + b"GET / HT")
        with suppress(ConnectionResetError):
            assert (await reader.read()).endswith(b"hello")
        writer.close()


async def test_a_client_that_waits_for_its_answer_is_left_alone(tmp_path: Path) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await asyncio.sleep(0.5)  # beyond the limits
        writer.write(HELLO)
        await reader.read()

    limits = IntakeLimits(head_timeout=0.1, body_timeout=0.1)
    async with RawServer(tmp_path / "up", slow) as server, site(server.url, limits=limits, idle=1) as gateway:
        assert (await ask(gateway.address, get("/"))).endswith(b"hello")
