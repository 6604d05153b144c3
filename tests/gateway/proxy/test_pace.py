"""How the pace of a client is judged."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from aupgate.proxy.pace import Pace, bytes_taken, cut_off
from tests.gateway.proxy.servers import Loop, run_on, until


def looks(*counts: int, rate: float = 10, window: float = 4) -> list[bool]:
    """Look once a second."""
    pace = Pace(rate, window)
    return [pace.lags(now, count) for now, count in enumerate(counts)]


@pytest.mark.parametrize(
    ("counts", "lags"),
    [
        pytest.param((0, 0, 0, 0, 0), True, id="nothing comes"),
        pytest.param((0, 9, 18, 27, 36), True, id="too little comes"),
        pytest.param((0, 10, 20, 30, 40), False, id="just enough comes"),
        pytest.param((0, 0, 0, 0, 40), False, id="enough comes at last"),
        pytest.param((900, 900, 900, 900, 900), True, id="what came before does not count"),
        pytest.param((0, 0, 0, 0), False, id="the window is not over"),
        pytest.param((0, 0, 0, 0, 900, 900, 900, 900, 900), True, id="each window counts for itself"),
    ],
)
def test_too_little_in_a_window_is_too_slow(counts: tuple[int, ...], lags: bool) -> None:
    assert looks(*counts)[-1] is lags


def test_time_in_which_nothing_is_waited_for_does_not_count() -> None:
    pace = Pace(10, 4)
    pace.lags(0, 0)
    pace.rest()
    assert not pace.lags(100, 0)
    assert not pace.lags(103, 0)
    assert pace.lags(104, 0)


def test_it_is_worth_while_to_count_when_a_window_begins_or_ends() -> None:
    pace = Pace(10, 4)
    due = []
    for now in range(6):
        due.append(pace.due(now))
        pace.lags(now, 100 * now)
    assert due == [True, False, False, False, True, False]


LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


@LOOPS
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
def test_bytes_count_as_taken_when_the_other_end_reads(loop: Loop, family: socket.AddressFamily) -> None:
    async def work() -> None:
        async with pair(family) as (transport, _, other):
            transport.write(b"x" * 8_000_000)
            await until(lambda: 0 < transport.get_write_buffer_size() < 8_000_000)
            before = await _settled(lambda: bytes_taken(transport))
            other.setblocking(False)
            reader = asyncio.get_running_loop()
            for _ in range(100):
                await reader.sock_recv(other, 65536)
            await until(lambda: bytes_taken(transport) > before)
            transport.abort()

    run_on(loop, work())


@LOOPS
@pytest.mark.parametrize("closing", [True, False], ids=["closing", "open"])
def test_a_connection_is_cut_off_at_once_whatever_waits_in_it(loop: Loop, closing: bool) -> None:
    async def work() -> None:
        async with pair(socket.AF_INET) as (transport, protocol, other):
            transport.write(b"x" * 8_000_000)
            if closing:
                transport.close()
            cut_off(transport)
            await protocol.lost.wait()
            other.settimeout(5)
            with pytest.raises(ConnectionResetError):
                _read_all(other)

    run_on(loop, work())


def _read_all(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


class _Lost(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@asynccontextmanager
async def pair(family: socket.AddressFamily) -> AsyncIterator[tuple[asyncio.Transport, _Lost, socket.socket]]:
    """Give a transport, its protocol, and the socket at the other end."""
    if family == socket.AF_UNIX:
        here, other = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            here = socket.create_connection(server.getsockname())
            other = server.accept()[0]
    here.setblocking(False)
    with other:
        transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(_Lost, here)
        try:
            yield transport, protocol, other
        finally:
            transport.abort()
            await protocol.lost.wait()


async def _settled(count: Callable[[], int]) -> int:
    """Return the count once it no longer changes by itself: the kernel's own buffers are full."""
    last, same = count(), 0
    while same < 20:
        await asyncio.sleep(0.005)
        now = count()
        last, same = now, same + 1 if now == last else 0
    return last
