"""The HTTP/1.1 protocol of the listener: uvicorn's on httptools, with the bounds that it lacks and fewer writes.

A client has so long for the head of a request and for each piece of its body, and so many bytes for a head and for what
frames a body. Whoever is slower is cut off, whoever sends more gets 431.

Trailers are read past and dropped: an application must not take them for header fields that were judged (RFC 9110
section 6.5.1). An offer of another protocol than websocket is declined by serving the request as it is (RFC 9110
section 7.8). Since httptools takes what follows such an offer for the other protocol, the head is parsed again without.
"""

import asyncio
import logging
import math
from http import HTTPStatus
from typing import Any, Final, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.protocol import Protocol

from aupgate.proxy.corking import CorkedTransport
from aupgate.proxy.cycle import Cycle, http_date
from aupgate.proxy.problem import OnError
from aupgate.values import value

_VERSIONS: Final = frozenset({"1.0", "1.1"})

_log = logging.getLogger("aupgate.proxy")


@value
class IntakeLimits:
    """What a client may take of time (seconds) and space (bytes)."""

    head_timeout: float = 10.0
    """For the head of a request, from its first byte; for the first request of a connection, from the connection."""
    body_timeout: float = 30.0
    """Between two pieces of a body, while the application waits for one."""
    head_size: int = 64 * 1024
    """Of a request's head, target and fields; also of its trailers, and of the framing between two pieces of a body."""


