"""Connections are kept between exchanges, within bounds."""

import asyncio
from pathlib import Path

import pytest

from aupgate.proxy.connection import Timeouts
from aupgate.proxy.errors import UpstreamUnreachable
from aupgate.proxy.origin import Origin
from aupgate.proxy.pool import Pool
from aupgate.proxy.upstream import Upstreams
from tests.gateway.proxy.servers import HOST, RawServer, read_head, saying, until

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def get(upstreams: Upstreams) -> None:
    response = await upstreams.send(b"GET", b"/", HOST)
    assert await response.next_chunk() == b"hello"


async def test_one_request_after_the_other_uses_one_connection(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "s", saying(HELLO)) as server:
        upstreams = Upstreams.from_urls([server.url])
        for _ in range(20):
            await get(upstreams)
        assert server.connections == 1
        upstreams.close()


async def test_requests_at_the_same_time_use_a_connection_each_and_only_so_many_are_kept(tmp_path: Path) -> None:
    waiting, go_on = 0, asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal waiting
        while True:
            await read_head(reader)
            waiting += 1
            if waiting == 6:
                go_on.set()
            await go_on.wait()
            writer.write(HELLO)

    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams([Origin.from_url(server.url)], max_idle=2)
        await asyncio.gather(*(get(upstreams) for _ in range(6)))
        assert server.connections == 6
        pool = upstreams.choose()
        await until(lambda: pool.busy == 0)
        assert pool.idle == 2
        upstreams.close()


async def test_an_idle_connection_is_closed_after_its_time(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "s", saying(HELLO)) as server:
        upstreams = Upstreams.from_urls([server.url], Timeouts(idle=0.05))
        await get(upstreams)
        await until(server.lost.is_set)
        assert upstreams.choose().idle == 0
        assert upstreams.choose()._timer is None or not upstreams.choose()._open


async def test_a_connection_that_the_upstream_closed_is_not_taken(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "s", saying(HELLO, close=True)) as server:
        upstreams = Upstreams.from_urls([server.url])
        await get(upstreams)
        await until(lambda: upstreams.choose().idle == 0)
        await get(upstreams)
        assert server.connections == 2
        upstreams.close()


async def test_what_must_not_be_sent_twice_only_gets_a_connection_that_was_used_just_now(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "s", saying(HELLO)) as server:
        upstreams = Upstreams.from_urls([server.url])
        await get(upstreams)
        await (await upstreams.send(b"POST", b"/", HOST, b"x")).next_chunk()
        assert server.connections == 1
        upstreams.choose()._idle[0].free_since -= 2.0
        await (await upstreams.send(b"POST", b"/", HOST, b"x")).next_chunk()
        assert server.connections == 2
        upstreams.close()


async def test_closing_ends_every_connection_and_the_timer(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "s", saying(HELLO)) as server:
        upstreams = Upstreams.from_urls([server.url])
        await get(upstreams)
        upstreams.close()
        await until(server.lost.is_set)
        assert upstreams.choose()._timer is None


async def test_connecting_where_nobody_listens_fails(tmp_path: Path) -> None:
    with pytest.raises(UpstreamUnreachable, match="no connection"):
        await Pool(Origin.from_url(f"unix:{tmp_path}/none"), Timeouts(), 1).connect()
