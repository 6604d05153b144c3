"""The HTTP/1.1 protocol of the listener: uvicorn's on httptools, with the bounds that it lacks and fewer writes.

A client has so long for the head of a request and for each piece of its body, it has so many bytes for a head and for
what frames a body, and it must send a body and take an answer at some pace. Whoever is slower is cut off, whoever sends
more gets 431. What needs no application goes into the direct lane (`aupgate.proxy.lane`), if there is one.

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
from websockets.datastructures import Headers
from websockets.http11 import Request

from aupgate.fields import by_name
from aupgate.proxy.admission import Place
from aupgate.proxy.corking import CorkedTransport
from aupgate.proxy.cycle import Cycle
from aupgate.proxy.direct import DirectExchange
from aupgate.proxy.lane import Lane
from aupgate.proxy.pace import Pace, bytes_taken, cut_off
from aupgate.proxy.problem import OnError
from aupgate.proxy.unreadable import UnreadableRequestError, malformed, too_large, too_many, too_slow
from aupgate.proxy.websocket_intake import WebsocketIntake
from aupgate.values import value

_VERSIONS: Final = frozenset({"1.0", "1.1"})

MOST_UNSENT: Final = 16 * 1024
"""Bytes that wait to be sent to a client until no more of its response is read: many clients may be slow at once."""

_lower: Final = by_name(bytes.lower)
"""Names in lower case, of which there are few: the same objects again are found faster by all that look for them."""

_log = logging.getLogger("aupgate.proxy")


@value
class IntakeLimits:
    """What a client may take of time (seconds) and space (bytes)."""

    head_timeout: float = 10.0
    """For the head of a request, from its first byte; for the first request of a connection, from the connection."""
    body_timeout: float = 30.0
    """Between two pieces of a body, while the application waits for one; also how long its pace is averaged over."""
    write_timeout: float = 30.0
    """How long the pace is averaged over at which a client takes what is written."""
    min_rate: int = 100
    """Bytes a second that a client must send of a body, and take of an answer, on the average."""
    head_size: int = 64 * 1024
    """Of a request's head, target and fields; also of its trailers, and of the framing between two pieces of a body."""
    fields: int = 1000
    """Fields of a head: each takes more space than its bytes."""
    pipeline: int = 100
    """Requests that wait for the answers to earlier ones. One read of the transport may hold thousands."""


