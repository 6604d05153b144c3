"""The HTTP/1.1 protocol of the listener: uvicorn's on httptools, with the bounds that it lacks and fewer writes.

A client has so long for the head of a request and for each piece of its body, and so many bytes for a head. Whoever is
slower is cut off, whoever sends more gets 431.
"""

import asyncio
import math
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aupgate.model import value
from aupgate.proxy.corking import CorkedTransport
from aupgate.proxy.problem import OnError


@value
class IntakeLimits:
    """What a client may take of time (seconds) and space (bytes)."""

    head_timeout: float = 10.0
    """For the head of a request, from its first byte; for the first request of a connection, from the connection."""
    body_timeout: float = 30.0
    """Between two pieces of a body, while the application waits for one."""
    head_size: int = 64 * 1024
    """Of a request's head: target and fields."""


class Intake(HttpToolsProtocol):
    """One connection of a client. `expire` is called now and then by the listener."""

    def __init__(self, limits: IntakeLimits, answer: OnError, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._limits = limits
        self._answer = answer
        self._in_head = True
        self._head_bytes = 0
        self._too_large = False
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first head."""
        super().connection_made(transport)
        self._cork = CorkedTransport(transport, self.loop)
        self.transport = cast("asyncio.Transport", self._cork)
        self._since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and count it while it is a head."""
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
        else:
            self._since = self.loop.time()
            self._head_bytes = len(data)  # if another request begins in here
        super().data_received(data)
        if self._in_head and self._head_bytes > self._limits.head_size and not self.transport.is_closing():
            self._too_large = True
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Refuse a head that is too large, hand on any other."""
        self._in_head = False
        if self._head_bytes > self._limits.head_size and self._size() > self._limits.head_size:
            self._too_large = True
            raise ValueError("the head of the request is too large")
        super().on_headers_complete()
        if not self.url.startswith((b"/", b"*")):
            # The absolute form names a host, which uvicorn leaves out; who judges the request must see it.
            self.scope["raw_path"] = self.url.partition(b"?")[0]

    def on_response_complete(self) -> None:
        """Send what is held of the response, and go on with the next request."""
        self._cork.flush()
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the bare transport on: a websocket's messages are one write each."""
        self.transport = self._cork.transport
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - what uvicorn calls it with
        """Answer a request that cannot be read, and close."""
        scope = {"type": "http", "client": self.client}
        if self._too_large:
            status, rule, detail = 431, "protocol.header_size", "the head of the request is too large"
        else:
            status, rule, detail = 400, "protocol.syntax", "the request cannot be read as HTTP"
        headers, body = self._answer(scope, status, rule, detail)
        lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
        lines += [b"%b: %b" % field for field in headers]
        self.transport.write(b"\r\n".join([*lines, b"connection: close", b"", b""]) + body)
        self.transport.close()

    def expire(self, now: float) -> None:
        """Cut the client off if it lets the gateway wait for too long."""
        if not self.transport.is_closing() and now - self._since > self._patience():
            self.transport.abort()

    def _patience(self) -> float:
        if self._in_head:
            return self._limits.head_timeout
        cycle = self.cycle
        waits = cycle.more_body and not cycle.response_complete and not cycle.waiting_for_100_continue
        return self._limits.body_timeout if waits and not self.flow.read_paused else math.inf

    def _size(self) -> int:
        return len(self.url) + sum(len(name) + len(text) + 4 for name, text in self.headers)
