"""Runs ASGI applications on sockets until the process is told to stop.

SIGTERM and SIGINT stop the listening; what is under way may end within the grace, then it is cut, and `run` returns, so
that the process ends with code 0. Websockets are closed at once with 1012 (service restart), because they do not end by
themselves. A second signal cuts everything at once.
"""

import asyncio
import logging
import signal
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import uvicorn

from aupgate.errors import AupgateError, ListenError
from aupgate.proxy.admission import Admission, Place
from aupgate.proxy.arrivals import Acceptor, Doorstep, Manner, Peer
from aupgate.proxy.errors import UpstreamError
from aupgate.proxy.intake import Intake, IntakeLimits
from aupgate.proxy.lane import Lane
from aupgate.proxy.problem import OnError, problem
from aupgate.proxy.sockets import UnixFile, bind
from aupgate.proxy.websocket import MAX_MESSAGE
from aupgate.proxy.websocket_intake import WebsocketIntake

App = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]

_POLL: Final = 0.05
"""Seconds between two looks at what is still under way while stopping."""

_CUT: Final = 2.0
"""Seconds that cancelled exchanges have to clean up."""

_BACKLOG: Final = 2048
"""Connections that wait to be accepted."""

_AT_A_LOOK: Final = 64
"""Connections that are looked at before requests have their turn."""


class StartupError(AupgateError):
    """An application refused to start in its lifespan; it has logged why."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One application on one address."""

    app: App
    listen: str
    """`host:port`, `[address]:port` or `unix:/path`.

    Port 0 takes any free one. A unix socket's mode follows the umask.
    """
    tls: ssl.SSLContext | None = None
    on_started: Callable[[str], None] | None = None
    """Called once with the address that is listened on, as `listen` would name it, when all listeners are up."""
    outlives: bool = False
    """True: it goes on until the other listeners have drained, as one for health checks should."""
    idle: float = 60.0
    """Seconds for which a client's connection is kept without a request."""
    limits: IntakeLimits = IntakeLimits()  # noqa: RUF009 - a value
    on_unreadable: OnError = problem
    """Renders the answer to a request that cannot be read as HTTP."""
    max_message: int = MAX_MESSAGE
    """Bytes of a websocket message."""
    lane: Lane | None = None
    """Answers what does not need `app`."""
    admission: Admission = field(default_factory=Admission)
    """How many connections there may be, and of whom."""
    proxied: bool = False
    """True: each connection is a trusted proxy's, and begins with the PROXY protocol."""


