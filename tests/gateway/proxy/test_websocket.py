"""Websockets through the gateway, with real clients and servers."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Origin, Subprotocol

from aupgate.proxy.app import ReverseProxy
from aupgate.proxy.connection import Timeouts
from aupgate.proxy.forwarding import Forwarding
from aupgate.proxy.health import EJECT_AFTER
from aupgate.proxy.origin import UpstreamTls
from aupgate.proxy.problem import problem
from aupgate.proxy.upstream import Upstreams
from aupgate.proxy.websocket import WebSocketRelay, closing
from tests.gateway.proxy.servers import GUARD, RawServer, gateway, saying, serving, until, with_lifespan

Handler = Callable[[ServerConnection], Awaitable[None]]


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


@asynccontextmanager
async def relayed(tmp_path: Path, handler: Handler, **options: Any) -> AsyncIterator[str]:
    """Yield the URL of a gateway before a websocket server."""
    limits = {key: options.pop(key) for key in ("max_message", "timeouts") if key in options}
    async with (
        unix_serve(handler, str(tmp_path / "ws"), **options),
        gateway(f"unix:{tmp_path}/ws", **limits) as address,
        asyncio.timeout(GUARD),
    ):
        yield f"ws://{address}/chat?room=1"


async def refusal(url: str) -> Response:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, proxy=None):
            pass
    return caught.value.response


async def test_text_and_bytes_come_back_in_order(tmp_path: Path) -> None:
    async with relayed(tmp_path, echo) as url, connect(url, proxy=None) as client:
        for message in ("text", "ü", b"\x00\xff", "", b"", "x" * 500_000):
            await client.send(message)
            assert await client.recv() == message


async def test_fragments_arrive_as_one_message(tmp_path: Path) -> None:
    async with relayed(tmp_path, echo) as url, connect(url, proxy=None) as client:
        await client.send(["a", "b", "c"])
        assert await client.recv() == "abc"


async def test_each_leg_answers_its_own_pings(tmp_path: Path) -> None:
    async def pings(websocket: ServerConnection) -> None:
        await (await websocket.ping())
        await websocket.send("ponged")
        await websocket.wait_closed()

    async with relayed(tmp_path, pings) as url, connect(url, proxy=None) as client:
        assert await client.recv() == "ponged"
        await (await client.ping())


async def test_the_subprotocol_is_the_one_that_the_upstream_chose(tmp_path: Path) -> None:
    def last(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return offered[-1] if offered else None

    async with relayed(tmp_path, echo, select_subprotocol=last) as url:
        offered = [Subprotocol("v1"), Subprotocol("v2")]
        async with connect(url, subprotocols=offered, proxy=None) as client:
            assert client.subprotocol == "v2"
        async with connect(url, proxy=None) as client:
            assert client.subprotocol is None


async def test_the_upstream_sees_the_clients_opening_request(tmp_path: Path) -> None:
    seen: list[Request] = []

    async def look(websocket: ServerConnection) -> None:
        assert websocket.request is not None
        seen.append(websocket.request)

    fields = {"Cookie": "a=b", "Authorization": "Bearer x", "X-Forwarded-For": "1.2.3.4", "Sec-WebSocket-Fake": "x"}
    async with (
        relayed(tmp_path, look) as url,
        connect(
            url, origin=Origin("https://app.test"), additional_headers=fields, user_agent_header="me", proxy=None
        ) as client,
    ):
        await client.wait_closed()
    headers = seen[0].headers
    assert seen[0].path == "/chat?room=1"
    assert headers.get_all("Host") == [url.split("/")[2]]
    assert (headers["Cookie"], headers["Authorization"]) == ("a=b", "Bearer x")
    assert (headers["Origin"], headers["User-Agent"]) == ("https://app.test", "me")
    assert headers.get_all("X-Forwarded-For") == ["127.0.0.1"]
    assert headers["X-Forwarded-Proto"] == "http"
    assert "Sec-WebSocket-Fake" not in headers


async def test_the_client_sees_the_upstreams_fields(tmp_path: Path) -> None:
    def add(_: ServerConnection, __: Request, response: Response) -> None:
        response.headers["Set-Cookie"] = "a=1"

    async with relayed(tmp_path, echo, process_response=add) as url, connect(url, proxy=None) as client:
        assert client.response is not None
        assert client.response.headers.get_all("Set-Cookie") == ["a=1"]
        assert len(client.response.headers.get_all("Sec-WebSocket-Accept")) == 1


@pytest.mark.parametrize(("code", "reason"), [(1000, "done"), (1001, ""), (1008, "ünfair"), (4321, "own code")])
async def test_the_upstreams_close_code_and_reason_reach_the_client(tmp_path: Path, code: int, reason: str) -> None:
    async def closes(websocket: ServerConnection) -> None:
        await websocket.close(code, reason)

    async with relayed(tmp_path, closes) as url, connect(url, proxy=None) as client:
        await client.wait_closed()
        assert (client.close_code, client.close_reason) == (code, reason)


@pytest.mark.parametrize(("code", "reason"), [(1000, "done"), (1001, ""), (4321, "own code")])
async def test_the_clients_close_code_and_reason_reach_the_upstream(tmp_path: Path, code: int, reason: str) -> None:
    ended = asyncio.get_running_loop().create_future()

    async def waits(websocket: ServerConnection) -> None:
        await websocket.wait_closed()
        ended.set_result((websocket.close_code, websocket.close_reason))

    async with relayed(tmp_path, waits) as url:
        async with connect(url, proxy=None) as client:
            await client.close(code, reason)
        assert await ended == (code, reason)


async def test_a_client_that_vanishes_closes_the_upstream(tmp_path: Path) -> None:
    ended = asyncio.get_running_loop().create_future()

    async def waits(websocket: ServerConnection) -> None:
        await websocket.wait_closed()
        ended.set_result(websocket.close_code)

    async with relayed(tmp_path, waits) as url:
        client = await connect(url, proxy=None)
        client.transport.abort()
        assert await ended in {1000, 1001}


async def test_an_upstream_that_vanishes_closes_the_client_as_a_bad_gateway(tmp_path: Path) -> None:
    async def vanishes(websocket: ServerConnection) -> None:
        websocket.transport.abort()

    async with relayed(tmp_path, vanishes) as url, connect(url, proxy=None) as client:
        await client.wait_closed()
        assert client.close_code == 1014


@pytest.mark.parametrize("status", [403, 404, 302])
async def test_the_upstreams_refusal_reaches_the_client(tmp_path: Path, status: int) -> None:
    def refuse(connection: ServerConnection, _: Request) -> Response:
        response = connection.respond(status, "not you")
        response.headers["X-Why"] = "because"
        return response

    async with relayed(tmp_path, echo, process_request=refuse) as url:
        response = await refusal(url)
    assert (response.status_code, response.body) == (status, b"not you")
    assert response.headers["X-Why"] == "because"


async def test_an_upstream_without_websockets_refuses(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    async with RawServer(tmp_path / "s", saying(answer)) as server, gateway(server.url) as address:
        assert (await refusal(f"ws://{address}/")).status_code == 200


@pytest.mark.parametrize(
    ("answer", "timeouts", "status"),
    [
        pytest.param(None, None, 502, id="not there"),
        pytest.param(b"nonsense\r\n\r\n", None, 502, id="no HTTP"),
        pytest.param(
            b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", None, 502, id="no valid handshake"
        ),
        pytest.param(b"", Timeouts(response=0.1), 504, id="silent"),
    ],
)
async def test_an_upstream_without_a_usable_handshake_is_answered_for(
    tmp_path: Path, answer: bytes | None, timeouts: Timeouts | None, status: int
) -> None:
    async with RawServer(tmp_path / "s", saying(answer or b"")) as server, asyncio.timeout(GUARD):
        url = server.url if answer is not None else f"unix:{tmp_path}/none"
        async with gateway(url, timeouts=timeouts) as address:
            response = await refusal(f"ws://{address}/")
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"


async def test_an_open_websocket_makes_its_upstream_busy_until_it_ends(tmp_path: Path) -> None:
    async with (
        unix_serve(echo, str(tmp_path / "a")),
        unix_serve(echo, str(tmp_path / "b")),
        asyncio.timeout(GUARD),
    ):
        upstreams = Upstreams.from_urls([f"unix:{tmp_path}/a", f"unix:{tmp_path}/b"])
        async with serving(ReverseProxy(upstreams)) as address:
            clients = [await connect(f"ws://{address}/", proxy=None) for _ in range(4)]
            assert [pool.busy for pool in upstreams.pools] == [2, 2]
            for client in clients:
                await client.close()
            await until(lambda: [pool.busy for pool in upstreams.pools] == [0, 0])


async def test_failed_handshakes_eject_an_upstream_and_are_logged_and_a_refusal_restores_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with RawServer(tmp_path / "ws", saying(b"nonsense\r\n\r\n")) as server:
        upstreams = Upstreams.from_urls([server.url])
        health = upstreams.choose().health
        async with serving(ReverseProxy(upstreams)) as address:
            for _ in range(EJECT_AFTER):
                assert (await refusal(f"ws://{address}/chat?key=secret")).status_code == 502
            assert not health.up
            server._handler = saying(b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n", close=True)
            assert (await refusal(f"ws://{address}/")).status_code == 503
            assert (health.up, upstreams.choose().busy) == (True, 0)
    assert sum("websocket" in line and "handshake failed" in line for line in caplog.messages) == EJECT_AFTER
    assert "secret" not in caplog.text


async def test_a_server_that_cannot_send_a_refusal_is_told_to_close(tmp_path: Path) -> None:
    relay = WebSocketRelay(Upstreams.from_urls([f"unix:{tmp_path}/none"]), Forwarding(), problem, 1000)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await relay({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1014}]


async def test_a_message_that_is_too_large_ends_both_legs(tmp_path: Path) -> None:
    ended = asyncio.get_running_loop().create_future()

    async def sends(websocket: ServerConnection) -> None:
        await websocket.send("x" * 1001)
        await websocket.wait_closed()
        ended.set_result(websocket.close_code)

    async with relayed(tmp_path, sends, max_message=1000) as url, connect(url, proxy=None) as client:
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1009
        assert await ended == 1009


async def test_an_upstream_that_sends_too_much_has_to_wait_for_the_client(tmp_path: Path) -> None:
    sent = 0

    async def floods(websocket: ServerConnection) -> None:
        nonlocal sent
        for _ in range(64):
            await websocket.send(bytes(1 << 20))
            sent += 1

    async with relayed(tmp_path, floods, max_size=None) as url:
        client = await connect(url, proxy=None, max_size=None, max_queue=1)
        before = -1
        while sent != before:
            before = sent
            for _ in range(300):
                await asyncio.sleep(0)
        assert sent < 32
        assert [len(await client.recv()) for _ in range(64)] == [1 << 20] * 64
        await client.close()


async def test_a_client_that_sends_too_much_has_to_wait_for_the_upstream(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def slow(websocket: ServerConnection) -> None:
        await go_on.wait()
        for _ in range(64):
            await websocket.recv()
        await websocket.send("all")

    sent = 0

    async def flood(client: ClientConnection) -> None:
        nonlocal sent
        for _ in range(64):
            await client.send(bytes(1 << 20))
            sent += 1

    async with relayed(tmp_path, slow, max_size=None) as url, connect(url, proxy=None) as client:
        sending, before = asyncio.create_task(flood(client)), -1
        while sent != before:
            before = sent
            for _ in range(300):
                await asyncio.sleep(0)
        assert sent < 32
        go_on.set()
        await sending
        assert await client.recv() == "all"


async def test_an_upstream_behind_tls_is_reached_if_its_certificate_holds(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("app.test").configure_cert(context)
    async with serve(echo, "127.0.0.1", 0, ssl=context) as server, asyncio.timeout(GUARD):
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for known, name in ((authority, "known"), (other, "other")):
            known.cert_pem.write_to_path(str(tmp_path / name))
            tls = UpstreamTls(ca_file=str(tmp_path / name), server_name="app.test")
            async with serving(ReverseProxy(Upstreams.from_urls([url], tls=tls))) as address:
                if known is other:
                    assert (await refusal(f"ws://{address}/")).status_code == 502
                    continue
                async with connect(f"ws://{address}/", proxy=None) as client:
                    await client.send("hello")
                    assert await client.recv() == "hello"


async def test_the_upstream_may_itself_be_uvicorn(tmp_path: Path) -> None:
    @with_lifespan
    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "v1"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"].upper()})
        await send({"type": "websocket.close", "code": 4000, "reason": "enough"})

    async with (
        asyncio.timeout(GUARD),
        serving(app, f"unix:{tmp_path}/up") as upstream,
        gateway(upstream) as address,
        connect(f"ws://{address}/", subprotocols=[Subprotocol("v1")], proxy=None) as client,
    ):
        await client.send("hello")
        assert await client.recv() == "HELLO"
        await client.wait_closed()
        assert (client.subprotocol, client.close_code, client.close_reason) == ("v1", 4000, "enough")


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        pytest.param(1000, None, (1000, ""), id="normal"),
        pytest.param(1005, "", (1000, ""), id="nothing was said"),
        pytest.param(1006, "", (1014, ""), id="broken"),
        pytest.param(1015, "", (1014, ""), id="TLS failed"),
        pytest.param(999, "", (1014, ""), id="no code at all"),
        pytest.param(4999, "x", (4999, "x"), id="private"),
        pytest.param(1000, "ü" * 100, (1000, "ü" * 61), id="long reason"),
    ],
)
def test_only_what_may_be_said_is_passed_on(code: int, reason: str | None, expected: tuple[int, str]) -> None:
    assert closing(code, reason, 1014) == expected
