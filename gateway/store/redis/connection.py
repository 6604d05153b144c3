"""One connection to Redis: commands in the order in which they were asked, and what comes of them.

It is for one loop. What is asked within a turn of the loop is one write, and at most `MOST_BATCHES` writes await their
replies at a time: what comes meanwhile goes with the next, so that the busier it is, the less each take costs.

redis-py makes a task, a stream and a few hundred calls of each command; here it is a callback on a parsed reply.
"""

import asyncio
from collections import Counter, deque
from time import perf_counter
from typing import Any, Final, Protocol

from hiredis import Reader, ReplyError
from msgspec import Struct, field

from aupgate.errors import StoreError, StoreUnavailableError
from aupgate.store import Done
from aupgate.store.redis.commands import LOAD, pack_command

MOST_WAITING: Final = 10_000
"""Commands that wait for replies or to be sent; those beyond fail at once."""
MOST_BATCHES: Final = 2


class Tally(Struct, gc=False):
    """What is told of the connections to one server, kept when one is replaced by the next."""

    commands: int = 0
    batches: int = 0
    seconds: float = 0.0
    """From the write to the last reply of each batch, by commands."""
    connects: int = 0
    errors: Counter[str] = field(default_factory=Counter)


class Owner(Protocol):
    """Who is told how a connection fares."""

    def replied(self) -> None:
        """Something came."""

    def timed_out(self) -> None:
        """A batch was not answered in time."""

    def lost(self) -> None:
        """The connection is closed; all that waited was told."""


class _Asked:
    __slots__ = ("command", "done", "loaded")

    def __init__(self, command: bytes, done: Done) -> None:
        self.command = command
        self.done = done
        self.loaded = False
        """True when the script was loaded for it."""


class _Batch:
    __slots__ = ("left", "sent_at", "size")

    def __init__(self, size: int, sent_at: float) -> None:
        self.size = self.left = size
        self.sent_at = sent_at


def ignore(_: object) -> None:
    """Do nothing with a reply."""


class Connection(asyncio.Protocol):
    """Asks and listens. `timeout` is in seconds."""

    def __init__(self, owner: Owner, tally: Tally, timeout: float) -> None:
        self._owner = owner
        self._tally = tally
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._reader = Reader()
        self._transport: asyncio.Transport | None = None
        self._unsent: list[_Asked] = []
        self._sent: deque[_Asked] = deque()
        self._batches: deque[_Batch] = deque()
        self._scheduled = False
        self._watch: asyncio.TimerHandle | None = None

    def ask(self, command: bytes, done: Done) -> None:
        """Send `command` with this turn's batch; `done` is called once, later or, when there is no room, at once."""
        if self._transport is None or len(self._sent) + len(self._unsent) >= MOST_WAITING:
            self._refuse(done)
            return
        self._unsent.append(_Asked(command, done))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _refuse(self, done: Done) -> None:
        reason = "disconnected" if self._transport is None else "queue full"
        self._tally.errors[reason] += 1
        done(StoreUnavailableError(f"Redis was not asked: {reason}"))

    async def reply(self, *words: str | bytes) -> Any:
        """Send one command and await its reply; raises `StoreError` for an error in its place."""
        answered: asyncio.Future[Any] = self._loop.create_future()
        self.ask(pack_command(words), lambda reply: None if answered.done() else answered.set_result(reply))
        reply = await answered
        if isinstance(reply, StoreError):
            raise reply
        if isinstance(reply, ReplyError):
            raise StoreError(f"Redis refused {words[0]!r}: {reply}")
        return reply

    def expect(self, timeout: float) -> None:
        """From now on, wait for replies for `timeout` seconds."""
        self._timeout = timeout
        if self._watch is not None:  # it is due when the timeout before would have passed
            self._watch.cancel()
            self._watch = self._loop.call_later(timeout, self._expire)

    def abort(self, reason: str = "the connection to Redis was given up") -> None:
        """Close at once; whatever waits is told."""
        if self._transport is not None:
            self._transport.abort()
        self._end(reason)

    # -- what the loop calls -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment]
        self._tally.connects += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._end(f"Redis closed the connection: {exc or 'end of stream'}")

    def data_received(self, data: bytes) -> None:
        """Hand each reply to whom it is for."""
        reader, sent = self._reader, self._sent
        reader.feed(data)
        replies, demoted = 0, False
        while (reply := reader.gets()) is not False:
            if not sent:
                self.abort("Redis said what nobody had asked for")
                return
            asked = sent.popleft()
            replies += 1
            if type(reply) is ReplyError:
                if self._ask_again(asked, reply):
                    continue
                demoted = demoted or str(reply).startswith("READONLY")
            try:
                asked.done(reply)
            except Exception as error:  # noqa: BLE001 - one caller's fault must not end what all share
                self._loop.call_exception_handler({"message": "a taker failed on its answer", "exception": error})
        if replies:
            self._account(replies)
        if demoted:
            self.abort("the server is no primary any more")

    def _account(self, replies: int) -> None:
        batches = self._batches
        now = perf_counter()
        self._owner.replied()
        while replies and batches:
            batch = batches[0]
            taken = min(replies, batch.left)
            batch.left -= taken
            replies -= taken
            if not batch.left:
                batches.popleft()
                self._tally.seconds += (now - batch.sent_at) * batch.size
        if self._unsent and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _ask_again(self, asked: _Asked, reply: ReplyError) -> bool:
        """Load the script that Redis has lost, and ask again; return whether that was it."""
        if asked.loaded or not str(reply).startswith("NOSCRIPT"):
            return False
        self._tally.errors["script lost"] += 1
        asked.loaded = True
        self._unsent += (_Asked(LOAD, ignore), asked)
        return True

    # -- writing -------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._scheduled = False
        unsent = self._unsent
        if not unsent or self._transport is None or len(self._batches) >= MOST_BATCHES:
            return
        self._unsent = []
        self._sent.extend(unsent)
        size = len(unsent)
        self._batches.append(_Batch(size, perf_counter()))
        tally = self._tally
        tally.batches += 1
        tally.commands += size
        self._transport.write(unsent[0].command if size == 1 else b"".join([asked.command for asked in unsent]))
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout, self._expire)

    def _expire(self) -> None:
        """Fail what has waited for too long, and look again when the next would have."""
        self._watch = None
        now = perf_counter()
        expired = 0
        for batch in self._batches:
            if batch.sent_at + self._timeout > now:
                break
            expired += batch.left
        if expired:
            self._fail(expired)
            self._owner.timed_out()
        if self._batches and self._transport is not None:
            due = next((b.sent_at for b in self._batches if b.sent_at + self._timeout > now), now)
            self._watch = self._loop.call_later(max(0.001, due + self._timeout - now), self._expire)

    def _fail(self, expired: int) -> None:
        """Tell the first `expired` that wait, and all that are unsent behind them; late replies find nobody."""
        error = StoreError(f"Redis did not answer within {self._timeout:g} s")
        waiting = [asked for _, asked in zip(range(expired), self._sent, strict=False)] + self._unsent
        self._unsent = []
        for asked in waiting:
            if asked.done is not ignore:
                done, asked.done = asked.done, ignore
                self._tally.errors["timeout"] += 1
                done(error)

    def _end(self, reason: str) -> None:
        if self._transport is None:
            return
        self._transport = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        waiting = [*self._sent, *self._unsent]
        self._sent.clear()
        self._batches.clear()
        self._unsent = []
        error = StoreError(reason)
        self._owner.lost()
        for asked in waiting:
            if asked.done is not ignore:
                self._tally.errors["disconnected"] += 1
                asked.done(error)
