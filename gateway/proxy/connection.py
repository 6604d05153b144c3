"""One HTTP/1.1 connection to an upstream: an asyncio protocol that carries one exchange at a time.

The connection is used again only after an exchange that left no doubt: the request was sent whole, the response ended
where its framing says, nothing followed it, and neither side asked to close. Anything else closes it.

Bounds: 64 KiB for a head, and for what comes between two pieces of a body (interim responses, chunk extensions,
trailers); the transport's 64 KiB and one piece for a body that is sent. A response goes to its consumer as it comes,
one read of the loop's (at most 256 KiB) at a time; who cannot take more calls `pause`.
"""

import asyncio
import math
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

import httptools

from aupgate.model import Header
from aupgate.proxy.errors import ConnectionDied, UpstreamError, UpstreamProtocolError, UpstreamTimeout
from aupgate.proxy.framing import CHUNKED, LAST_CHUNK, BodyEnd, body_end, encode_chunk
from aupgate.proxy.response import Consumer, UpstreamResponse

HEAD_LIMIT: Final = 64 * 1024
"""Bytes of a response's head, and of anything else in a response that is no body."""

_SMALL: Final = 64 * 1024
"""Bytes of a body that are sent together with the head; a copy of more costs more than a second write."""

_CLOSED: Final = "closed by the upstream"

_NO_CONTENT: Final = 204

_LAST_READS: Final = 4
"""Reads of at most 64 KiB for what an upstream said before it hung up on a request."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the upstream leg waits, in seconds.

    They are looked at now and then and may hold up to a quarter longer.
    """

    connect: float = 5.0
    """Longest time for a connection to be made, with its TLS handshake."""
    response: float = 60.0
    """Longest wait for the head of a response, once the request was sent."""
    pause: float = 300.0
    """Longest pause inside a response's body, and longest time for which the upstream takes nothing of a request's."""
    idle: float = 60.0
    """How long a connection is kept without a request."""


class Keeper(Protocol):
    """What keeps connections between exchanges."""

    authority: bytes
    """The Host field for requests that came without one."""

    def on_free(self, connection: "Connection") -> None:
        """Take back a connection that can carry another exchange."""

    def on_lost(self, connection: "Connection") -> None:
        """Forget a connection that is closed."""


