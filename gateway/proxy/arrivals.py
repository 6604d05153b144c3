"""How connections arrive: by the event loop's own server, or accepted here where something comes before HTTP.

Before HTTP may come a preamble of the PROXY protocol, which tells the client's address, and the handshake of TLS. Both
have to happen in time, and a connection has its place (`aupgate.proxy.admission`) while they do.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

from uvicorn.protocols.utils import get_remote_addr

from aupgate.proxy.admission import HANDSHAKE, PREAMBLE, UNTRUSTED, Admission, Place, Refusal
from aupgate.proxy.preamble import MAX_PREAMBLE, Preamble, PreambleError, read_preamble

Peer = tuple[str, int]

Receive = Callable[[Place, Peer | None], asyncio.Protocol]
"""Makes the protocol for a connection that may come in; the address is the one a preamble told."""

_AT_ONCE: Final = 64
"""Connections that are accepted before others have their turn."""
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_REST: Final = 0.5
"""Seconds for which nothing is accepted when there are no descriptors left for it."""

_GONE: Final = (ConnectionResetError, EOFError, ssl.SSLEOFError)
"""What is raised for a client that breaks off the handshake itself, as a check of its port does."""

_log = logging.getLogger("aupgate.proxy")


class Doorstep(asyncio.Protocol):
    """The first protocol of every connection that the event loop's own server accepts; one for all of them."""

    def __init__(self, admission: Admission, receive: Receive) -> None:
        self._admission = admission
        self._receive = receive

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the connection in, or turn it away before anything is made for it."""
        wire = cast("asyncio.Transport", transport)
        peer = get_remote_addr(wire)
        place = self._admission.enter(peer[0] if peer else None)
        if isinstance(place, Refusal):
            wire.write(place.answer)
            wire.close()
            return
        protocol = self._receive(place, None)
        wire.set_protocol(protocol)
        protocol.connection_made(wire)


@dataclass(frozen=True, slots=True)
class Manner:
    """What comes before HTTP."""

    tls: ssl.SSLContext | None
    proxied: bool
    """True: only trusted proxies connect, and each tells by the PROXY protocol whom it does so for."""
    patience: float
    """Seconds for each of the two."""


class Acceptor:
    """Accepts connections of the socket `listening`, which is bound, and closes none of its own before they end."""

    def __init__(self, listening: socket.socket, admission: Admission, receive: Receive, manner: Manner) -> None:
        self._listening = listening
        self._admission = admission
        self._receive = receive
        self._manner = manner
        self._loop = asyncio.get_running_loop()
        self._greetings: set[asyncio.Task[None]] = set()
        self._rest: asyncio.TimerHandle | None = None

    def start(self, backlog: int) -> None:
        """Begin to listen."""
        self._listening.setblocking(False)
        self._listening.listen(backlog)
        self._resume()

    def close(self) -> None:
        """Accept no more, and end what has not come as far as HTTP."""
        self._loop.remove_reader(self._listening)
        if self._rest is not None:
            self._rest.cancel()
        for greeting in self._greetings:
            greeting.cancel()

    def _resume(self) -> None:
        self._rest = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._cannot_accept(error)
                return
            self._meet(connection, address)

    def _cannot_accept(self, error: OSError) -> None:
        """Try again later: the connection stays readable, and would keep the loop busy."""
        if error.errno not in _EXHAUSTED:
            raise error
        _log.error("no connection can be accepted: %s", error)
        self._loop.remove_reader(self._listening)
        self._rest = self._loop.call_later(_REST, self._resume)

    def _meet(self, connection: socket.socket, address: Any) -> None:
        peer = str(address[0]) if isinstance(address, tuple) else None
        place = self._judge(peer)
        if isinstance(place, Refusal):
            self._turn_away(connection, place)
            return
        connection.setblocking(False)
        greeting = self._loop.create_task(self._greet(connection, place))
        self._greetings.add(greeting)
        greeting.add_done_callback(self._greetings.discard)

    def _judge(self, peer: str | None) -> Place | Refusal:
        if self._manner.proxied and not self._admission.trusts(peer):
            return self._admission.refuse(UNTRUSTED)
        return self._admission.enter(peer)

    def _turn_away(self, connection: socket.socket, refusal: Refusal) -> None:
        with connection:
            if refusal.answer and self._manner.tls is None:
                try:
                    connection.send(refusal.answer, socket.MSG_DONTWAIT)
                except OSError as error:
                    _log.debug("a connection that was turned away is gone: %s", error)

    async def _greet(self, connection: socket.socket, place: Place) -> None:
        """Bring a connection as far as HTTP."""
        try:
            source = await self._introduce(connection, place) if self._manner.proxied else None
        except BaseException as error:
            connection.close()
            place.leave()
            if not isinstance(error, _Over):
                raise
            return
        try:
            await self._hand_over(connection, place, source)
        except (OSError, EOFError) as error:  # the loop closes the connection
            _log.debug("a client did not come as far as HTTP: %s", error)
            if not isinstance(error, _GONE):
                self._admission.refuse(HANDSHAKE)
            place.leave()
        except BaseException:
            place.leave()
            raise

    async def _hand_over(self, connection: socket.socket, place: Place, source: Peer | None) -> None:
        make = partial(self._receive, place, source)
        tls = self._manner.tls
        patience = None if tls is None else self._manner.patience
        await self._loop.connect_accepted_socket(make, connection, ssl=tls, ssl_handshake_timeout=patience)

    async def _introduce(self, connection: socket.socket, place: Place) -> Peer | None:
        """Return whom the proxy connects for; None: for itself. Raises `_Over` when it is not to go on."""
        try:
            async with asyncio.timeout(self._manner.patience):
                source = (await self._read_preamble(connection)).source
        except (PreambleError, TimeoutError, OSError) as error:
            _log.debug("no PROXY preamble: %s", error)
            self._admission.refuse(PREAMBLE)
            raise _Over from None
        if source is not None and (refusal := place.pass_to(source[0])):
            self._turn_away(connection, refusal)
            raise _Over
        return source

    async def _read_preamble(self, connection: socket.socket) -> Preamble:
        """Read the preamble and not one byte of what follows, which is TLS or HTTP."""
        read = b""
        while True:
            await self._readable(connection)
            try:
                seen = connection.recv(MAX_PREAMBLE, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                continue
            if not seen:
                if not read:  # a check of the port
                    raise _Over
                raise PreambleError(f"{read!r} is not all of a preamble, and the peer closed the connection after it")
            preamble = read_preamble(read + seen)
            # As long as it is not complete, all that came is part of it.
            read += connection.recv(len(seen) if preamble is None else preamble.size - len(read))
            if preamble is not None:
                return preamble

    async def _readable(self, connection: socket.socket) -> None:
        ready = self._loop.create_future()
        self._loop.add_reader(connection, _set, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(connection)


class _Over(Exception):  # noqa: N818 - it says what is so, and is no fault
    """The connection is not to go on, and that was counted."""


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
