"""A client's websocket on the listener's side: uvicorn's, with the bounds that it lacks.

A client can make a message of any number of fragments that are empty, send thousands of messages in one packet, ask for
pongs that it does not read, and read nothing at all. Here each of these has a bound.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.http11 import Request
from websockets.protocol import Protocol

from aupgate.proxy.admission import Place
from aupgate.proxy.pace import Pace, bytes_taken, cut_off

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent
    from websockets.frames import Frame

MAX_FRAGMENTS: Final = 4096
"""Fragments of one message."""
_SLICE: Final = 8 * 1024
"""Bytes that are parsed before the application has to take what is in them."""


class WebsocketIntake(WebSocketsSansIOProtocol):
    """One websocket. A client must take what is written, `rate` bytes a second in each `window` of seconds."""

    def __init__(self, rate: float, window: float, place: Place | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._place = place
        self._pace = Pace(rate, window)
        self._unread = b""
        """What came with a message that the application has yet to take; no more than the transport reads at once."""
        self._pong = b""
        """The answer to the last ping, for when the client reads again (RFC 6455 section 5.5.3 allows to skip some)."""

    def open(self, transport: asyncio.Transport, client: tuple[str, int] | None, request: Request) -> None:
        """Take `transport` over, on which `request` asks for a websocket.

        It was parsed already: parsed by the websocket's own rules, it would have other bounds.
        """
        self.connection_made(transport)
        self.client = client
        self.conn.parser = Protocol.parse(self.conn)
        next(self.conn.parser)
        self.handle_connect(request)
        transport.set_protocol(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place."""
        self._unread = self._pong = b""
        try:
            super().connection_lost(exc)
        finally:
            if self._place is not None:
                self._place.leave()

    def data_received(self, data: bytes) -> None:
        """Parse as much as the application can take."""
        if self._unread or len(data) > _SLICE:
            self._unread += data
            self._parse_on()
        else:
            super().data_received(data)

    def _parse_on(self) -> None:
        while self._unread and not self.read_paused and not self.transport.is_closing():
            piece, self._unread = self._unread[:_SLICE], self._unread[_SLICE:]
            super().data_received(piece)

    async def receive(self) -> "ASGIReceiveEvent":
        """Return what came next."""
        event = await super().receive()
        if self._unread:
            self._parse_on()
        return event

    def handle_cont(self, event: "Frame") -> None:
        """Take a fragment."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, f"a message has at most {MAX_FRAGMENTS} fragments")
            self.handle_parser_exception()
        else:
            super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer now, or when the client reads again."""
        if self.writable.is_set():
            super().handle_ping()
        elif answers := self.conn.data_to_send():  # to all pings that were parsed together
            self._pong = answers[-1]

    def resume_writing(self) -> None:
        """Go on."""
        self._pace.rest()
        super().resume_writing()
        if self._pong and not self.transport.is_closing():
            self.transport.write(self._pong)
        self._pong = b""

    def expire(self, now: float) -> None:
        """Cut the client off if it does not read."""
        transport = self.transport
        behind = transport.get_write_buffer_size() and (transport.is_closing() or not self.writable.is_set())
        if not behind:
            self._pace.rest()
        elif self._pace.due(now) and self._pace.lags(now, bytes_taken(transport)):
            if self._place is not None:
                self._place.admission.cut("response")
            cut_off(transport)
