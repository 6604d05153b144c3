"""Relays a websocket between the client and an upstream.

The upstream is asked before the client is accepted, so that the client gets the upstream's subprotocol, or its refusal.
Each leg has its own frames, pings and compression; what is passed on is whole messages, and the close code with its
reason.

Bounds: `max_message` bytes for one message; the upstream is not read while two frames of it wait, and one message at a
time is on its way in each direction.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.http11 import Request
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from aupgate.model import Header
from aupgate.proxy.errors import UpstreamError, UpstreamProtocolError, UpstreamTimeout
from aupgate.proxy.forwarding import Forwarding, response_headers, target
from aupgate.proxy.pool import Pool
from aupgate.proxy.problem import OnError
from aupgate.proxy.upstream import Upstreams
from aupgate.redaction import redact_target

_log = logging.getLogger("aupgate.proxy")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_MESSAGE: Final = 16 * 1024 * 1024
"""Bytes of one message."""

_FRAMES: Final = 2
"""Frames of the upstream that wait before it is no longer read."""

_CLOSE_TIMEOUT: Final = 5.0
"""Seconds to wait for the upstream's answer to a close."""

_REASON: Final = 123
"""Bytes of a close reason (RFC 6455 section 5.5.1: 125 with the code)."""

_ANEW: Final = (b"sec-websocket-", b"content-length")

_SAYABLE: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
"""Close codes that may be sent (RFC 6455 section 7.4, IANA registry); the others tell that nothing was said."""

NO_STATUS: Final = 1005
GOING_AWAY: Final = 1001
BAD_GATEWAY: Final = 1014


class WebSocketRelay:
    """Handles `websocket` scopes."""

    def __init__(self, upstreams: Upstreams, forwarding: Forwarding, on_error: OnError, max_message: int) -> None:
        self._upstreams = upstreams
        self._forwarding = forwarding
        self._on_error = on_error
        self._max_message = max_message

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Relay one websocket until either side is gone; then close the other."""
        if (await receive())["type"] != "websocket.connect":
            return
        try:
            pool, leg = await self._upstreams.dial(lambda: self._leg(scope))
        except UpstreamError as error:
            await self._answer_for_upstream(scope, send, error)
            return
        try:
            await self._exchange(pool, leg, scope, receive, send)
        finally:
            leg.transport.abort()
            pool.hang_up()

    async def _exchange(self, pool: Pool, leg: ClientConnection, scope: Message, receive: Receive, send: Send) -> None:
        try:
            await self._shake_hands(pool, leg, scope)
        except InvalidStatus as refusal:
            response = refusal.response
            headers = _raw(response.headers.raw_items())
            await _deny(scope, send, response.status_code, headers, bytes(response.body or b""))
        except UpstreamError as error:
            pool.failed(error)
            await self._answer_for_upstream(scope, send, error)
        else:
            await _accept(leg, send)
            await _relay(leg, receive, send)

    async def _answer_for_upstream(self, scope: Message, send: Send, error: UpstreamError) -> None:
        _log.warning("websocket %a: %s", redact_target(target(scope)), error)
        answer = self._on_error(scope, error.status, error.rule, error.detail)
        await _deny(scope, send, error.status, *answer)

    async def _shake_hands(self, pool: Pool, leg: ClientConnection, scope: Message) -> None:
        """Open the leg. Raises `UpstreamError`, or `InvalidStatus` when the upstream refuses."""
        patience = self._upstreams.timeouts.response
        try:
            async with asyncio.timeout(patience):
                await leg.handshake(self._headers(scope), user_agent_header=None)
        except TimeoutError:
            raise UpstreamTimeout(f"no answer to the handshake within {patience:g} s") from None
        except InvalidStatus:
            pool.health.succeeded()
            raise
        except WebSocketException as error:
            raise UpstreamProtocolError(f"handshake failed: {error}") from error
        pool.health.succeeded()
        leg.start_keepalive()

    def _leg(self, scope: Message) -> ClientConnection:
        offered = [Subprotocol(name) for name in scope.get("subprotocols", ())]
        return ClientConnection(
            _Handshake(scope, offered, self._max_message), close_timeout=_CLOSE_TIMEOUT, max_queue=(_FRAMES, 0)
        )

    def _headers(self, scope: Message) -> list[tuple[str, str]]:
        return [
            (name.decode("latin-1"), text.decode("latin-1"))
            for name, text in self._forwarding.request_headers(scope)
            if not name.startswith(_ANEW) and name != b"host"
        ]


class _Handshake(ClientProtocol):
    """The client's side of the protocol, with target and Host as the client sent them."""

    def __init__(self, scope: Message, subprotocols: list[Subprotocol], max_message: int) -> None:
        uri = WebSocketURI(secure=False, host="localhost", port=80, path="/", query="")
        super().__init__(uri, subprotocols=subprotocols or None, max_size=max_message)
        self._target = target(scope).decode("ascii")
        self._host = next((text.decode("latin-1") for name, text in scope["headers"] if name == b"host"), "localhost")

    def connect(self) -> Request:
        request = super().connect()
        del request.headers["Host"]
        request.headers["Host"] = self._host
        request.path = self._target
        return request


