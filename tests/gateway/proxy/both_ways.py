"""The gateway with its reverse proxy, in which requests go through the direct lane or, for comparison, never do."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aupgate.gateway import Gateway
from aupgate.middleware import AcceptableUse
from aupgate.model import Header
from aupgate.proxy.app import ReverseProxy
from aupgate.proxy.connection import Timeouts
from aupgate.proxy.direct import ClientLeg
from aupgate.proxy.lane import Lane
from aupgate.proxy.upstream import Upstreams
from tests.gateway.proxy.servers import GUARD, RawServer, ask, open_to, parts, read_head, serving

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN = b"GET / HTTP/1.1\r\nhost: example.test\r\n\r\n"
BOTH = pytest.mark.parametrize("direct", [True, False], ids=["direct", "asgi"])

OFF: Mapping[str, Any] = {"gateway": {"mode": "off"}, "client": {"trusted_proxies": []}}

STRICT: Mapping[str, Any] = {
    "policies": {
        "interfaces": {"mode": "enforce", "deny": [{"path": "/internal/{rest:path}"}]},
        "rate_limits": {"mode": "enforce", "limits": [{"name": "few", "rate": "3/day", "key": ["client"]}]},
    }
}

_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DATE = re.compile(rb"\r\ndate: [^\r]*", re.IGNORECASE)
_WAIT = re.compile(rb"(;t=|retry-after: )\d+", re.IGNORECASE)


@dataclass
class Site:
    """A running gateway. `taken` counts the requests that the lane took."""

    address: str
    gateway: Gateway
    proxy: ReverseProxy
    lane: "Counted | None" = None

    @property
    def taken(self) -> int:
        return self.lane.taken if self.lane is not None else 0

    def metric(self, line: str) -> float:
        """Return the value of a metric, named with its labels."""
        found = re.search(rf"^{re.escape(line)} (\S+)$", self.gateway.metrics.render().decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0


class Counted(Lane):
    """A lane that counts."""

    taken = 0

    def take(self, leg: ClientLeg, method: bytes, target: bytes, headers: list[Header], *, keep_alive: bool) -> bool:
        taken = super().take(leg, method, target, headers, keep_alive=keep_alive)
        self.taken += taken
        return taken


@asynccontextmanager
async def site(
    *upstreams: str,
    config: Mapping[str, Any] = OFF,
    direct: bool = True,
    listen: str = "127.0.0.1:0",
    timeouts: Timeouts | None = None,
    grace: float = 0.0,
    options: Mapping[str, Any] = {},
    **settings: Any,
) -> AsyncIterator[Site]:
    """Serve the gateway before `upstreams`."""
    legs = Upstreams.from_urls(upstreams, timeouts)
    proxy = ReverseProxy(legs, **options)
    app = AcceptableUse(proxy, config)
    lane: Counted | None = None
    if direct:
        made = proxy.lane(app.gateway, app.preparation.waiting)
        way = made.way
        lane = Counted(way.gateway, way.upstreams, way.forwarding, way.on_error, app.preparation.waiting)
    async with serving(app, listen, grace=grace, lane=lane, **settings) as address:
        yield Site(address, app.gateway, proxy, lane)


@dataclass
class Recorder:
    """An upstream that keeps the heads it gets, and answers each with `answer`."""

    answer: bytes
    close: bool = False
    byte_by_byte: bool = False
    heads: list[bytes] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            self.heads.append(await read_head(reader))
            step = 1 if self.byte_by_byte else max(1, len(self.answer))
            for at in range(0, len(self.answer), step):
                writer.write(self.answer[at : at + step])
                await writer.drain()
                await asyncio.sleep(0)
            if self.close:
                return


def without_chance(answer: bytes) -> bytes:
    """Return `answer` without what differs from request to request: ids, dates and the time until a limit is whole."""
    return _WAIT.sub(rb"\g<1>0", _DATE.sub(b"\r\ndate: now", _ID.sub(b"an-id", answer)))


async def asked(tmp_path: Path, direct: bool, request: bytes, **options: Any) -> tuple[list[bytes], bytes, int]:
    """Return the heads that the upstream got, what the client got, and how many requests the lane took."""
    answer, close, config = options.get("answer", HELLO), options.get("close", False), options.get("config", OFF)
    upstream = Recorder(answer, close, options.get("byte_by_byte", False))
    timeouts = options.get("timeouts")
    async with (
        RawServer(tmp_path / "up", upstream) as server,
        site(server.url, config=config, direct=direct, timeouts=timeouts) as gateway,
    ):
        client = await ask(gateway.address, request)
        taken = gateway.taken
        assert gateway.metric("aupgate_requests_in_flight") == 0
    (tmp_path / "up").unlink(missing_ok=True)
    return [without_chance(head) for head in upstream.heads], without_chance(client), taken


async def same(tmp_path: Path, request: bytes, *, taken: int, **options: Any) -> bytes:
    """Ask in both ways, see that nobody can tell which it was, and return the answer."""
    *directly, through_lane = await asked(tmp_path, True, request, **options)
    *by_asgi, _ = await asked(tmp_path, False, request, **options)
    assert directly == by_asgi
    assert through_lane == taken
    answer = directly[1]
    assert isinstance(answer, bytes)
    return answer


async def one_by_one(gateway: Site, requests: bytes) -> bytes:
    """Send each request when the one before is answered, over one connection."""
    async with asyncio.timeout(GUARD):
        reader, writer = await open_to(gateway.address)
        answer = b""
        for request in requests.split(b"\r\n\r\n")[:-1]:
            writer.write(request + b"\r\n\r\n")
            head = await read_head(reader)
            size = int(parts(head)[1].get(b"content-length", b"0"))
            answer += head + (b"" if request.startswith(b"HEAD") else await reader.readexactly(size))
        assert await reader.read() == b""
        writer.close()
        return answer
