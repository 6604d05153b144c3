"""The upstream leg: send a request to one of the upstreams, and stream its response back.

The errors it raises (`aupgate.proxy.errors`):

    UpstreamError
    ├── UpstreamUnreachable   502
    ├── UpstreamTimeout       504
    └── UpstreamProtocolError 502
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import count
from typing import Final, Self, TypeVar

from aupgate.model import Header
from aupgate.proxy.connection import Connection, Timeouts
from aupgate.proxy.errors import ConnectionDied, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from aupgate.proxy.framing import CHUNKED, encode_head
from aupgate.proxy.origin import Origin, UpstreamTls
from aupgate.proxy.pool import Pool
from aupgate.proxy.response import UpstreamResponse
from aupgate.values import value

_log = logging.getLogger("aupgate.proxy")

_Connected = TypeVar("_Connected")
_Protocol = TypeVar("_Protocol", bound=asyncio.BaseProtocol)

Body = AsyncIterator[bytes] | bytes | None

MAX_IDLE: Final = 64
"""Connections kept to each upstream without a request."""

_IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""RFC 9110 section 9.2.2."""

_FRESH: Final = 1.0
"""Seconds. An upstream may close an idle connection in the same moment as a request is sent, and a request that must
not be sent twice is then lost: so it only gets a connection idle for less than any server's patience."""


@value
class Outgoing:
    """A request to be sent.

    `headers` hold no framing field; `length` is the body's, or `CHUNKED`, or None without a body.
    """

    method: bytes
    target: bytes
    headers: Sequence[Header]
    body: Body
    length: int | None

    @property
    def repeatable(self) -> bool:
        """True when sending it twice does no more than sending it once, and it can be sent twice."""
        return not self.body and self.method in _IDEMPOTENT


class Exchange:
    """One request to the upstreams and its response. `abort` may be called at any time, also while `send` waits."""

    __slots__ = ("_aborted", "_request", "_response", "_upstreams")

    def __init__(self, upstreams: "Upstreams", request: Outgoing) -> None:
        self._upstreams = upstreams
        self._request = request
        self._response: UpstreamResponse | None = None
        self._aborted: Exception | None = None

    async def send(self) -> UpstreamResponse:
        """Send the request; return the response when its head has come. Raises `UpstreamError`."""
        upstreams = self._upstreams
        pool = upstreams.choose()
        connection = pool.take(math.inf if self._request.repeatable else _FRESH)
        if connection is not None:
            try:
                return await self._on(pool, connection, kept=True)
            except ConnectionDied:
                if not self._request.repeatable:
                    raise
        return await self._on(*await upstreams.reach(pool), kept=False)

    def abort(self, error: Exception) -> None:
        """Give up: the connection is closed, and `send` or reading the response raises `error`."""
        self._aborted = error
        if self._response is not None:
            self._response.close(error)

    def close(self) -> None:
        """Let go of the response, if any. To be called in the end, always."""
        if self._response is not None:
            self._response.close()

    async def _on(self, pool: Pool, connection: Connection, *, kept: bool) -> UpstreamResponse:
        if self._aborted is not None:
            connection.close()
            raise self._aborted
        request = self._request
        head = encode_head(request.method, request.target, request.headers, connection.authority, request.length)
        response = self._response = connection.begin(request.method, head, request.body, request.length)
        try:
            await response.head()
        except UpstreamError as error:
            pool.failed(error, kept=kept)
            raise
        if pool.health.failing:
            pool.health.succeeded()
        return response


