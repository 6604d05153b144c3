"""The reverse proxy as an ASGI application.

Requests and responses stream both ways at the pace of the slower side; nothing is queued. Path and query are forwarded
byte for byte, Host as the client sent it. An upstream that gives no usable response is answered for with 502 or 504;
one that fails in the middle of a response makes the exchange fail, so that the client sees a cut response and never a
clean end.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

from aupgate.gateway import Gateway
from aupgate.proxy.client import NO_BODY, ClientSide, Watch, declared_length
from aupgate.proxy.errors import ClientGone, UpstreamError
from aupgate.proxy.forwarding import Forwarding, response_headers, target
from aupgate.proxy.lane import Lane
from aupgate.proxy.problem import OnError, problem
from aupgate.proxy.response import UpstreamResponse
from aupgate.proxy.upstream import Upstreams
from aupgate.proxy.websocket import MAX_MESSAGE, WebSocketRelay
from aupgate.redaction import redact_target

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_WHOLE: Final = 64 * 1024
"""Bytes. A body declared no longer than this and here at once is sent with the head in one write."""

_log = logging.getLogger("aupgate.proxy")


class ReverseProxy:
    """Forward everything to `upstreams`.

    `on_error` renders the answers for an upstream that gives none; `max_message` bounds websocket messages, in bytes.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        *,
        forwarding: Forwarding | None = None,
        on_error: OnError = problem,
        max_message: int = MAX_MESSAGE,
    ) -> None:
        self._upstreams = upstreams
        self._forwarding = forwarding or Forwarding()
        self._on_error = on_error
        self._watch = Watch()
        self._websockets = WebSocketRelay(upstreams, self._forwarding, on_error, max_message)

    def lane(self, gateway: Gateway, waiting: Sequence[object]) -> Lane:
        """Return the direct lane for what would come here through `gateway`; see there for `waiting`."""
        return Lane(gateway, self._upstreams, self._forwarding, self._on_error, waiting)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection scope. Raises `UpstreamError` when a response breaks off that has been started."""
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await self._websockets(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        else:
            raise ValueError(f'scope type "{kind}" cannot be forwarded, use http, websocket or lifespan')

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = ClientSide(receive, self._watch)
        try:
            await self._exchange(scope, client, send)
        except ClientGone:
            _log.debug("the client of %s %a went away", scope["method"], redact_target(target(scope)))
        finally:
            client.release()

    async def _exchange(self, scope: Scope, client: ClientSide, send: Send) -> None:
        body, length = await _body(scope, client)
        method: str = scope["method"]
        headers = self._forwarding.request_headers(scope)
        exchange = self._upstreams.open(method.encode("ascii"), target(scope), headers, body, length)
        client.on_gone = exchange.abort
        try:
            try:
                response = await exchange.send()
            except UpstreamError as error:
                await self._answer_for_upstream(scope, send, error)
            else:
                await _relay(response, send)
        finally:
            exchange.close()

    async def _answer_for_upstream(self, scope: Scope, send: Send, error: UpstreamError) -> None:
        _log.warning("%s %a: %s", scope["method"], redact_target(target(scope)), error)
        headers, body = self._on_error(scope, error.status, error.rule, error.detail)
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._upstreams.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _body(scope: Scope, client: ClientSide) -> tuple[bytes | AsyncIterator[bytes] | None, int | None]:
    """Return the request's body and its length, None when that is unknown.

    A small one is taken whole if it is here at once.
    """
    length = declared_length(scope["headers"], scope.get("http_version", "1.1"))
    if length == NO_BODY:
        client.body_ended()
        return None, None
    if length is None or length > _WHOLE:
        return client.pieces(), length
    first, ended = await client.piece()
    if not ended or len(first) != length:
        return client.pieces(first, ended=ended), length
    client.body_ended()
    return first, None


async def _relay(response: UpstreamResponse, send: Send) -> None:
    headers = response_headers(response.status, response.headers)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    ended = False
    while not ended:
        chunk = await response.next_chunk()
        ended = response.ended
        await send({"type": "http.response.body", "body": chunk, "more_body": not ended})
