"""A link to one Redis server: a connection that is made anew when it breaks, and a circuit breaker.

    connecting -> up -> down -> up …

Before the first answer, takes wait for the connection as they would for a reply. While the link is down nothing waits:
takes fail at once, and the link itself tries to connect, at once and then with growing pauses, until Redis answers. So
no request is ever the one to find out, and what is counted is exact again within `PROBE + LONGEST_PAUSE` seconds of
Redis' return.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

from aupgate.errors import StoreError, StoreUnavailableError
from aupgate.store import Done
from aupgate.store.redis.connection import MOST_WAITING, Connection, Tally

TRIP: Final = 3
"""Batches in a row that are not answered in time until the link is taken to be down."""
PROBE: Final = 1.0
"""Seconds that making a connection may take, with its handshake."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 0.5
"""Seconds between attempts, at most; up to a fifth more at random."""

_log = logging.getLogger("aupgate")

Dial = Callable[[Callable[[], Connection]], Awaitable[Connection]]
"""Makes a connection, authenticated and ready; it is given what makes the protocol. Raises `OSError`, `StoreError`."""


class LinkState(StrEnum):
    """Whether a link is of use."""

    CONNECTING = "connecting"
    UP = "up"
    DOWN = "down"


class Link:
    """Keeps a connection. It is an `Owner` of connections, and for one loop."""

    def __init__(self, name: str, dial: Dial, timeout: float, on_up: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self.state = LinkState.CONNECTING
        self.tally = Tally()
        self._dial = dial
        self._timeout = timeout
        self._on_up = on_up
        self._connection: Connection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._failures = 0
        self._reason = ""
        """Why it cannot connect, as it was last logged."""
        self._early: list[tuple[bytes, Done]] = []
        self._closed = False

    def ask(self, command: bytes, done: Done) -> None:
        """Ask Redis, and call `done` with what it answers or with the error."""
        if self._connection is not None:
            self._connection.ask(command, done)
        elif self.state is LinkState.CONNECTING and not self._closed and len(self._early) < MOST_WAITING:
            self._wait_for_connection(command, done)
        else:
            self.tally.errors["unavailable"] += 1
            done(StoreUnavailableError(f"Redis at {self.name} is away"))

    def start(self) -> None:
        """Begin to connect, if that is not so yet."""
        if self._keeper is None and not self._closed:
            self._keeper = asyncio.get_running_loop().create_task(self._keep(), name=f"redis {self.name}")

    async def close(self) -> None:
        """End the connection and everything that waits for it."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._connection is not None:
            self._connection.abort()
        self._fail_early("the store is closed")

    # -- the owner of a connection -------------------------------------------------------------------------------------

    def replied(self) -> None:
        """Forget the failures before."""
        self._failures = 0

    def timed_out(self) -> None:
        """Count a failure; enough of them in a row break the circuit."""
        self._failures += 1
        if self._failures >= TRIP and self._connection is not None:
            self._connection.abort("Redis did not answer in time: is it running?")

    def lost(self) -> None:
        """Break the circuit: ask nothing more until there is a connection again."""
        if self._connection is not None and not self._closed:
            _log.warning("Redis at %s is away: its limits follow on_failure until it is back", self.name)
        self._connection = None
        self.state = LinkState.DOWN
        self._lost.set()

    # -- connecting ----------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            self._lost.clear()
            if await self._connect():
                pause = FIRST_PAUSE
                await self._lost.wait()
            else:
                await asyncio.sleep(pause * random.uniform(1, 1.2))  # noqa: S311 - to spread, not to hide
                pause = min(LONGEST_PAUSE, pause * 2)

    async def _connect(self) -> bool:
        try:
            async with asyncio.timeout(PROBE):
                connection = await self._dial(lambda: Connection(self, self.tally, PROBE))
        except (OSError, StoreError, ValueError) as error:  # ValueError: a name that cannot be looked up
            self.tally.errors["connect"] += 1
            if self._reason != (reason := str(error) or "no answer"):
                _log.warning("cannot connect to Redis at %s: %s", self.name, reason)
            self._reason = reason
            self.state = LinkState.DOWN
            self._fail_early(f"Redis at {self.name} is away: {reason}")
            return False
        if self._reason:
            _log.warning("Redis at %s is back", self.name)
        self._reason = ""
        connection.expect(self._timeout)
        self._connection, self.state, self._failures = connection, LinkState.UP, 0
        early, self._early = self._early, []
        for command, done in early:
            connection.ask(command, done)
        self._on_up()
        return True

    def _wait_for_connection(self, command: bytes, done: Done) -> None:
        self.start()
        if not self._early:
            asyncio.get_running_loop().call_later(
                self._timeout, self._fail_early, f"Redis at {self.name} is not up yet"
            )
        self._early.append((command, done))

    def _fail_early(self, reason: str) -> None:
        early, self._early = self._early, []
        for _, done in early:
            self.tally.errors["unavailable"] += 1
            done(StoreUnavailableError(reason))