class UnreadableRequestError(Exception):
    """Raised while parsing for what is answered with `status` under `rule`, and closes the connection."""

    def __init__(self, status: int, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.rule = rule
        self.detail = detail


def _malformed(detail: str, status: int = 400) -> UnreadableRequestError:
    return UnreadableRequestError(status, "protocol.syntax", detail)


def _too_large() -> UnreadableRequestError:
    return UnreadableRequestError(431, "protocol.header_size", "the head of the request is too large")


class Intake(HttpToolsProtocol):
    """One connection of a client. `expire` is called now and then by the listener."""

    def __init__(self, limits: IntakeLimits, answer: OnError, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._limits = limits
        self._answer = answer
        self._in_head = True
        self._between = True
        """No request is being read."""
        self._size = 0
        """Bytes of the fields and the target that were read of this head, or of these trailers."""
        self._stretch = 0
        """Bytes that came since a head began or a body went on, so that a single field has a bound, too."""
        self._begins_with = 0
        """Bytes of this packet, if a head can begin right with it."""
        self._since = 0.0
        self._refusal: UnreadableRequestError | None = None
        """What comes after the answers that are under way."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first head."""
        super().connection_made(transport)
        self._cork = CorkedTransport(transport, self.loop)
        self.transport = cast("asyncio.Transport", self._cork)
        self._since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._refusal or self.transport.is_closing():
            return
        if not self._in_head:
            self._since = self.loop.time()
        self._begins_with = len(data) if self._between else 0
        self._stretch += len(data)
        try:
            self._parse(memoryview(data))
            if self._stretch > self._limits.head_size and not self._between:
                raise _too_large()
        except UnreadableRequestError as error:
            self._refuse(error)

    def _parse(self, data: memoryview) -> None:
        try:
            while (read := self._read(data)) is not None:
                data = data[read:]
                if self._should_upgrade():
                    self._open_websocket(data)
                    return
                self._decline_upgrade()
        except HttpParserError as error:
            reason = error.__context__
            if isinstance(reason, UnreadableRequestError):
                raise reason from None
            raise _malformed("the request cannot be read as HTTP") from error

    def _read(self, data: memoryview) -> int | None:
        """Return how much was read when an offer of another protocol ended the parsing, else None."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offer:
            return int(offer.args[0])
        return None

    def on_message_begin(self) -> None:
        """Note that a head begins, which empty lines before it do not."""
        self._unset_keepalive_if_required()
        self._in_head, self._between = True, False
        self._size = 0
        self._stretch, self._begins_with = self._begins_with, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head, drop one of the trailers."""
        self._count(len(name) + len(value) + 4)
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the exchange, unless another protocol is offered."""
        self._in_head = False
        self._unset_keepalive_if_required()  # again, for an answer may have ended while the head came
        self._size = self._stretch = 0
        self._since = self.loop.time()
        if self.parser.get_http_version() not in _VERSIONS:
            raise _malformed("only HTTP/1.0 and HTTP/1.1 are spoken here", HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        if self.parser.should_upgrade():
            self._look_at_offer()
            return
        super().on_headers_complete()
        self.cycle.__class__ = Cycle  # uvicorn leaves no other way to make the exchange one's own
        if not self.url.startswith((b"/", b"*")):
            # The absolute form names a host, which uvicorn leaves out; who judges the request must see it.
            self.scope["raw_path"] = self.url.partition(b"#")[0].partition(b"?")[0]

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._size = self._stretch = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request has been read, which is not yet so for one that offers another protocol."""
        self._between = True
        self._stretch = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Send what is held of the response, and go on with the next request, or say why there is none."""
        self._cork.flush()
        last = not self.pipeline
        super().on_response_complete()
        self._since = self.loop.time()
        if last and self._refusal and not self.transport.is_closing():
            self._say(self._refusal)

    def expire(self, now: float) -> None:
        """Cut the client off if it lets the gateway wait for too long."""
        if not self.transport.is_closing() and now - self._since > self._patience():
            self.transport.abort()

    def _patience(self) -> float:
        if not self._answering():
            return self._limits.head_timeout if self._in_head else math.inf
        cycle = self.cycle
        waits = cycle.more_body and not cycle.waiting_for_100_continue and not self.flow.read_paused
        return self._limits.body_timeout if waits else math.inf

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._limits.head_size:
            raise _too_large()

    def _should_upgrade(self) -> bool:
        if (
            self.parser.get_method() != b"GET"
            or self.parser.get_http_version() != "1.1"
            or not super()._should_upgrade()
        ):
            return False
        return all(
            name != b"transfer-encoding" and (name != b"content-length" or text == b"0") for name, text in self.headers
        )

    def _look_at_offer(self) -> None:
        if self.parser.get_method() == b"CONNECT":
            raise _malformed("there are no tunnels here, send the request without CONNECT")
        if self._should_upgrade() and (self._answering() or not self.url.isascii()):
            raise _malformed("a websocket begins with an ASCII target, and after the last answer has ended")

    def _decline_upgrade(self) -> None:
        """Parse the head again without the offer, so that a body is read as what it is."""
        version, method = self.parser.get_http_version().encode(), self.parser.get_method()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        lines += [b"%b: %b" % field for field in self.headers if field[0] != b"upgrade"]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    def _open_websocket(self, early: memoryview) -> None:
        """Hand the bare transport on: a websocket's messages are one write each.

        So is the request as it was parsed: parsed by the websocket's own rules, it would have other bounds.
        """
        if early:
            raise _malformed("a websocket client waits for the answer to its handshake")
        self.connections.discard(self)
        transport = self._cork.transport
        protocol = WebSocketsSansIOProtocol(self.config, self.server_state, self.app_state)
        protocol.connection_made(transport)
        protocol.conn.parser = Protocol.parse(protocol.conn)
        next(protocol.conn.parser)
        fields = Headers([(name.decode("ascii"), text.decode("latin-1")) for name, text in self.headers])
        protocol.handle_connect(Request(self.url.partition(b"#")[0].decode("ascii"), fields))
        transport.set_protocol(protocol)

    def _answering(self) -> bool:
        cycle = cast("Cycle | None", self.cycle)  # there is none before the first request
        return cycle is not None and not cycle.response_complete

    def _refuse(self, error: UnreadableRequestError) -> None:
        """Answer with `error` when its turn comes; read no more."""
        _log.info("a request cannot be read: %s", error.detail)
        self._refusal = error
        if not self._answering():
            self._say(error)
        elif self.cycle.more_body:
            self._refuse_body(error)

    def _refuse_body(self, error: UnreadableRequestError) -> None:
        if self.pipeline:
            self.pipeline.popleft()  # it is the last one's body
        elif self.cycle.response_started:
            self.transport.close()
        else:
            self._say(error)

    def _say(self, error: UnreadableRequestError) -> None:
        headers, body = self._answer({"type": "http", "client": self.client}, error.status, error.rule, error.detail)
        lines = [b"HTTP/1.1 %d %b" % (error.status, HTTPStatus(error.status).phrase.encode())]
        lines += [b"%b: %b" % field for field in headers]
        lines += [b"date: %b" % http_date(), b"connection: close", b"", b""]
        self.transport.write(b"\r\n".join(lines) + body)
        self.transport.close()