class Upstreams:
    """The upstreams, all alike. Each request goes to the one with the fewest exchanges under way; ties take turns.

    One that is ejected (`aupgate.proxy.health`) is used when no other is left, the one that is back first.
    """

    def __init__(
        self, origins: Sequence[Origin], timeouts: Timeouts | None = None, *, max_idle: int = MAX_IDLE
    ) -> None:
        if not origins:
            raise ValueError("there is no upstream, name at least one")
        self.timeouts = timeouts or Timeouts()
        self._pools = tuple(Pool(origin, self.timeouts, max_idle) for origin in origins)
        self._turn = count()

    @classmethod
    def from_urls(cls, urls: Sequence[str], timeouts: Timeouts | None = None, tls: UpstreamTls | None = None) -> Self:
        """Return the upstreams at `urls`. Raises `ValueError` for a URL or CA file that cannot be used."""
        return cls([Origin.from_url(url, tls) for url in urls], timeouts)

    def open(
        self,
        method: bytes,
        target: bytes,
        headers: Sequence[Header],
        body: Body = None,
        content_length: int | None = None,
    ) -> Exchange:
        """Return the exchange of a request that is to be sent.

        `headers` hold no framing field: a body in bytes is sent with its length, a streamed one with `content_length`,
        or chunked when that is None; of a streamed body that turns out longer or shorter the connection is closed.
        """
        if isinstance(body, bytes):
            content_length = len(body)
        elif body is not None and content_length is None:
            content_length = CHUNKED
        return Exchange(self, Outgoing(method, target, headers, body, content_length))

    async def send(
        self,
        method: bytes,
        target: bytes,
        headers: Sequence[Header],
        body: Body = None,
        content_length: int | None = None,
    ) -> UpstreamResponse:
        """Send a request, as `open` takes it; return the response when its head has come. Raises `UpstreamError`.

        An idempotent request without a body is sent once more when the kept connection that it was sent on had died.
        """
        exchange = self.open(method, target, headers, body, content_length)
        try:
            return await exchange.send()
        except BaseException:
            exchange.close()
            raise

    @property
    def pools(self) -> Sequence[Pool]:
        """The connections to each upstream, for who watches them."""
        return self._pools

    def choose(self) -> Pool:
        """Return the pool to use now."""
        if len(self._pools) == 1:
            return self._pools[0]
        first = next(self._turn) % len(self._pools)
        pools = self._pools[first:] + self._pools[:first]
        for pool in pools:
            if not pool.health.up:
                return _choose_among(pools, asyncio.get_running_loop().time())
        return min(pools, key=_busy)

    async def connect(self, preferred: Pool) -> Connection:
        """Return a new connection for requests, to `preferred` if that can be connected to. Raises `UpstreamError`."""
        return (await self.reach(preferred))[1]

    async def reach(self, preferred: Pool) -> tuple[Pool, Connection]:
        """Return a new connection as `connect` does, and whose it is."""
        return await self._first(preferred, Pool.connect)

    async def dial(self, factory: Callable[[], _Protocol]) -> tuple[Pool, _Protocol]:
        """Return a protocol made by `factory`, connected to an upstream, for what is no HTTP, and whose it is.

        It is busy there until `hang_up` is called. Raises `UpstreamError`.
        """
        return await self._first(self.choose(), lambda pool: pool.dial(factory))

    async def _first(
        self, preferred: Pool, connect: Callable[[Pool], Awaitable[_Connected]]
    ) -> tuple[Pool, _Connected]:
        """Connect to `preferred`, or to the first other upstream that lets itself be connected to."""
        others = sorted((pool for pool in self._pools if pool is not preferred), key=_reluctance)
        order = [preferred, *others]
        for pool in order[:-1]:
            try:
                return pool, await connect(pool)
            except (UpstreamUnreachable, UpstreamTimeout) as error:
                _log.warning("%s; trying the next upstream", error)
        return order[-1], await connect(order[-1])

    def close(self) -> None:
        """Close every connection; exchanges under way fail."""
        for pool in self._pools:
            pool.close()


def _busy(pool: Pool) -> int:
    return pool.busy


def _reluctance(pool: Pool) -> tuple[float, int]:
    """Order by health, the one that is back first before others that are ejected, and then by load."""
    return pool.health.back_at, pool.busy


def _choose_among(pools: Sequence[Pool], now: float) -> Pool:
    """Choose where some are ejected: one whose pause is over is tried as if it were healthy, by one request."""
    usable = [pool for pool in pools if pool.health.back_at <= now]
    chosen = min(usable, key=_busy) if usable else min(pools, key=_reluctance)
    if usable and not chosen.health.up:
        chosen.health.tried(now)
    return chosen