class Connection(asyncio.BufferedProtocol):
    """One connection. It reads into `buffer`, which all connections of an event loop may share.

    `free_since` is the loop's time at which it was last given back, for the pool.
    """

    __slots__ = (
        "_answered", "_between", "_buffer", "_drained", "_end", "_fields", "_heard", "_interim", "_keeper",
        "_method", "_parser", "_paused", "_pump", "_response", "_reusable", "_saw_body", "_sent", "_spare", "_timeouts",
        "_transport", "deadline", "free_since", "loop",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, timeouts: Timeouts, keeper: Keeper, buffer: memoryview) -> None:
        self.loop = loop
        self._buffer = buffer
        self.deadline = math.inf
        self.free_since = 0.0
        self._timeouts = timeouts
        self._keeper = keeper
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._response: Consumer | None = None
        self._pump: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._spare: int | None = None
        self._method = b""
        self._fields: list[Header] = []
        self._end = BodyEnd.AT_HEAD
        self._between = 0
        self._answered = self._heard = self._interim = self._saw_body = False
        self._sent = self._paused = self._reusable = False

    # What the pool and the exchange call.

    @property
    def authority(self) -> bytes:
        """The Host field for a request that came without one."""
        return self._keeper.authority

    @property
    def usable(self) -> bool:
        """True while another exchange may begin."""
        return self._transport is not None and not self._transport.is_closing()

    def begin(
        self, method: bytes, head: bytes, body: bytes | AsyncIterator[bytes] | None, length: int | None
    ) -> UpstreamResponse:
        """Send a request; return the response to wait for. `length` counts a streamed body, or is `CHUNKED`."""
        response = UpstreamResponse(self)
        self._expect(response, method)
        if body is None or isinstance(body, bytes):
            for part in (head, body) if body and len(body) > _SMALL else (head + (body or b""),):
                self._write(part)
            self._on_sent()
        else:
            self._sent = False
            self._spare = self._duplicate()
            self._write(head)
            self._pump = self.loop.create_task(self._send_body(body, length or 0))
        return response

    def carry(self, consumer: Consumer, method: bytes, head: bytes) -> None:
        """Send a request without a body; `consumer` is told of the response."""
        self._expect(consumer, method)
        self._write(head)
        self._on_sent()

    def expire(self, now: float) -> None:
        """Give up if the deadline is over: fail the exchange, or close an idle connection."""
        if now < self.deadline:
            return
        waits = self._timeouts
        if self._response is None:
            self.close()
        elif not self._sent:
            self._fail(UpstreamTimeout(f"the upstream took nothing of the request's body for {waits.pause:g} s"))
        elif not self._answered:
            self._fail(UpstreamTimeout(f"no response from the upstream within {waits.response:g} s"))
        else:
            self._fail(UpstreamTimeout(f"the upstream paused for {waits.pause:g} s inside a response"))

    def close(self) -> None:
        """Close the connection now."""
        self._stop_sending()
        if self._transport is not None:
            self._transport.abort()

    # What the consumer calls.

    def await_data(self) -> None:
        """Start the clock for the next piece of the body.

        While the request is still being sent its pauses are no fault.
        """
        if self._sent:
            self.deadline = self.loop.time() + self._timeouts.pause

    def pause(self) -> None:
        """Read no more for now."""
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            if self._sent:
                self.deadline = math.inf  # that nothing comes is no fault of the upstream
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._paused and self._transport is not None:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def abandon(self, error: Exception) -> None:
        """Close the connection in the middle of the exchange."""
        self._fail(error)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are no subclass of it

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the BufferedProtocol interface
        """Return where to read to: what is read is taken from there before anything else is read."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse what came."""
        self._take(bytes(self._buffer[:nbytes]))

    def _take(self, data: bytes) -> None:
        response = self._response
        if response is None:  # nothing was asked: a late answer, or a farewell such as 408
            self.close()
            return
        self._heard = True
        self._between += len(data)
        self._feed(data)
        if self._answered and self._sent:
            self.deadline = math.inf  # until the consumer waits again
        if self._saw_body:
            self._saw_body = False
            self._between = 0
        elif self._between > HEAD_LIMIT:
            self._fail(UpstreamProtocolError(f"more than {HEAD_LIMIT} bytes of response without a body"))
        if self._response is None:
            self._end_exchange()
        response.wake()

    def eof_received(self) -> None:
        """End the exchange. The transport is closed: whoever has said everything answers nothing more."""
        self._on_end(None)
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange."""
        self._transport = None
        if exc is not None and self._spare is not None:
            self._read_last_words(self._spare)
        # The upstream's own end came before; so this one says nothing of where a body ends (RFC 9112 section 9.8).
        self._on_end(exc or ConnectionAbortedError("closed before its end"))
        self._drop_spare()
        self._keeper.on_lost(self)

    def pause_writing(self) -> None:
        """Hold back the request's body."""
        self._drained = self.loop.create_future()

    def resume_writing(self) -> None:
        """Go on with the request's body."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # What the parser calls. It wraps what is raised here in one of its own errors.

    def on_message_begin(self) -> None:
        """Refuse a second response to one request."""
        if self._response is None:
            raise UpstreamProtocolError("something follows the response")

    def on_header(self, name: bytes, text: bytes) -> None:
        """Take one field; trailers come here too, and are dropped with the list."""
        self._fields.append((name.lower(), text.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Judge the head and hand it over; drop an interim one (RFC 9110 section 15.2)."""
        parser, response = self._parser, self._response
        if response is None:
            raise UpstreamProtocolError("something follows the response")
        if self._between > HEAD_LIMIT:
            self._check_size()
        fields, self._fields = self._fields, []
        status = parser.get_status_code()
        if 100 <= status <= 199 and status != 101:
            self._interim = True
            return
        self._end = body_end(self._method, parser.get_http_version(), status, fields)
        # A 204 that announces a body after all leaves a doubt whether one comes (RFC 9112 section 6.3).
        self._reusable = parser.should_keep_alive() and not (status == _NO_CONTENT and _is_framed(fields))
        self._answered = True
        response.on_head(status, fields)
        if self._method == b"HEAD":  # the parser does not know and would wait for a body
            self._complete(response)

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self._response is None:
            raise UpstreamProtocolError("a body follows where there is none")
        self._saw_body = True
        self._response.on_data(data)

    def on_message_complete(self) -> None:
        """End an interim response, or the response."""
        if self._interim:
            self._interim = False
        elif self._response is not None:
            self._complete(self._response)

    # The rest.

    def _expect(self, consumer: Consumer, method: bytes) -> None:
        self._response = consumer
        self._method = method
        self._fields = []
        self._end = BodyEnd.AT_HEAD
        self._between = 0
        self._answered = self._heard = self._interim = self._saw_body = self._reusable = False

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._reusable = False
            cause = error.__context__
            if not isinstance(cause, UpstreamError):
                cause = UpstreamProtocolError(f"response is not HTTP/1.1: {error}")
            if self._response is not None:
                self._fail(cause)

    def _check_size(self) -> None:
        # The first read may hold body as well; what counts is the head.
        if sum(len(name) + len(text) + 4 for name, text in self._fields) > HEAD_LIMIT:
            raise UpstreamProtocolError(f"the head of the response is larger than {HEAD_LIMIT} bytes")

    def _complete(self, response: Consumer) -> None:
        self._response = None
        response.on_complete()

    def _end_exchange(self) -> None:
        self.deadline = math.inf
        self._drop_spare()
        if self._method == b"HEAD":  # the parser still waits for a body
            self._parser = httptools.HttpResponseParser(self)
        if self._reusable and self._sent and self._drained is None and self.usable:
            self.resume()
            self._keeper.on_free(self)
        else:
            self.close()

    def _fail(self, error: Exception) -> None:
        response, self._response = self._response, None
        self._reusable = False
        if response is not None:
            response.on_error(error)
        self.close()

    def _on_end(self, error: Exception | None) -> None:
        response = self._response
        if response is None:
            self._stop_sending()
        elif self._end is BodyEnd.AT_EOF and error is None:
            self._complete(response)
            self._stop_sending()
            response.wake()
        elif self._heard:
            self._fail(UpstreamProtocolError(f"the connection ended inside a response: {error or _CLOSED}"))
        else:
            self._fail(ConnectionDied(f"the connection ended before a response: {error or _CLOSED}"))

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _on_sent(self) -> None:
        self._sent = True
        if not self._answered:
            self.deadline = self.loop.time() + self._timeouts.response

    async def _send_body(self, body: AsyncIterator[bytes], length: int) -> None:
        try:
            await self._send_pieces(body, length)
        except Exception as error:  # noqa: BLE001 - whatever the body raises goes to whoever waits for the response
            self._pump = None
            self._fail(error)
        else:
            self._pump = None
            self._on_sent()

    async def _send_pieces(self, body: AsyncIterator[bytes], length: int) -> None:
        left = length
        async for piece in body:
            left -= len(piece)
            if length != CHUNKED and left < 0:
                raise ValueError(f"the request's body is longer than its content-length {length}")
            if piece:
                self._write(b"".join(encode_chunk(piece)) if length == CHUNKED else piece)
                await self._drain()
        if length == CHUNKED:
            self._write(LAST_CHUNK)
        elif left:
            raise ValueError(f"the request's body is {left} bytes shorter than its content-length {length}")

    async def _drain(self) -> None:
        # Who waits here is cancelled when the connection is lost, because then nothing drains any more.
        if self._drained is not None:
            self.deadline = self.loop.time() + self._timeouts.pause
            await self._drained
            self.deadline = math.inf

    # An upstream that refuses a body may answer, hang up, and make the next write fail before its answer was read. The
    # event loop then closes the socket; a second descriptor keeps the answer within reach.

    def _duplicate(self) -> int | None:
        transport = self._transport
        if transport is None or transport.get_extra_info("sslcontext") is not None:
            return None
        return os.dup(transport.get_extra_info("socket").fileno())

    def _read_last_words(self, descriptor: int) -> None:
        try:
            for _ in range(_LAST_READS):
                if self._response is None or not (data := os.read(descriptor, HEAD_LIMIT)):
                    return
                self._take(data)
        except OSError:
            return  # that was all

    def _drop_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _stop_sending(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None


def _is_framed(fields: Sequence[Header]) -> bool:
    return any(name == b"transfer-encoding" or (name == b"content-length" and text != b"0") for name, text in fields)
