"""How fast a client takes and gives bytes, found out by looking now and then instead of counting on each write."""

import asyncio
import socket
import struct
import sys
from typing import Final

_TAKEN: Final = struct.Struct("=120xQ")
"""`tcpi_bytes_acked` in Linux's `struct tcp_info`, since version 4.1."""
_TCP: Final = {socket.AF_INET, socket.AF_INET6}
_AT_ONCE: Final = struct.pack("ii", 1, 0)


class Pace:
    """Tells whether a count that only grows does so by `rate` a second, on the average of each `window` of seconds."""

    __slots__ = ("_count", "_rate", "_since", "_window")

    def __init__(self, rate: float, window: float) -> None:
        self._rate = rate
        self._window = window
        self._since: float | None = None
        self._count = 0

    def rest(self) -> None:
        """Judge nothing until the next look, from which the next window runs."""
        self._since = None

    def due(self, now: float) -> bool:
        """Tell whether a window begins or ends now, so that it is worth while to count."""
        return self._since is None or now - self._since >= self._window

    def lags(self, now: float, count: int) -> bool:
        """Tell whether too little came in a window that ends now; then, or if it was enough, the next one begins."""
        if self._since is None:
            self._since, self._count = now, count
            return False
        elapsed, came = now - self._since, count - self._count
        if elapsed < self._window:
            return False
        self._since, self._count = now, count
        return came < self._rate * elapsed


def bytes_taken(transport: asyncio.Transport) -> int:
    """Return a count that grows with each byte that the other end of `transport` takes.

    The kernel knows it. Where it does not tell, what still waits in the transport, negated, does until more is written.
    """
    if sys.platform == "linux":
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in _TCP:
            told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TAKEN.size)
            if len(told) == _TAKEN.size:
                return int(_TAKEN.unpack(told)[0])
    return -transport.get_write_buffer_size()


def cut_off(transport: asyncio.Transport) -> None:
    """End a connection at once, and have the kernel drop what it still holds for a client that does not take it."""
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family in _TCP and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()
