"""One websocket between server, gateway and application."""

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from aupgate.meters import Outcome
from aupgate.middleware.connection import Connection
from aupgate.middleware.context import forwarded_scope
from aupgate.model import Header, Judgement, Message, Verdict

if TYPE_CHECKING:
    from aupgate.engine import Exchange
    from aupgate.gateway import Gateway
    from aupgate.middleware.asgi import App, Receive, Scope, Send

POLICY_VIOLATION: Final = 1008
"""Close code for a refused websocket or message (RFC 6455 section 7.4.1)."""
SWITCHING_PROTOCOLS: Final = 101


class WebSocketFlow(Connection):
    """Runs the application for one websocket, or denies it, and settles the exchange exactly once."""

    def __init__(
        self, gateway: "Gateway", exchange: "Exchange", scope: "Scope", receive: "Receive", send: "Send"
    ) -> None:
        super().__init__(gateway, exchange, scope, receive, send)
        self._closed = False

    async def run(self, app: "App", verdict: Verdict) -> None:
        """Enforce the verdict on the opening request, and judge the messages that follow."""
        try:
            if verdict.refusal is not None:
                await self._deny(verdict.refusal, verdict.response_headers)
            else:
                self._verdict = verdict
                await app(forwarded_scope(self._scope, self._exchange, verdict), self.receive, self.send)
        finally:
            duration = perf_counter() - self._start
            outcome = Outcome(
                self._status,
                self._bytes_in,
                self._bytes_out,
                duration,
                aborted=False,
                refused=self._refused,
                response_time=self._response_time,
                headers=self._headers,
            )
            self._gateway.close(self._exchange, outcome)

    async def receive(self) -> Any:
        """Receive for the application; a refused message closes the socket and the application sees it gone."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            return message
        text, data = message.get("text"), message.get("bytes")
        received = Message(text if text is not None else data or b"")
        self._bytes_in += received.size
        if not self._gateway.engine.message:
            return message
        verdict = await self._gateway.judge_message(self._exchange, received)
        if verdict.refusal is None:
            return message
        await self._close(self._request.id)
        return {"type": "websocket.disconnect", "code": POLICY_VIOLATION, "reason": self._request.id}

    async def send(self, message: Any) -> None:
        """Send to the server; the accepting response carries the request id and the verdict's header fields."""
        if self._closed:
            return
        kind = message["type"]
        if kind == "websocket.accept":
            self._status = SWITCHING_PROTOCOLS
            message = self._edited(message, SWITCHING_PROTOCOLS)
        elif kind == "websocket.send":
            text, data = message.get("text"), message.get("bytes")
            self._bytes_out += Message(text if text is not None else data or b"").size
        elif kind == "websocket.http.response.start":
            self._status = message["status"]
            message = self._edited(message, self._status)
        elif kind == "websocket.close" and self._status == 0:
            self._status = 403
        await self._send(message)

    def _edited(self, message: Any, status: int) -> Any:
        self._response_time = perf_counter() - self._start
        self._headers = message.get("headers", ())
        fields = self._gateway.response_fields(self._exchange, self._verdict, status, self._headers)
        return {**message, "headers": fields}

    async def _deny(self, judgement: Judgement, fields: Sequence[Header]) -> None:
        """Answer with the refusal where the server can send one before the handshake, else close: it shows 403."""
        await self._receive()  # the connect message, which a server may wait to see taken
        self._refused = True
        if "websocket.http.response" not in (self._scope.get("extensions") or {}):
            self._status = 403
            await self._close(self._request.id)
            return
        answer = self._gateway.refusals(self._request, judgement, fields)
        self._status, self._bytes_out = answer.status, len(answer.body)
        await self._send(
            {"type": "websocket.http.response.start", "status": answer.status, "headers": list(answer.headers)}
        )
        await self._send({"type": "websocket.http.response.body", "body": answer.body})

    async def _close(self, reason: str) -> None:
        self._closed = True
        await self._send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": reason})
