"""A transport that sends what is written within one turn of the event loop at once.

An ASGI server writes the head of a response and then its body, and each write is a system call and often a packet. Held
together until the loop's turn ends, or the response does, they are one.
"""

import asyncio
from typing import Any, Final

HOLD: Final = 16 * 1024
"""Bytes that are held at most; what is larger gains nothing from waiting."""


class CorkedTransport:
    """Wraps `transport`. Everything but `write` and `close` goes straight through."""

    __slots__ = ("_held", "_loop", "_size", "transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def is_closing(self) -> bool:
        """Tell whether the transport is closing or closed."""
        return self.transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send `data` before this turn of the loop ends, together with whatever else is written in it."""
        if not self._held:
            if len(data) > HOLD:
                self.transport.write(data)
                return
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > HOLD:
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._size = 0
            self.transport.write(data)

    def close(self) -> None:
        """Send what is held and close."""
        self.flush()
        self.transport.close()
