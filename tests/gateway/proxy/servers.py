"""Servers and clients for the tests of the proxy: raw ones that say exactly what they are told, and uvicorn."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from aupgate.proxy.app import ReverseProxy
from aupgate.proxy.connection import Timeouts
from aupgate.proxy.listener import App, Listener, run
from aupgate.proxy.upstream import Upstreams

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

GUARD = 30.0
"""Seconds until a test that hangs fails. Nothing passes because of it."""

HOST = [(b"host", b"example.test")]


class RawServer:
    """A server on a unix socket; `handler` is called for every connection, and each is closed in the end."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self.url = f"unix:{path}"
        self.connections = 0
        self.lost = asyncio.Event()
        self._handler = handler
        self._path = path
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, str(self._path))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._run(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.lost.set()
        finally:
            writer.close()


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Return one head; raises `IncompleteReadError` at the end of the connection."""
    return await reader.readuntil(b"\r\n\r\n")


Loop = Callable[[], asyncio.AbstractEventLoop]


def run_on(loop: Loop, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` on a loop of this kind, within the guard."""

    async def guarded() -> None:
        async with asyncio.timeout(GUARD):
            await work

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(guarded())


def saying(answer: bytes, *, close: bool = False, byte_by_byte: bool = False) -> Handler:
    """Return a handler that answers every request with `answer`."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            for piece in [answer[at : at + 1] for at in range(len(answer))] if byte_by_byte else [answer]:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if close:
                return

    return handler


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; the guard fails a test where it never does."""
    async with asyncio.timeout(GUARD):
        while not condition():  # noqa: ASYNC110 - it may be about another process
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(app: App, listen: str = "127.0.0.1:0", *, grace: float = 0.0, **settings: Any) -> AsyncIterator[str]:
    """Serve `app` by uvicorn in this loop; yields the address."""
    stop = asyncio.Event()
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    listener = Listener(app, listen, on_started=started.set_result, **settings)
    task = asyncio.create_task(run([listener], shutdown_grace=grace, stop=stop))
    try:
        task.add_done_callback(lambda _: started.done() or started.cancel())
        await asyncio.wait([started])
        if started.cancelled():
            await task  # raises why it did not start
        yield started.result()
    finally:
        stop.set()
        await task


@asynccontextmanager
async def gateway(upstream: str, *, timeouts: Timeouts | None = None, **options: Any) -> AsyncIterator[str]:
    """Serve a reverse proxy before `upstream`; yields its address."""
    upstreams = Upstreams.from_urls([upstream], timeouts)
    async with serving(ReverseProxy(upstreams, **options)) as address:
        yield address


def with_lifespan(app: App) -> App:
    """Return `app` with a lifespan, which uvicorn asks for."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})

    return wrapped


async def open_to(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to `host:port` or `unix:/path`."""
    if address.startswith("unix:"):
        return await asyncio.open_unix_connection(address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def ask(address: str, request: bytes) -> bytes:
    """Send `request`, which must ask to close, and return everything that comes back."""
    async with asyncio.timeout(GUARD):
        reader, writer = await open_to(address)
        writer.write(request)
        try:
            return await reader.read()
        finally:
            writer.close()


def get(path: str, *fields: str, method: str = "GET") -> bytes:
    """Return a request that asks to close."""
    return "\r\n".join(
        [f"{method} {path} HTTP/1.1", "host: example.test", "connection: close", *fields, "", ""]
    ).encode()


def parts(answer: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """Return status, fields and body of `answer`, chunks put together."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    fields = {name.lower(): text for name, _, text in (line.partition(b": ") for line in lines)}
    if fields.get(b"transfer-encoding") == b"chunked":
        body = unchunked(body)
    return int(first.split(b" ")[1]), fields, body


def unchunked(body: bytes) -> bytes:
    """Return the content of a complete chunked body."""
    content = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return content
        content += body[:length]
        body = body[length + 2 :]
