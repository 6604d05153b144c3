"""Counts the request bodies that reach the application, so that anyone can see what a gateway in front kept away."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from examples.saas.state import Received


class CountReceived:
    """ASGI middleware: counts requests that announce a body (RFC 9112 section 6) and the bytes of body that come."""

    def __init__(self, app: ASGIApp, received: Received) -> None:
        self._app = app
        self._received = received

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, counting HTTP bodies."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted() -> Message:
            message = await receive()
            self._received.bytes += len(message.get("body", b""))
            return message

        self._received.requests += _announces_body(scope)
        await self._app(scope, counted, send)


def _announces_body(scope: Scope) -> bool:
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])
