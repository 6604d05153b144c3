"""Applications of real frameworks behind a real uvicorn, mounted as docs/asgi.md says."""

import asyncio
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Self

import httpx
import uvicorn
from starlette.middleware.cors import CORSMiddleware

from aupgate.middleware import AcceptableUse

DOCUMENT = Path(__file__).parents[2] / "docs" / "asgi.md"

BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language": "en-GB,en;q=0.5",
    "accept-encoding": "gzip, deflate",
}

GUARD = 20.0
"""Seconds until a test that hangs fails. Nothing passes because of it."""


# -- the documentation -------------------------------------------------------------------------------------------------


@cache
def _text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def documented_mount(row: str) -> str:
    """Return the code that the table of frameworks gives for `row`."""
    found = re.search(rf"^\| {re.escape(row)} \|.*?`([^`]*AcceptableUse[^`]*)`", _text(), re.MULTILINE)
    assert found is not None, f"docs/asgi.md has no row {row!r}"
    return found[1]


def documented_blocks(heading: str) -> list[str]:
    """Return the Python blocks of the section with `heading`."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", _text(), re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/asgi.md has no section {heading!r}"
    return re.findall(r"^```python\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)


def run(code: str, app: Any, config: str | Path | None = None) -> Any:
    """Run documented code on `app` and return the application it makes; None for `config` leaves the argument out."""
    code = re.sub(r',( config=)? ?"config\.toml"', "" if config is None else rf",\1{str(config)!r}", code)
    space = {"app": app, "get_asgi_application": lambda: app, "SECRET": "for these tests only"}
    space |= {"AcceptableUse": AcceptableUse, "CORSMiddleware": CORSMiddleware}
    exec(code, space)
    return space.get("application", space["app"])


# -- what applications see ---------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What reached the application. It runs in the server's thread; tests read when they have their answer."""

    events: list[str] = field(default_factory=list)
    """Starts and ends of the lifespan."""
    paths: list[str] = field(default_factory=list)
    received: int = 0
    """Bytes of bodies."""
    worked: threading.Event = field(default_factory=threading.Event)
    """Set by the background task."""
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """Lets the stream go on."""
    ended: threading.Event = field(default_factory=threading.Event)
    """Set when the stream ends, whether it was read to its end or not."""

    async def stream(self) -> AsyncIterator[bytes]:
        """Make the body of /stream."""
        self.released.clear()
        try:
            yield b"first"
            await self.released.wait()
            yield b"last"
        finally:
            self.ended.set()


class Probe:
    """The application's innermost middleware: it counts what comes through, and handlers find `Seen` with it."""

    def __init__(self, app: Any, seen: Seen) -> None:
        self._app = app
        self._seen = seen

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        self._seen.paths.append(scope["path"])

        async def counting() -> Any:
            message = await receive()
            self._seen.received += len(message.get("body") or message.get("bytes") or b"")
            return message

        await self._app({**scope, "seen": self._seen}, counting, send)


def seen_with(request: Any) -> Seen:
    """Return what `Probe` left for handlers."""
    found: Seen = request.scope["seen"]
    return found


def seen_by_application(request: Any) -> dict[str, Any]:
    """Return what a handler reads of its request, as every framework shows it: the answer of GET /seen."""
    decided = request.scope["aupgate"]
    return {
        "headers": {name.lower(): text for name, text in request.headers.items()},
        "address": decided.client.address,
        "request_id": decided.request_id,
        "account": decided.account and decided.account.id,
        "findings": sorted(judgement.finding.rule for judgement in decided.findings),
        "path": decided.request.path,
    }


# -- servers -----------------------------------------------------------------------------------------------------------


@dataclass
class Site:
    """An application that is being served."""

    seen: Seen
    port: int
    client: httpx.Client
    end: Callable[[], None]
    """Tells the server to end, and does not wait for it."""

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Ask as a browser does."""
        return self.client.get(path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.client.post(path, **options)

    def raw(self, request: bytes) -> bytes:
        """Send `request` on a connection of its own and return what comes back until the first blank line."""
        with socket.create_connection(("127.0.0.1", self.port), GUARD) as connection:
            connection.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer and (received := connection.recv(65536)):
                answer += received
            return answer


@contextmanager
def serving(app: Any, seen: Seen, **settings: Any) -> Iterator[Site]:
    """Serve `app` by uvicorn in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # The address takes connections from here on; they wait until the application has started.
        port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, proxy_headers=False, **settings))
        end = partial(setattr, server, "should_exit", True)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=BROWSER, timeout=GUARD) as client:
                yield Site(seen, port, client, end)
        finally:
            end()
            thread.join(GUARD)
            assert not thread.is_alive(), "the server does not end"


@dataclass(frozen=True)
class Framework:
    """A framework and the application built with it that `behaviours` describes."""

    row: str
    """Its row in docs/asgi.md."""
    build: Callable[[Seen], Any]
    """Makes the application, with `Probe` innermost and no aupgate."""
    cors: int = 1
    """Which block of the section on CORS is for it."""
    account: int | None = None
    """Which block of the section on accounts is for it."""
    openapi: str = "/openapi.json"
    """Where it serves its description, which names `/` at least."""

    def code(self, how: str) -> str:
        """Return the documented code to mount it: "mount", "cors" or "account"."""
        if how == "cors":
            return documented_blocks("CORS")[self.cors]
        if how == "account":
            assert self.account is not None
            return documented_blocks("Who the account is")[self.account]
        return documented_mount(self.row)


class Sites:
    """The sites of one framework, each started when it is first asked for."""

    def __init__(self, framework: Framework, directory: Path) -> None:
        self.framework = framework
        self._directory = directory
        self._running: dict[tuple[Any, ...], Site] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        for site in self._running.values():
            site.end()
        self._stack.close()

    def site(self, config: str | None = None, how: str = "mount", **settings: Any) -> Site:
        """Return the site with this configuration (None: none at all) and these settings of uvicorn."""
        key = (config, how, *sorted(settings.items()))
        if key not in self._running:
            self._running[key] = self._stack.enter_context(self.started(config, how, **settings))
        return self._running[key]

    @contextmanager
    def started(self, config: str | None = None, how: str = "mount", **settings: Any) -> Iterator[Site]:
        """Start a site of one's own, and end it."""
        seen = Seen()
        with serving(self.mounted(seen, config, how), seen, **settings) as site:
            yield site

    def mounted(self, seen: Seen, config: str | None = None, how: str = "mount") -> Any:
        """Return the application, mounted as documented."""
        return run(self.framework.code(how), self.framework.build(seen), config and self._write(config))

    def _write(self, config: str) -> Path:
        path = self._directory / f"config-{len(list(self._directory.iterdir()))}.toml"
        path.write_text(config, encoding="utf-8")
        return path
