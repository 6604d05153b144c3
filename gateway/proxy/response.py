"""One response of the upstream, read at the pace of its consumer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final, Protocol

from aupgate.model import Header

HIGH_WATER: Final = 64 * 1024
"""Bytes of a body held for a consumer before the upstream is no longer read. The loop reads at most 256 KiB at a time,
so one response never holds more than 320 KiB."""


class Leg(Protocol):
    """What a response needs of the connection that it comes from."""

    loop: asyncio.AbstractEventLoop

    def await_data(self) -> None:
        """Start the clock: the consumer waits for data."""

    def pause(self) -> None:
        """Read no more for now: the consumer is behind."""

    def resume(self) -> None:
        """Read again: the consumer has taken everything."""

    def abandon(self, error: Exception) -> None:
        """Close the connection: nobody wants the rest."""


class Consumer(Protocol):
    """What takes a response, by callbacks that neither wait nor raise."""

    def on_head(self, status: int, headers: list[Header]) -> None:
        """Take the final head; names are in lower case."""

    def on_data(self, data: bytes) -> None:
        """Take a piece of the body."""

    def on_complete(self) -> None:
        """Note that everything came; the connection now belongs to others."""

    def on_error(self, error: Exception) -> None:
        """Note that no more will come. Nothing else is called after it but `wake`."""

    def wake(self) -> None:
        """Make use of what came: everything that was read at once has been told."""


class UpstreamResponse:
    """Status, header fields (lower-case names, order and duplicates kept) and body of one response.

    Iterate over it for the body, or call `next_chunk` until `ended`. Call `close` when done with it, always.
    """

    __slots__ = ("_chunks", "_complete", "_error", "_leg", "_waiter", "headers", "held", "status")

    def __init__(self, leg: Leg) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.held = 0
        """Bytes of the body that are here and not yet taken."""
        self._chunks: list[bytes] = []
        self._complete = False
        self._error: Exception | None = None
        self._leg: Leg | None = leg
        self._waiter: asyncio.Future[None] | None = None

    @property
    def ended(self) -> bool:
        """True when the whole body was taken."""
        return self._complete and not self._chunks

    async def head(self) -> None:
        """Wait for status and header fields. Raises `UpstreamError`, or what the request's body raised."""
        while not self.status and self._error is None:
            await self._news()
        if self._error is not None:
            raise self._error

    async def next_chunk(self) -> bytes:
        """Return what has come of the body, waiting for some if need be; empty at the end and only there.

        Raises `UpstreamError` when the body breaks off: then what came before is not the whole.
        """
        while not self._chunks and not self._complete:
            if self._error is not None:
                raise self._error
            if self._leg is not None:
                self._leg.await_data()
            await self._news()
        return self._take()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not self.ended:
            if chunk := await self.next_chunk():
                yield chunk

    def close(self, error: Exception | None = None) -> None:
        """Let go of the response. If it is not complete the connection is closed, and who waits for it gets `error`."""
        if self._leg is not None:
            self._leg.abandon(error or asyncio.InvalidStateError("the response was closed"))

    def _take(self) -> bytes:
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.held = 0
        if self._leg is not None:
            self._leg.resume()
        return data

    def _news(self) -> asyncio.Future[None]:
        loop = self._leg.loop if self._leg is not None else asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        return waiter

    # What the connection calls.

    def on_head(self, status: int, headers: list[Header]) -> None:
        """Take the head."""
        self.status = status
        self.headers = headers

    def on_data(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._chunks.append(data)
        self.held += len(data)

    def on_complete(self) -> None:
        """Note that everything came; the connection now belongs to others."""
        self._complete = True
        self._leg = None

    def on_error(self, error: Exception) -> None:
        """Note that no more will come."""
        self._error = error
        self._leg = None
        self.wake()

    def wake(self) -> None:
        """Tell the consumer, if it waits, that there is something new; read no more if it is behind."""
        if self.held > HIGH_WATER and self._leg is not None:
            self._leg.pause()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
