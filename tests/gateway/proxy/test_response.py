"""A response is read at the pace of its consumer."""

import asyncio
from pathlib import Path

import pytest

from aupgate.proxy.errors import UpstreamProtocolError
from aupgate.proxy.response import HIGH_WATER
from aupgate.proxy.upstream import Upstreams
from tests.gateway.proxy.servers import HOST, RawServer, read_head, saying, until

SIZE = 64 * 1024 * 1024
PIECE = bytes(65536)


async def send_all(writer: asyncio.StreamWriter, sent: list[int], size: int = SIZE) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    for _ in range(size // len(PIECE)):
        writer.write(PIECE)
        await writer.drain()
        sent[0] += len(PIECE)


async def test_an_upstream_cannot_send_more_than_the_bound_to_a_consumer_that_does_not_read(tmp_path: Path) -> None:
    sent = [0]

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await send_all(writer, sent)

    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url])
        response = await upstreams.send(b"GET", b"/", HOST)
        before = -1
        while sent[0] != before:  # until the upstream gets no further, in many turns of the loop
            before = sent[0]
            for _ in range(200):
                await asyncio.sleep(0)
        assert response.held <= HIGH_WATER + 256 * 1024
        assert sent[0] < 4 * 1024 * 1024  # what is held, and the buffers of socket and server

        received = 0
        async for chunk in response:
            received += len(chunk)
            assert response.held <= HIGH_WATER + 256 * 1024
        assert received == SIZE
        upstreams.close()


async def test_a_response_that_is_closed_early_ends_the_upstreams_connection(tmp_path: Path) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await send_all(writer, [0])

    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url])
        response = await upstreams.send(b"GET", b"/", HOST)
        await response.next_chunk()
        response.close()
        response.close()
        await until(server.lost.is_set)
        upstreams.close()


async def test_what_came_before_a_break_is_delivered_before_the_error(tmp_path: Path) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        await go_on.wait()
        writer.write(b"hello")

    go_on = asyncio.Event()
    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url])
        response = await upstreams.send(b"GET", b"/", HOST)
        go_on.set()
        assert await response.next_chunk() == b"hello"
        assert not response.ended
        with pytest.raises(UpstreamProtocolError):
            await response.next_chunk()
        upstreams.close()


async def test_a_response_that_was_read_to_its_end_stays_readable_while_its_connection_serves_another(
    tmp_path: Path,
) -> None:
    async with RawServer(tmp_path / "s", saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")) as server:
        upstreams = Upstreams.from_urls([server.url])
        first = await upstreams.send(b"GET", b"/", HOST)
        second = await upstreams.send(b"GET", b"/", HOST)
        assert server.connections == 1
        assert await first.next_chunk() == await second.next_chunk() == b"hello"
        assert first.ended
        assert await first.next_chunk() == b""
        first.close()
        upstreams.close()
