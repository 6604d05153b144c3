"""Applications wrapped in the middleware, called as a server calls them."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from aupgate.build import REGISTRY, build, read
from aupgate.enforcement import Enforcement
from aupgate.engine import Engine
from aupgate.gateway import Gateway
from aupgate.middleware import AcceptableUse
from aupgate.packs import ClauseIndex

QUIET = {"log": {"audit": "off", "access": "off"}}


def a_gateway(*policies: Any, **config: Any) -> Gateway:
    """Return a gateway that enforces `policies` and nothing else; an `Enforcement` is taken as it is."""
    off = {name: {"mode": "off"} for name in REGISTRY}
    gateway = build(read({**QUIET, "policies": off, **config}, environ={}))
    enforcements = [each if isinstance(each, Enforcement) else Enforcement(each) for each in policies]
    gateway.engine = Engine(enforcements, ClauseIndex([]), [gateway.metrics])
    return gateway


_FRAMING = {"POST": [(b"transfer-encoding", b"chunked")]}
"""Without it, HTTP/1.1 requests have no body."""


def http_scope(**given: Any) -> dict[str, Any]:
    """Return an HTTP scope as uvicorn makes it, with the parts in `given`."""
    path = given.get("path", "/")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"app.example"), *_FRAMING.get(given.get("method", "GET"), ())],
        "client": ("198.51.100.7", 40000),
        "server": ("127.0.0.1", 8000),
        "state": {},
        **given,
    }


def websocket_scope(**given: Any) -> dict[str, Any]:
    scope = http_scope(**{"type": "websocket", "scheme": "ws", "subprotocols": [], **given})
    del scope["method"]
    return scope


def body_messages(*chunks: bytes) -> list[dict[str, Any]]:
    last = len(chunks) - 1
    return [{"type": "http.request", "body": chunk, "more_body": index < last} for index, chunk in enumerate(chunks)]


DISCONNECT: dict[str, Any] = {"type": "http.disconnect"}


class Server:
    """Plays the server: hands out messages, then waits as a quiet client does, and collects what is sent."""

    def __init__(self, messages: Iterable[dict[str, Any]] = ()) -> None:
        self.messages = list(messages)
        self.received = 0
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self.messages:
            self.received += 1
            return self.messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


class App:
    """An application that reads the whole body, remembers what it saw, and answers 200."""

    def __init__(self, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.headers = list(headers)
        self.scopes: list[Any] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"hello"})


async def call(
    app: Any, gateway: Gateway, scope: Any = None, messages: Iterable[dict[str, Any]] | None = None, **options: Any
) -> Server:
    """Call `app` behind `gateway` once, and return the server that watched."""
    server = Server(body_messages(b"") if messages is None else messages)
    await AcceptableUse(app, gateway, **options)(scope or http_scope(), server.receive, server.send)
    return server
