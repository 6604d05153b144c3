"""The connections to one upstream, kept between exchanges."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from aupgate.proxy.connection import Connection, Timeouts
from aupgate.proxy.errors import ConnectionDied, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from aupgate.proxy.health import Health
from aupgate.proxy.origin import Origin

_Protocol = TypeVar("_Protocol", bound=asyncio.BaseProtocol)

_LONGEST_TICK: Final = 1.0
"""Seconds between two looks at the deadlines, at most."""


READ: Final = 32 * 1024
"""Bytes that are read of a response at once. So much more than it may is in a slow client's buffer at most."""


class Pool:
    """Open connections to `origin`. At most `max_idle` are kept without a request, each for `timeouts.idle` seconds.

    One timer for all connections looks at their deadlines; it runs only while there are any. Who uses a connection
    reports to `health`: every failure by `failed`, and a response by `health.succeeded` while `health.failing`.
    """

    def __init__(self, origin: Origin, timeouts: Timeouts, max_idle: int) -> None:
        self.origin = origin
        self.authority = origin.authority
        self.health = Health(origin.url)
        self._timeouts = timeouts
        self._max_idle = max_idle
        self._tick = min(_LONGEST_TICK, min(timeouts.response, timeouts.pause, timeouts.idle) / 4)
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._dialled = 0
        self._timer: asyncio.TimerHandle | None = None
        self._buffer = memoryview(bytearray(READ))

    @property
    def busy(self) -> int:
        """Number of connections that carry an exchange, or were dialled."""
        return len(self._open) - len(self._idle) + self._dialled

    @property
    def idle(self) -> int:
        """Number of connections that wait for one."""
        return len(self._idle)

    def take(self, longest_idle: float) -> Connection | None:
        """Return the connection used last; None when there is none, or it was idle for longer than so many seconds."""
        while self._idle:
            connection = self._idle[-1]
            if connection.loop.time() - connection.free_since > longest_idle:
                return None
            self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def connect(self) -> Connection:
        """Return a new connection. Raises `UpstreamUnreachable` or `UpstreamTimeout`."""
        loop = asyncio.get_running_loop()
        connection = await self._connect(lambda: Connection(loop, self._timeouts, self, self._buffer))
        self._open.add(connection)
        if self._timer is None:
            self._timer = loop.call_later(self._tick, self._look_at_deadlines)
        return connection

    async def dial(self, factory: Callable[[], _Protocol]) -> _Protocol:
        """Return a protocol made by `factory`, connected, for what is no HTTP. It is busy until `hang_up` is called.

        Raises `UpstreamUnreachable` or `UpstreamTimeout`.
        """
        protocol = await self._connect(factory)
        self._dialled += 1
        return protocol

    def hang_up(self) -> None:
        """Note that what was dialled is over."""
        self._dialled -= 1

    def failed(self, error: UpstreamError, *, kept: bool = False) -> None:
        """Report a failure of the upstream, on a connection that was `kept` or on a new one.

        That a kept connection died is none: the upstream may close what is idle.
        """
        error.upstream = self.origin.url
        if not (kept and isinstance(error, ConnectionDied)):
            self.health.failed(asyncio.get_running_loop().time(), error)

    def close(self) -> None:
        """Close every connection; exchanges under way fail."""
        for connection in tuple(self._open):
            connection.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def on_free(self, connection: Connection) -> None:
        """Keep a connection for the next exchange, or close it when there are enough."""
        if len(self._idle) >= self._max_idle:
            connection.close()
            return
        connection.free_since = now = connection.loop.time()
        connection.deadline = now + self._timeouts.idle
        self._idle.append(connection)

    def on_lost(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def _connect(self, factory: Callable[[], _Protocol]) -> _Protocol:
        try:
            return await self.origin.connect(factory, self._timeouts.connect)
        except (UpstreamUnreachable, UpstreamTimeout) as error:
            self.failed(error)
            raise

    def _look_at_deadlines(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in tuple(self._open):
            connection.expire(now)
        self._timer = loop.call_later(self._tick, self._look_at_deadlines) if self._open else None
