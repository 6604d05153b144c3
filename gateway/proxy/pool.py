"""The connections to one upstream, kept between exchanges."""

import asyncio
from typing import Final

from aupgate.proxy.connection import Connection, Timeouts
from aupgate.proxy.origin import Origin

_LONGEST_TICK: Final = 1.0
"""Seconds between two looks at the deadlines, at most."""


class Pool:
    """Open connections to `origin`. At most `max_idle` are kept without a request, each for `timeouts.idle` seconds.

    One timer for all connections looks at their deadlines; it runs only while there are any.
    """

    def __init__(self, origin: Origin, timeouts: Timeouts, max_idle: int) -> None:
        self.origin = origin
        self.authority = origin.authority
        self._timeouts = timeouts
        self._max_idle = max_idle
        self._tick = min(_LONGEST_TICK, min(timeouts.response, timeouts.pause, timeouts.idle) / 4)
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> int:
        """Number of connections that carry an exchange."""
        return len(self._open) - len(self._idle)

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
        connection = await self.origin.connect(lambda: Connection(loop, self._timeouts, self), self._timeouts.connect)
        self._open.add(connection)
        if self._timer is None:
            self._timer = loop.call_later(self._tick, self._look_at_deadlines)
        return connection

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

    def _look_at_deadlines(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in tuple(self._open):
            connection.expire(now)
        self._timer = loop.call_later(self._tick, self._look_at_deadlines) if self._open else None