def _raw(items: Any) -> list[Header]:
    return [(name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in items]


async def _accept(leg: ClientConnection, send: Send) -> None:
    given = _raw(leg.response.headers.raw_items()) if leg.response else []
    headers = [pair for pair in response_headers(101, given) if not pair[0].startswith(_ANEW)]
    await send({"type": "websocket.accept", "subprotocol": leg.subprotocol, "headers": headers})


async def _deny(scope: Message, send: Send, status: int, headers: list[Header], body: bytes) -> None:
    """Answer the opening request with a response, where the server can; else close, which clients see as 403."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": BAD_GATEWAY if status >= 500 else 1008})
        return
    fields = [pair for pair in response_headers(status, headers) if pair[0] != b"content-length"]
    fields.append((b"content-length", b"%d" % len(body)))
    await send({"type": "websocket.http.response.start", "status": status, "headers": fields})
    await send({"type": "websocket.http.response.body", "body": body})


async def _relay(leg: ClientConnection, receive: Receive, send: Send) -> None:
    outward = asyncio.create_task(_to_upstream(receive, leg))
    homeward = asyncio.create_task(_to_client(leg, send))
    try:
        await asyncio.wait((outward, homeward), return_when=asyncio.FIRST_COMPLETED)
        if outward.done() and (said := outward.result()) is not None:
            await leg.close(*said)
        else:
            code, reason = await homeward
            await send({"type": "websocket.close", "code": code, "reason": reason})
    finally:
        outward.cancel()
        homeward.cancel()
        await asyncio.gather(outward, homeward, return_exceptions=True)


async def _to_upstream(receive: Receive, leg: ClientConnection) -> tuple[int, str] | None:
    """Pass messages on until the client is gone; return code and reason to close with, None if the upstream is gone."""
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        try:
            await leg.send(text if text is not None else message["bytes"])
        except ConnectionClosed:
            return None
    return closing(message.get("code", NO_STATUS), message.get("reason"), GOING_AWAY)


async def _to_client(leg: ClientConnection, send: Send) -> tuple[int, str]:
    """Pass messages on until the upstream is gone; return the code and reason to close with."""
    while True:
        try:
            message = await leg.recv()
        except ConnectionClosed as end:
            said = end.rcvd or end.sent
            return closing(said.code, said.reason, BAD_GATEWAY) if said else closing(1006, "", BAD_GATEWAY)
        await send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})


def closing(code: int, reason: str | None, otherwise: int) -> tuple[int, str]:
    """Return the code and reason to pass on; `otherwise` where the code only tells that the connection broke."""
    if code not in _SAYABLE:
        code = 1000 if code == NO_STATUS else otherwise
    return code, (reason or "").encode()[:_REASON].decode(errors="ignore")
