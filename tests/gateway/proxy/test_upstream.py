"""The upstream leg as a whole: retries, several upstreams and their health. Real servers: test_real_upstreams.py."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aupgate.proxy.connection import Timeouts
from aupgate.proxy.errors import ClientGone, ConnectionDied, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from aupgate.proxy.health import EJECT_AFTER
from aupgate.proxy.upstream import Upstreams
from tests.gateway.proxy.servers import GUARD, HOST, Handler, RawServer, read_head, saying, until

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


async def failing(upstreams: Upstreams, times: int, method: bytes = b"GET") -> list[UpstreamError]:
    errors = []
    for _ in range(times):
        with pytest.raises(UpstreamError) as caught:
            await upstreams.send(method, b"/", HOST)
        errors.append(caught.value)
    return errors


@pytest.mark.parametrize(
    ("handler", "timeouts"),
    [
        pytest.param(None, Timeouts(), id="no connection"),
        pytest.param(saying(b"", close=True), Timeouts(), id="hangs up before a response"),
        pytest.param(saying(b"nonsense\r\n\r\n"), Timeouts(), id="no HTTP"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\nConte", close=True), Timeouts(), id="hangs up inside a head"),
        pytest.param(saying(b""), Timeouts(response=0.01), id="silent"),
    ],
)
async def test_an_upstream_without_a_usable_response_is_ejected_after_three_and_named(
    tmp_path: Path, handler: Handler | None, timeouts: Timeouts
) -> None:
    url = f"unix:{tmp_path}/s"
    async with RawServer(tmp_path / "s" if handler else tmp_path / "other", handler or saying(b"")):
        upstreams = Upstreams.from_urls([url], timeouts)
        health = upstreams.choose().health
        errors = await failing(upstreams, EJECT_AFTER - 1)
        assert health.up
        errors += await failing(upstreams, 1)
        upstreams.close()
    assert (health.up, health.failures) == (False, EJECT_AFTER)
    assert all(url in str(error) for error in errors)


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_5xx_is_the_applications_business(tmp_path: Path, status: int) -> None:
    answer = b"HTTP/1.1 %d Failed\r\nContent-Length: 0\r\n\r\n" % status
    async with RawServer(tmp_path / "s", saying(answer)) as server:
        upstreams = Upstreams.from_urls([server.url])
        for _ in range(EJECT_AFTER):
            assert (await upstreams.send(b"GET", b"/", HOST)).status == status
        assert (upstreams.choose().health.up, upstreams.choose().health.failures) == (True, 0)
        upstreams.close()


async def test_kept_connections_that_died_and_clients_that_went_are_no_failures(tmp_path: Path) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(HELLO)
        await read_head(reader)

    async with RawServer(tmp_path / "s", once) as server:
        upstreams = Upstreams.from_urls([server.url])
        health = upstreams.choose().health
        for _ in range(EJECT_AFTER):
            await (await upstreams.send(b"GET", b"/", HOST)).next_chunk()
            with pytest.raises(ConnectionDied):
                await upstreams.send(b"POST", b"/", HOST)
        for _ in range(EJECT_AFTER):
            exchange = upstreams.open(b"GET", b"/", HOST)
            exchange.abort(ClientGone("gone"))
            with pytest.raises(ClientGone):
                await exchange.send()
        assert health.failures == 0
        await until(lambda: server.connections == 2 * EJECT_AFTER)
        upstreams.close()


async def test_a_single_upstream_is_used_however_often_it_failed_and_restored_by_a_response(tmp_path: Path) -> None:
    upstreams = Upstreams.from_urls([f"unix:{tmp_path}/s"])
    await failing(upstreams, 2 * EJECT_AFTER)
    assert not upstreams.choose().health.up
    async with RawServer(tmp_path / "s", saying(HELLO)):
        assert (await upstreams.send(b"GET", b"/", HOST)).status == 200
        assert upstreams.choose().health.up
        upstreams.close()


async def test_while_an_upstream_is_ejected_the_others_get_its_requests(tmp_path: Path) -> None:
    async with (
        RawServer(tmp_path / "a", saying(b"nonsense\r\n\r\n")) as bad,
        RawServer(tmp_path / "b", saying(HELLO)) as good,
    ):
        upstreams = Upstreams.from_urls([bad.url, good.url])
        statuses = []
        for _ in range(20):
            try:
                statuses.append((await upstreams.send(b"GET", b"/", HOST)).status)
            except UpstreamError as error:
                statuses.append(error.status)
            if not upstreams.pools[0].health.up:
                upstreams.pools[0].health.back_at = float("inf")
        assert statuses.count(502) == EJECT_AFTER
        assert statuses[2 * EJECT_AFTER :] == [200] * (20 - 2 * EJECT_AFTER)
        upstreams.close()


def eject(upstreams: Upstreams, number: int, seconds: float) -> None:
    """Eject an upstream, as if its pause were over in `seconds`."""
    pool = upstreams.pools[number]
    for _ in range(EJECT_AFTER):
        pool.failed(UpstreamUnreachable("refused"))
    pool.health.back_at = asyncio.get_running_loop().time() + seconds


async def test_when_its_pause_is_over_one_request_tries_an_upstream(tmp_path: Path) -> None:
    upstreams = Upstreams.from_urls([f"unix:{tmp_path}/a", f"unix:{tmp_path}/b"])
    tried, other = upstreams.pools
    eject(upstreams, 0, -1.0)
    chosen = [upstreams.choose() for _ in range(10)]
    assert chosen.count(tried) == 1
    tried.health.succeeded()
    chosen = [upstreams.choose() for _ in range(10)]
    assert (chosen.count(tried), chosen.count(other)) == (5, 5)


async def test_when_all_are_ejected_the_one_that_is_back_first_is_used_all_the_same(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "b", saying(HELLO)) as server:
        upstreams = Upstreams.from_urls([f"unix:{tmp_path}/a", server.url, f"unix:{tmp_path}/c"])
        for number, seconds in enumerate((50.0, 20.0, 30.0)):
            eject(upstreams, number, seconds)
        assert [upstreams.choose() for _ in range(6)] == [upstreams.pools[1]] * 6
        assert (await upstreams.send(b"GET", b"/", HOST)).status == 200
        assert upstreams.pools[1].health.up
        upstreams.close()


async def test_whoever_cannot_be_connected_to_is_passed_over_for_healthy_ones_before_ejected_ones(
    tmp_path: Path,
) -> None:
    async with RawServer(tmp_path / "b", saying(HELLO)) as worse, RawServer(tmp_path / "c", saying(HELLO)) as better:
        upstreams = Upstreams.from_urls([f"unix:{tmp_path}/a", worse.url, better.url])
        eject(upstreams, 1, 50.0)
        pool, connection = await upstreams.reach(upstreams.pools[0])
        assert pool is upstreams.pools[2]
        connection.close()
        await until(better.lost.is_set)
        assert [pool.health.failures for pool in upstreams.pools] == [1, EJECT_AFTER, 0]


async def test_what_is_dialled_counts_as_busy_until_it_is_over(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "a", saying(b"")) as one, RawServer(tmp_path / "b", saying(b"")) as two:
        upstreams = Upstreams.from_urls([one.url, two.url])
        dialled = [await upstreams.dial(asyncio.Protocol) for _ in range(4)]
        assert [pool.busy for pool in upstreams.pools] == [2, 2]
        for pool, _ in dialled:
            pool.hang_up()
        assert [pool.busy for pool in upstreams.pools] == [0, 0]
        await until(lambda: one.connections + two.connections == 4)


async def test_an_upstream_whose_handshake_hangs_is_given_up_and_passed_over(tmp_path: Path) -> None:
    ended = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal ended
        await reader.read()
        writer.close()
        ended += 1

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    hanging = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, RawServer(tmp_path / "s", saying(HELLO)) as sound:
        upstreams = Upstreams.from_urls([hanging, sound.url], Timeouts(connect=0.05))
        assert (await upstreams.send(b"GET", b"/", HOST)).status == 200
        assert [pool.health.failures for pool in upstreams.pools] == [1, 0]
        upstreams.close()
        alone = Upstreams.from_urls([hanging], Timeouts(connect=0.05))
        with pytest.raises(UpstreamTimeout, match="no connection"):
            await alone.send(b"GET", b"/", HOST)
        await until(lambda: ended == 2)