async def serve(  # noqa: PLR0913 - one listener, said in one call
    app: App,
    listen: str,
    *,
    shutdown_grace: float,
    tls: ssl.SSLContext | None = None,
    on_started: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run `app` on `listen`. See `run`."""
    await run([Listener(app, listen, tls, on_started)], shutdown_grace=shutdown_grace, stop=stop)


async def run(listeners: Sequence[Listener], *, shutdown_grace: float, stop: asyncio.Event | None = None) -> None:
    """Run all `listeners` until SIGTERM, SIGINT, or `stop` is set; then let exchanges end for `shutdown_grace` seconds.

    Raises `ListenError` when an address cannot be had and `StartupError` when an application does not start; then
    nothing was served. Signals are only handled in the main thread.
    """
    order = _Stop(stop or asyncio.Event())
    sites = _bind_all(listeners)
    with _short_aborts(), order.on_signals():
        try:
            for site in sites:
                await site.start()
            for site in sites:
                site.announce()
            await order.stop.wait()
        finally:
            until = asyncio.get_running_loop().time() + shutdown_grace
            for outlives in (False, True):
                leaving = [site.end(until, order) for site in sites if site.listener.outlives is outlives]
                await asyncio.gather(*leaving)


class _Stop:
    """The order to stop, and to hurry."""

    def __init__(self, stop: asyncio.Event) -> None:
        self.stop = stop
        self.hurry = False

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handled = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
        for each in handled:
            loop.add_signal_handler(each, self._on_signal)
        try:
            yield
        finally:
            for each in handled:
                loop.remove_signal_handler(each)

    def _on_signal(self) -> None:
        self.hurry = self.stop.is_set()
        self.stop.set()


def _bind_all(listeners: Sequence[Listener]) -> list["_Site"]:
    sites: list[_Site] = []
    try:
        for listener in listeners:
            sites.append(_Site(listener))  # noqa: PERF401 - those before a failure are released
    except ListenError:
        for site in sites:
            site.release()
        raise
    return sites


class _Site:
    """A listener with its socket and its server."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self._socket = bind(listener.listen)
        self._file = UnixFile.of(listener.listen)
        self._server = uvicorn.Server(
            uvicorn.Config(
                listener.app,
                interface="asgi3",
                http="httptools",
                ws="websockets-sansio",
                ws_max_size=listener.max_message,
                ws_per_message_deflate=False,
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=max(1, round(listener.idle)),
            )
        )
        self._acceptor: Acceptor | asyncio.Server | None = None
        self._timer: asyncio.Handle | None = None

    async def start(self) -> None:
        """Start the application, then the server."""
        server, config = self._server, self._server.config
        config.load()
        server.lifespan = config.lifespan_class(config)
        try:
            await server.startup(sockets=[])
        except SystemExit:
            raise StartupError(
                f'the application on "{self.listener.listen}" did not start, see the log for why'
            ) from None
        await self._listen()
        self._look_at_clients(())

    async def _listen(self) -> None:
        listener, loop = self.listener, asyncio.get_running_loop()
        if listener.tls is None and not listener.proxied and not isinstance(loop, asyncio.SelectorEventLoop):
            # uvloop's: asyncio's own is no faster than ours, and tries thousands of times when no descriptors are left.
            doorstep = Doorstep(listener.admission, self._receive)
            self._acceptor = await loop.create_server(lambda: doorstep, sock=self._socket, backlog=_BACKLOG)
        else:
            manner = Manner(listener.tls, listener.proxied, listener.limits.head_timeout)
            acceptor = self._acceptor = Acceptor(self._socket, listener.admission, self._receive, manner)
            acceptor.start(_BACKLOG)

    def _receive(self, place: Place, peer: Peer | None) -> Intake:
        listener, server = self.listener, self._server
        return Intake(
            listener.limits, listener.on_unreadable, listener.lane, place, peer,
            config=server.config, server_state=server.server_state, app_state=server.lifespan.state,
        )  # fmt: skip

    def announce(self) -> None:
        """Tell the address."""
        if self.listener.on_started is not None:
            self.listener.on_started(self._address())

    async def end(self, until: float, order: _Stop) -> None:
        """Stop listening, wait for what is under way, cut the rest; stop the application and free the address."""
        try:
            if self._server.started:
                await self._drain(until, order)
                await self._cut()
                await self._server.lifespan.shutdown()
        finally:
            self.release()

    def release(self) -> None:
        """Free the address."""
        if self._timer is not None:
            self._timer.cancel()
        if self._file is not None:
            self._file.remove()
        self._socket.close()

    async def _drain(self, until: float, order: _Stop) -> None:
        if self._file is not None:  # first, so that a successor may take its place while this process drains
            self._file.remove()
        if self._acceptor is not None:
            self._acceptor.close()
        told: set[object] = set()
        connections = self._server.server_state.connections

        def enough() -> bool:
            # Again and again, because one may have been accepted just before, or have become a websocket.
            for connection in connections - told:
                connection.shutdown()
            told.update(connections)
            return order.hurry or asyncio.get_running_loop().time() >= until

        await self._until_quiet(enough)

    async def _cut(self) -> None:
        state = self._server.server_state
        limit = asyncio.get_running_loop().time() + _CUT
        why = "the shutdown grace is over"
        for task in tuple(state.tasks):
            task.cancel(why)
        for connection in tuple(state.connections):
            if isinstance(connection, Intake):
                connection.cut(asyncio.CancelledError(why))
        if state.tasks:
            await asyncio.wait(tuple(state.tasks), timeout=_CUT)
        for connection in tuple(state.connections):
            connection.transport.abort()
        await self._until_quiet(lambda: asyncio.get_running_loop().time() >= limit)

    async def _until_quiet(self, enough: Callable[[], bool]) -> None:
        """Wait until no connection and no exchange is left, or it is `enough`. uvicorn tells nobody, so this looks."""
        state = self._server.server_state
        while not enough() and (state.connections or state.tasks):  # noqa: ASYNC110 - see above
            await asyncio.sleep(_POLL)

    def _look_at_clients(self, connections: Sequence[object]) -> None:
        """Look whether the `connections` keep their time, some in each turn of the loop; then, later, at all again."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in connections[:_AT_A_LOOK]:
            if isinstance(connection, Intake | WebsocketIntake):
                connection.expire(now)
        if left := connections[_AT_A_LOOK:]:
            self._timer = loop.call_soon(self._look_at_clients, left)
        else:
            self.listener.admission.report(now)
            limits = self.listener.limits
            tick = min(1.0, min(limits.head_timeout, limits.body_timeout, limits.write_timeout) / 4)
            self._timer = loop.call_later(tick, self._look_at_all)

    def _look_at_all(self) -> None:
        self._look_at_clients(tuple(self._server.server_state.connections))

    def _address(self) -> str:
        if self.listener.listen.startswith("unix:"):
            return self.listener.listen
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _ShortAborts(logging.Filter):
    """Makes one line of the traceback that uvicorn logs for a response cut off, which the upstream or the grace did."""

    def filter(self, record: logging.LogRecord) -> bool:
        # uvicorn says this of every websocket that is refused with a response, which is a completed handshake.
        if record.msg == "ASGI callable returned without completing handshake.":
            return False
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, UpstreamError | asyncio.CancelledError):
            record.msg, record.args, record.exc_info = "response cut off: %s", (error,), None
        return True


@contextmanager
def _short_aborts() -> Iterator[None]:
    logger, short = logging.getLogger("uvicorn.error"), _ShortAborts()
    logger.addFilter(short)
    try:
        yield
    finally:
        logger.removeFilter(short)
