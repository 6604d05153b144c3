"""Nobody lies by a header field: through the middleware in several servers, and through the proxy in both its ways.

Each name goes over a raw socket in a request of its own. A server may refuse a malformed name; what it passes on must
not reach the application.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from hypercorn.asyncio import serve
from hypercorn.config import Config

from aupgate.middleware import AcceptableUse
from tests.gateway.proxy.both_ways import site
from tests.gateway.proxy.servers import GUARD, RawServer, Receive, Scope, Send, ask, parts, read_head, with_lifespan
from tests.policies.spoofed import LEGITIMATE, SPOOFED

FORGED = b"forged-by-the-client"
CONFIG = {
    "log": {"audit": "off", "access": "off"},
    "client": {"trusted_proxies": []},
    "policies": {
        "protocol": {"mode": "off"},  # it would refuse malformed names before anybody could fold them
        "uploads": {"mode": "off"},
        "headers": {"add": {"x-gateway": "aupgate"}},
    },
}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the header fields that arrived."""
    body = json.dumps([[name.decode("latin-1"), text.decode("latin-1")] for name, text in scope["headers"]]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def echo_raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as `echo` does, as a server that understands nothing of HTTP."""
    while True:
        lines = (await read_head(reader)).decode("latin-1").split("\r\n")[1:-2]
        body = json.dumps([line.split(": ", 1) for line in lines]).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


@asynccontextmanager
async def through_uvicorn(tmp_path: Path, http: Any) -> AsyncIterator[str]:
    path = tmp_path / "s"
    app = with_lifespan(AcceptableUse(echo, CONFIG))
    server = uvicorn.Server(
        uvicorn.Config(app, uds=str(path), http=http, log_config=None, proxy_headers=False, timeout_graceful_shutdown=1)
    )
    task = asyncio.create_task(server._serve())
    try:
        async with asyncio.timeout(GUARD):
            while not server.started:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.005)
        yield f"unix:{path}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def through_hypercorn(tmp_path: Path) -> AsyncIterator[str]:
    path = tmp_path / "s"
    config = Config()
    config.bind, config.errorlog, config.graceful_timeout = [f"unix:{path}"], None, 1
    ended = asyncio.Event()
    task = asyncio.create_task(
        serve(with_lifespan(AcceptableUse(echo, CONFIG)), config, shutdown_trigger=ended.wait)  # type: ignore[arg-type]
    )
    try:
        async with asyncio.timeout(GUARD):
            while not path.exists():  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.005)
        yield f"unix:{path}"
    finally:
        ended.set()
        await task


@asynccontextmanager
async def through_proxy(tmp_path: Path, direct: bool) -> AsyncIterator[str]:
    async with RawServer(tmp_path / "up", echo_raw) as up, site(up.url, config=CONFIG, direct=direct) as gateway:
        yield gateway.address


WAYS: dict[str, Callable[[Path], AbstractAsyncContextManager[str]]] = {
    "uvicorn with httptools": lambda path: through_uvicorn(path, "httptools"),
    "uvicorn with h11": lambda path: through_uvicorn(path, "h11"),
    "hypercorn": through_hypercorn,
    "proxy, direct": lambda path: through_proxy(path, direct=True),
    "proxy, asgi": lambda path: through_proxy(path, direct=False),
}
EVERY_WAY = pytest.mark.parametrize("way", WAYS)


async def sent(address: str, *fields: bytes) -> list[tuple[str, str]] | None:
    """Return the fields that arrived at the application; None when the request was refused."""
    lines = [b"GET / HTTP/1.1", b"host: app.example", *fields, b"connection: close", b"", b""]
    status, _, body = parts(await ask(address, b"\r\n".join(lines)))
    return [(name, text) for name, text in json.loads(body)] if status == 200 else None


@EVERY_WAY
async def test_no_spelling_of_a_spoofed_field_reaches_the_application(tmp_path: Path, way: str) -> None:
    refused = 0
    async with WAYS[way](tmp_path) as address:
        for name in SPOOFED:
            arrived = await sent(address, name + b": " + FORGED)
            refused += arrived is None
            assert FORGED.decode() not in repr(arrived), name
    assert len(SPOOFED) - refused >= 60


@EVERY_WAY
async def test_a_legitimate_field_of_a_similar_name_arrives(tmp_path: Path, way: str) -> None:
    async with WAYS[way](tmp_path) as address:
        for name in LEGITIMATE:
            arrived = await sent(address, name + b": honest")
            assert arrived is not None, name
            assert (name.lower().decode(), "honest") in [(said.lower(), text) for said, text in arrived], name


@EVERY_WAY
@pytest.mark.parametrize(
    "spelling", [b"x-gateway", b"X_Gateway", b"X.Gateway", b"X--Gateway", b"-x-gateway-", b"HTTP-X-Gateway"]
)
async def test_a_field_of_the_operators_own_arrives_once_whatever_clients_send(
    tmp_path: Path, way: str, spelling: bytes
) -> None:
    async with WAYS[way](tmp_path) as address:
        arrived = await sent(address, spelling + b": " + FORGED, b"connection: x-gateway, x-request-id")
    assert arrived is not None
    assert FORGED.decode() not in repr(arrived)
    assert [text for name, text in arrived if name == "x-gateway"] == ["aupgate"]
    assert len([name for name, _ in arrived if name == "x-request-id"]) == 1


@EVERY_WAY
async def test_what_connection_names_ends_with_the_connection(tmp_path: Path, way: str) -> None:
    async with WAYS[way](tmp_path) as address:
        arrived = await sent(
            address, b"connection: x-mine, cookie", b"x-mine: " + FORGED, b"cookie: a=b", b"x-other: honest"
        )
    assert arrived is not None
    assert FORGED.decode() not in repr(arrived)
    assert {("cookie", "a=b"), ("x-other", "honest")} <= set(arrived)
    assert not [text for name, text in arrived if name == "connection" and "x-mine" in text]
