"""The upstream leg as a whole: retries, several upstreams, nginx."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from aupgate.proxy.errors import ClientGone, ConnectionDied, UpstreamUnreachable
from aupgate.proxy.upstream import Upstreams
from tests.gateway.proxy.servers import GUARD, HOST, RawServer, read_head, saying, until
from tests.services import Nginx

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class DiesOnSecond:
    """Answers the first request of its first connection and hangs up on the second; other connections work."""

    def __init__(self, farewell: bytes = b"") -> None:
        self.requests = 0
        self._farewell = farewell
        self._first = True

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, self._first = self._first, False
        for count in range(100):
            await read_head(reader)
            self.requests += 1
            if first and count == 1:
                writer.write(self._farewell)
                return
            writer.write(HELLO)


async def streamed() -> AsyncIterator[bytes]:
    yield b"x"


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"])
async def test_an_idempotent_request_is_sent_once_more_when_its_kept_connection_had_died(
    tmp_path: Path, method: bytes
) -> None:
    handler = DiesOnSecond()
    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url])
        await (await upstreams.send(b"GET", b"/", HOST)).next_chunk()
        assert (await upstreams.send(method, b"/", HOST)).status == 200
        assert (handler.requests, server.connections) == (3, 2)
        upstreams.close()


@pytest.mark.parametrize(
    ("method", "body", "farewell"),
    [
        pytest.param(b"POST", None, b"", id="POST"),
        pytest.param(b"PATCH", None, b"", id="PATCH"),
        pytest.param(b"PUT", b"x", b"", id="PUT with a body"),
        pytest.param(b"GET", b"x", b"", id="GET with a body"),
        pytest.param(b"GET", None, b"HTTP/1.1", id="a response had begun"),
    ],
)
async def test_any_other_request_is_never_sent_twice(
    tmp_path: Path, method: bytes, body: bytes | None, farewell: bytes
) -> None:
    handler = DiesOnSecond(farewell)
    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url])
        await (await upstreams.send(b"GET", b"/", HOST)).next_chunk()
        with pytest.raises(Exception, match="ended"):
            await upstreams.send(method, b"/", HOST, body)
        assert handler.requests == 2
        upstreams.close()


async def test_a_request_on_a_new_connection_is_not_sent_again(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "s", saying(b"", close=True)) as server:
        upstreams = Upstreams.from_urls([server.url])
        with pytest.raises(ConnectionDied):
            await upstreams.send(b"GET", b"/", HOST)
        assert server.connections == 1


async def test_several_upstreams_take_turns(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "a", saying(HELLO)) as one, RawServer(tmp_path / "b", saying(HELLO)) as two:
        upstreams = Upstreams.from_urls([one.url, two.url])
        responses = [await upstreams.send(b"GET", b"/", HOST) for _ in range(4)]
        assert all([await response.next_chunk() == b"hello" for response in responses])
        assert (one.connections, two.connections) == (1, 1)
        upstreams.close()


async def test_the_upstream_with_fewer_exchanges_gets_the_next(tmp_path: Path) -> None:
    busy = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"
    async with RawServer(tmp_path / "a", saying(busy)) as slow, RawServer(tmp_path / "b", saying(HELLO)) as quick:
        upstreams = Upstreams.from_urls([slow.url, quick.url])
        held = await upstreams.send(b"GET", b"/", HOST)
        for _ in range(5):
            assert (await upstreams.send(b"GET", b"/", HOST)).headers == [(b"content-length", b"5")]
        assert (slow.connections, quick.connections) == (1, 1)
        held.close()
        upstreams.close()


async def test_an_upstream_that_cannot_be_connected_to_is_passed_over(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "b", saying(HELLO)) as server:
        upstreams = Upstreams.from_urls([f"unix:{tmp_path}/none", server.url])
        for _ in range(3):
            assert (await upstreams.send(b"POST", b"/", HOST, streamed())).status == 200
        upstreams.close()


async def test_when_none_can_be_connected_to_the_request_fails(tmp_path: Path) -> None:
    upstreams = Upstreams.from_urls([f"unix:{tmp_path}/a", f"unix:{tmp_path}/b"])
    with pytest.raises(UpstreamUnreachable):
        await upstreams.send(b"GET", b"/", HOST)


def test_no_upstream_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="name at least one"):
        Upstreams.from_urls([])


async def test_an_aborted_exchange_ends_at_once_and_closes_its_connection(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "s", saying(b"")) as server:
        upstreams = Upstreams.from_urls([server.url])
        exchange = upstreams.open(b"GET", b"/", HOST)
        sending = asyncio.create_task(exchange.send())
        await until(lambda: server.connections == 1)
        exchange.abort(ClientGone("gone"))
        with pytest.raises(ClientGone):
            await sending
        async with asyncio.timeout(GUARD):
            await server.lost.wait()


async def test_an_exchange_aborted_before_it_is_sent_sends_nothing(tmp_path: Path) -> None:
    handler = DiesOnSecond()
    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url])
        exchange = upstreams.open(b"GET", b"/", HOST)
        exchange.abort(ClientGone("gone"))
        with pytest.raises(ClientGone):
            await exchange.send()
        await until(server.lost.is_set)
    assert handler.requests == 0


async def test_cancelling_who_sends_closes_the_connection(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "s", saying(b"")) as server:
        upstreams = Upstreams.from_urls([server.url])
        sending = asyncio.create_task(upstreams.send(b"GET", b"/", HOST))
        await until(lambda: server.connections == 1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        async with asyncio.timeout(GUARD):
            await server.lost.wait()


async def test_nginx_is_understood(tmp_path: Path, nginx: Callable[[str], Nginx]) -> None:
    (tmp_path / "large").write_bytes(b"0123456789" * 500_000)
    server = nginx(
        f"location /large {{ root {tmp_path}; }}"
        'location /small { return 200 "hello"; } location /none { return 204; } location /moved { return 301 /small; }'
    )
    upstreams = Upstreams.from_urls([f"unix:{server.socket}"])
    for method, path, status, size in (
        (b"GET", b"/small", 200, 5),
        (b"HEAD", b"/small", 200, 0),
        (b"GET", b"/none", 204, 0),
        (b"GET", b"/large", 200, 5_000_000),
        (b"HEAD", b"/large", 200, 0),
        (b"GET", b"/moved", 301, 169),
        (b"GET", b"/absent", 404, None),
    ):
        response = await upstreams.send(method, path, HOST)
        body = b"".join([chunk async for chunk in response])
        assert response.status == status
        assert size is None or len(body) == size
    assert upstreams.choose().busy == 0
    assert upstreams.choose().idle == 1
    upstreams.close()