class Intake(HttpToolsProtocol):
    """One connection of a client. `expire` is called now and then by the listener."""

    def __init__(
        self,
        limits: IntakeLimits,
        answer: OnError,
        lane: Lane | None = None,
        place: Place | None = None,
        peer: tuple[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._place = place
        self._peer = peer
        """Who it is that the other end of the connection connects for; None: itself."""
        self.wire: asyncio.Transport = cast("asyncio.Transport", None)  # until the connection is made
        """The bare transport."""
        self.url = b""
        self.headers = []
        self._limits = limits
        self._answer = answer
        self._lane = lane
        self.direct: DirectExchange | None = None
        """What the lane has under way."""
        self._reading: Cycle | None = None
        """Whose body is being read."""
        self._in_head = True
        self._between = True
        """No request is being read."""
        self._size = 0
        """Bytes that were read of these trailers."""
        self._stretch = 0
        """Bytes that came since a head began or a body went on, so that a single field has a bound, too."""
        self._packet = 0
        """Bytes of what is being parsed: more of a head than `_stretch` may be in there."""
        self._begins_with = 0
        """Bytes of this packet, if a head can begin right with it."""
        self._since = 0.0
        """When the client's time began to run: for a head, for a piece of a body, or until the next request."""
        self._refusal: UnreadableRequestError | None = None
        """What comes after the answers that are under way."""
        self._came = 0
        """Bytes that came while a body was read."""
        self._giving = Pace(limits.min_rate, limits.body_timeout)
        """At which the body comes that is waited for."""
        self._taking = Pace(limits.min_rate, limits.write_timeout)
        """At which the client takes what is written."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first head."""
        super().connection_made(transport)
        if self._peer is not None:
            self.client = self._peer
        self.wire = transport
        transport.set_write_buffer_limits(high=MOST_UNSENT)
        self._cork = CorkedTransport(transport, self.loop)
        self.transport = cast("asyncio.Transport", self._cork)
        self._since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what is under way, and the place."""
        try:
            super().connection_lost(exc)
            exchange, self.direct = self.direct, None
            if exchange is not None:
                exchange.abandon()
        finally:
            if self._place is not None:
                self._place.leave()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._refusal or self.wire.is_closing():
            return
        self._packet = size = len(data)
        if self._reading is not None:
            self._since = self.loop.time()
            self._came += size
        self._begins_with = size if self._between else 0
        self._stretch += size
        try:
            self._parse(data)
            if not self._between and (
                self._stretch + size > self._limits.head_size or len(self.headers) > self._limits.fields
            ):
                self._check_stretch()
        except UnreadableRequestError as error:
            self._refuse(error)

    def _parse(self, data: bytes | memoryview) -> None:
        try:
            while (read := self._read(data)) is not None:
                data = memoryview(data)[read:]
                if self._should_upgrade():
                    self._open_websocket(data)
                    return
                self._decline_upgrade()
        except HttpParserError as error:
            reason = error.__context__
            if isinstance(reason, UnreadableRequestError):
                raise reason from None
            raise malformed("the request cannot be read as HTTP") from error

    def _read(self, data: bytes | memoryview) -> int | None:
        """Return how much was read when an offer of another protocol ended the parsing, else None."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offer:
            return int(offer.args[0])
        return None

    def on_message_begin(self) -> None:
        """Note that a head begins, which empty lines before it do not."""
        if not self._in_head:
            self._in_head = True
            self._since = self.loop.time()
        self._between = False
        self._stretch, self._begins_with = self._begins_with, 0
        self.url = b""
        self.headers = []

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head, drop one of the trailers."""
        if self._in_head:
            self.headers.append((_lower[name], value))
        else:
            self._size += len(name) + len(value) + 4
            if self._size > self._limits.head_size:
                raise too_large()

    def on_headers_complete(self) -> None:
        """Begin the exchange, unless another protocol is offered."""
        self._in_head = False
        if self._stretch + self._packet > self._limits.head_size or len(self.headers) > self._limits.fields:
            self._check_head()
        self._size = self._stretch = 0
        parser = self.parser
        version = parser.get_http_version()
        if version not in _VERSIONS:
            raise malformed("only HTTP/1.0 and HTTP/1.1 are spoken here", HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        if b"#" in self.url:  # which the parser of targets takes away
            raise malformed("the request target has a fragment, which is never sent")
        if parser.should_upgrade():
            self._look_at_offer()
        elif not self.wire.is_closing() and not (
            version == "1.1" and self._lane is not None and self._go_direct(self._lane)
        ):
            self._go_by_asgi()

    def _go_direct(self, lane: Lane) -> bool:
        """Give the request to the lane; False when it does not take it."""
        if self._answering():
            return False
        parser = self.parser
        return lane.take(self, parser.get_method(), self.url, self.headers, keep_alive=parser.should_keep_alive())

    def _go_by_asgi(self) -> None:
        """Give the request to the application, when its turn comes."""
        if len(self.pipeline) >= self._limits.pipeline:
            raise too_many()
        url, headers = self.url, self.headers
        super().on_message_begin()  # makes the scope
        self.url = url
        self.headers += headers  # the scope's
        self.expect_100_continue = any(name == b"expect" and text.lower() == b"100-continue" for name, text in headers)
        self._since = self.loop.time()
        super().on_headers_complete()
        self.cycle.__class__ = Cycle  # uvicorn leaves no other way to make the exchange one's own
        self._reading = cast("Cycle", self.cycle)
        if not url.startswith((b"/", b"*")):
            # The absolute form names a host, which uvicorn leaves out; who judges the request must see it.
            self.scope["raw_path"] = url.partition(b"#")[0].partition(b"?")[0]

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if self.direct is None:
            super()._start_asgi_task(cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._size = self._stretch = 0
        if self._reading is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request has been read."""
        self._between = True
        self._stretch = 0
        if self._reading is not None:
            self._reading = None
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Send what is held of a response by the application, and go on."""
        self._cork.flush()
        self._go_on()

    def on_exchange_end(self) -> None:
        """Go on after an exchange of the lane."""
        self.direct = None
        self._go_on()

    def _go_on(self) -> None:
        """Go on with the next request, or say why there is none."""
        self._since = self.loop.time()
        if self.wire.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._refusal:
            self._say(self._refusal)

    def pause_writing(self) -> None:
        """Hold back: the client is behind."""
        super().pause_writing()
        if self.direct is not None:
            self.direct.pause()

    def resume_writing(self) -> None:
        """Go on."""
        self._taking.rest()
        super().resume_writing()
        if self.direct is not None:
            self.direct.resume()

    def shutdown(self) -> None:
        """Close after the last answer, or now if there is none under way."""
        if self.direct is None or self.pipeline:
            super().shutdown()
        else:
            self.direct.keep_alive = False

    def cut(self, error: BaseException) -> None:
        """End what the lane has under way."""
        if self.direct is not None:
            self.direct.fail(error)

    def expire(self, now: float) -> None:
        """Cut the client off if it lets the gateway wait for too long, and close what is not used."""
        wire = self.wire
        if wire.get_write_buffer_size() and self._takes_too_slowly(now):
            self._cut("response")
        elif wire.is_closing():
            return
        elif self._gives_too_slowly(now) or now - self._since > self._patience():
            self._lose_patience()

    def _lose_patience(self) -> None:
        if self._reading is not None:
            self._note_cut("body")
            self._refuse(too_slow())
        elif not self._between:
            self._cut("head")
        else:
            self.wire.close()

    def _takes_too_slowly(self, now: float) -> bool:
        if self._answering() and not self.flow.write_paused and not self.wire.is_closing():
            self._taking.rest()  # more is being written, and nobody waits for the client
            return False
        return self._taking.due(now) and self._taking.lags(now, bytes_taken(self.wire))

    def _gives_too_slowly(self, now: float) -> bool:
        if self._awaits_body():
            return self._giving.lags(now, self._came)
        self._giving.rest()
        return False

    def _awaits_body(self) -> bool:
        """Tell whether it is the client that a body waits for; one that was answered already is read past."""
        cycle = self._reading
        return cycle is not None and not cycle.waiting_for_100_continue and not self.flow.read_paused

    def _cut(self, reason: str) -> None:
        self._note_cut(reason)
        cut_off(self.wire)

    def _note_cut(self, reason: str) -> None:
        if self._place is not None:
            self._place.admission.cut(reason)

    def _patience(self) -> float:
        if self._reading is not None:
            return self._limits.body_timeout if self._awaits_body() else math.inf
        if self._answering():
            return math.inf
        if self._in_head:
            return self._limits.head_timeout
        return self.timeout_keep_alive if self._between else math.inf

    def _check_stretch(self) -> None:
        if self._stretch > self._limits.head_size:
            raise too_large()
        if self._in_head:
            self._check_head()

    def _check_head(self) -> None:
        if len(self.headers) > self._limits.fields:
            raise too_large()
        if len(self.url) + sum(len(name) + len(text) + 4 for name, text in self.headers) > self._limits.head_size:
            raise too_large()

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
            raise malformed("there are no tunnels here, send the request without CONNECT")
        if self._should_upgrade() and (self._answering() or not self.url.isascii()):
            raise malformed("a websocket begins with an ASCII target, and after the last answer has ended")

    def _decline_upgrade(self) -> None:
        """Parse the head again without the offer, so that a body is read as what it is."""
        version, method = self.parser.get_http_version().encode(), self.parser.get_method()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        lines += [b"%b: %b" % field for field in self.headers if field[0] != b"upgrade"]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    def _open_websocket(self, early: memoryview) -> None:
        """Hand the bare transport on: a websocket's messages are one write each."""
        if early:
            raise malformed("a websocket client waits for the answer to its handshake")
        self.connections.discard(self)
        websocket = WebsocketIntake(
            self._limits.min_rate, self._limits.write_timeout, self._place,
            config=self.config, server_state=self.server_state, app_state=self.app_state,
        )  # fmt: skip
        fields = Headers([(name.decode("ascii"), text.decode("latin-1")) for name, text in self.headers])
        request = Request(self.url.partition(b"#")[0].decode("ascii"), fields)
        websocket.open(self.wire, self.client, request)

    def _answering(self) -> bool:
        if self.direct is not None:
            return True
        cycle = cast("Cycle | None", self.cycle)  # there is none before the first request
        return cycle is not None and not cycle.response_complete

    def _refuse(self, error: UnreadableRequestError) -> None:
        """Answer with `error` when its turn comes; read no more."""
        _log.info("a request cannot be read: %s", error.detail)
        self._refusal = error
        body, self._reading = self._reading, None
        if self._answering():
            if body is not None:
                self._refuse_body(error)
        elif body is None:
            self._say(error)
        else:  # it was answered already
            self.wire.close()

    def _refuse_body(self, error: UnreadableRequestError) -> None:
        if self.pipeline:
            self.pipeline.popleft()  # it is the last one's body
        elif self.cycle.response_started:
            self.transport.close()
        else:
            self._say(error)

    def _say(self, error: UnreadableRequestError) -> None:
        headers, body = self._answer({"type": "http", "client": self.client}, error.status, error.rule, error.detail)
        self.transport.write(error.encode(headers, body))
        self.transport.close()
