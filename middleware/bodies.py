"""Request bodies on their way: held until judged and replayed, or copied while they stream."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from aupgate.errors import SpoolError
from aupgate.model import BodyPlan, Judgement, Verdict
from aupgate.values import value

if TYPE_CHECKING:
    from aupgate.engine import Exchange
    from aupgate.gateway import Gateway

Receive = Callable[[], Awaitable[Any]]

LINGER: Final = 2.0
"""Seconds that a refused client may go on sending before its connection is closed."""
LINGER_BYTES: Final = 64 * 1024 * 1024
"""Bytes read meanwhile, at most."""


@value
class Refused:
    """The body was refused. `unread` is True when the client may still be sending it."""

    judgement: Judgement
    unread: bool


@value
class Forward:
    """The body may be forwarded. `size` is its length in bytes; None: it was not held to its end."""

    size: int | None


_NO_CHUNKS: Final[Iterator[bytes]] = iter(())


def _message(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


class Held:
    """Collects a whole body into the spool, has it judged, and replays it to the application.

    Where the spool fails, or the body is too large, and the policies let it pass all the same, holding ends there: what
    was held is replayed, and the rest streams on.
    """

    __slots__ = ("_chunks", "_exchange", "_gateway", "_left", "_next", "_plan", "_receive", "_spool")

    def __init__(self, gateway: "Gateway", exchange: "Exchange", plan: BodyPlan, receive: Receive) -> None:
        self._gateway = gateway
        self._exchange = exchange
        self._plan = plan
        self._receive = receive
        self._spool = gateway.spools.open()
        self._chunks: Iterator[bytes] = _NO_CHUNKS
        self._left = 0
        self._next: Any = None

    async def collect(self) -> Forward | Refused | None:
        """Return what becomes of the body; None when the client went away, and nothing may be forwarded."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            fault = self._add(message.get("body", b""))
            if fault is not None:
                return self._end_holding(fault, message)
            if not message.get("more_body", False):
                return await self._judge(message)

    def _add(self, chunk: bytes) -> Verdict | None:
        """Hold one more chunk; return the verdict on it when it cannot be held."""
        if self._spool.size + len(chunk) > self._plan.max_size:
            return self._exchange.oversize()
        try:
            self._spool.write(chunk)
        except SpoolError as error:
            return self._exchange.fault(error)
        return None

    def _end_holding(self, fault: Verdict, message: Any) -> Forward | Refused:
        """Return what becomes of a body that cannot be held from `message` on."""
        if fault.refusal is not None:
            return Refused(fault.refusal, unread=message.get("more_body", False))
        self._next = message
        self._replay(self._spool.chunks(), self._spool.size)
        return Forward(None)

    async def _judge(self, last: Any) -> Forward | Refused:
        """Have the whole body judged; `last` is the message that it ended with."""
        size = self._spool.size
        if size == 0:
            self._next = _message(b"")
            return Forward(0)
        verdict = await self._gateway.judge_body(self._exchange, self._spool)
        if verdict.refusal is not None:
            return Refused(verdict.refusal, unread=False)
        if verdict.replacement is not None:
            size = len(verdict.replacement)
            self._next = _message(verdict.replacement)
        elif size == len(last.get("body", b"")):  # most bodies come in one message, which can be had again as it is
            self._next = last
        else:
            self._next = _message(b"")
            self._replay(self._spool.chunks(), size)
        return Forward(size)

    def _replay(self, chunks: Iterator[bytes], size: int) -> None:
        self._chunks, self._left = chunks, size

    async def replay(self) -> Any:
        """Receive for the application: the body once, then whatever the server says."""
        if self._left > 0:
            chunk = next(self._chunks)
            self._left -= len(chunk)
            if self._left > 0 or self._next.get("more_body", False) or self._next.get("body", b""):
                return _message(chunk, more=True)
            self._next = {**self._next, "body": chunk}
        # The spool's memory is free before the application works on the body.
        message, self._next = self._next, None
        self._spool.close()
        return message or await self._receive()

    def close(self) -> None:
        """Free the spool."""
        self._spool.close()


class Copied:
    """Passes a body through and keeps a copy, up to the plan's size, to be inspected when the exchange is over."""

    def __init__(self, gateway: "Gateway", exchange: "Exchange", plan: BodyPlan, receive: Receive) -> None:
        self._gateway = gateway
        self._exchange = exchange
        self._plan = plan
        self._receive = receive
        self._spool = gateway.spools.open()
        self._copying = True
        self._whole = False

    async def receive(self) -> Any:
        """Receive for the application: what the server says, untouched."""
        message = await self._receive()
        if message["type"] == "http.request" and self._copying:
            self._copying = self._add(message.get("body", b""))
            self._whole = self._copying and not message.get("more_body", False)
        return message

    def _add(self, chunk: bytes) -> bool:
        """Copy a chunk; return whether the copy can go on."""
        if self._spool.size + len(chunk) > self._plan.max_size:
            self._exchange.oversize()
        else:
            try:
                self._spool.write(chunk)
            except SpoolError as error:
                self._exchange.fault(error)
            else:
                return True
        self._spool.close()
        return False

    async def inspect(self) -> None:
        """Have the copy judged, if the application read the whole body."""
        if self._whole and self._spool.size:
            self._whole = False
            await self._gateway.judge_body(self._exchange, self._spool)

    def close(self) -> None:
        """Free the spool."""
        self._spool.close()


async def drain(receive: Receive) -> None:
    """Read on from a refused client, within bounds, so that it gets to see the answer."""
    seen = 0
    try:
        async with asyncio.timeout(LINGER):
            while seen < LINGER_BYTES:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                seen += len(message.get("body", b""))
    except TimeoutError:
        return
