"""One HTTP exchange between server, gateway and application."""

from collections.abc import Awaitable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from aupgate.meters import Outcome
from aupgate.middleware.bodies import Copied, Held, Refused, drain
from aupgate.middleware.connection import Connection
from aupgate.middleware.context import forwarded_scope
from aupgate.model import Header, Judgement, Verdict

if TYPE_CHECKING:
    from aupgate.engine import Exchange
    from aupgate.gateway import Gateway
    from aupgate.middleware.asgi import App, Receive, Scope, Send


class HttpFlow(Connection):
    """Runs the application for one request, or refuses it, and settles the exchange exactly once."""

    __slots__ = ("_aborted", "_complete", "_peeked")

    def __init__(
        self, gateway: "Gateway", exchange: "Exchange", scope: "Scope", receive: "Receive", send: "Send"
    ) -> None:
        super().__init__(gateway, exchange, scope, receive, send)
        self._complete = False
        self._aborted = False
        self._peeked = b""

    async def run(self, app: "App", verdict: Verdict) -> None:
        """Enforce the verdict on the head, and what follows from it."""
        try:
            if verdict.refusal is not None:
                await self._refuse(verdict.refusal, verdict.response_headers, unread=self._request.may_have_body)
            elif verdict.body_plan is not None:
                await self._hold(app, verdict)
            elif verdict.observed_plan is not None:
                await self._copy(app, verdict)
            else:
                await app(self._forwarded(verdict), self.receive, self.send)
        except Exception:
            if self._status == 0:  # the server answers; later it can only cut the connection
                self._status, self._complete = 500, True
            raise
        finally:
            self._gateway.close(self._exchange, self._outcome())

    # -- the application's side ----------------------------------------------------------------------------------------

    async def receive(self) -> Any:
        """Receive from the server, counting."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes_in += len(message.get("body", b""))
        elif message["type"] == "http.disconnect" and not self._complete:
            self._aborted = True
        return message

    def send(self, message: Any) -> Awaitable[None]:
        """Send to the server, with the header fields that the verdict and the policies add.

        It returns what the server's own `send` does: a coroutine around it would be one more for every message.
        """
        kind = message["type"]
        if kind == "http.response.body":
            body = message.get("body", b"")
            self._bytes_out += len(body)
            if (room := self._verdict.peek - len(self._peeked)) > 0:
                self._peeked += body[:room]
            self._complete = not message.get("more_body", False)
        elif kind == "http.response.start":
            self._status = message["status"]
            self._response_time = perf_counter() - self._start
            self._headers = message.get("headers", ())
            fields = self._gateway.response_fields(self._exchange, self._verdict, self._status, self._headers)
            message = {**message, "headers": fields}
        elif kind in {"http.response.pathsend", "http.response.zerocopysend"}:
            self._complete = not message.get("more_body", False)
        return self._send(message)

    def _forwarded(self, verdict: Verdict, length: int | None = None) -> "Scope":
        self._verdict = verdict
        return forwarded_scope(self._scope, self._exchange, verdict, length)

    # -- bodies --------------------------------------------------------------------------------------------------------

    async def _hold(self, app: "App", verdict: Verdict) -> None:
        """Hold the body until the policies have judged it."""
        assert verdict.body_plan is not None  # noqa: S101 - run() looked
        held = Held(self._gateway, self._exchange, verdict.body_plan, self.receive)
        try:
            body = await held.collect()
            if isinstance(body, Refused):
                await self._refuse(body.judgement, verdict.response_headers, unread=body.unread)
            elif body is not None:
                await app(self._forwarded(verdict, body.size), held.replay, self.send)
            else:
                self._aborted = True
        finally:
            held.close()

    async def _copy(self, app: "App", verdict: Verdict) -> None:
        """Let the body stream and inspect a copy afterwards."""
        assert verdict.observed_plan is not None  # noqa: S101 - run() looked
        copied = Copied(self._gateway, self._exchange, verdict.observed_plan, self.receive)
        try:
            await app(self._forwarded(verdict), copied.receive, self.send)
            await copied.inspect()
        finally:
            copied.close()

    # -- refusals ------------------------------------------------------------------------------------------------------

    async def _refuse(self, judgement: Judgement, fields: Sequence[Header], *, unread: bool) -> None:
        answer = self._gateway.refusals(self._request, judgement, fields)
        headers = list(answer.headers)
        lingering = unread and self._request.http_version in {"1.0", "1.1"}
        if lingering:
            headers.append((b"connection", b"close"))
        self._refused = True
        self._status = answer.status
        self._bytes_out = len(answer.body)
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if lingering and self._request.header(b"expect") is None:
            # Closing on a client that still sends makes its kernel discard the answer: the answer first, then read on a
            # while.
            await self._send({"type": "http.response.body", "body": answer.body, "more_body": True})
            await drain(self._receive)
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._send({"type": "http.response.body", "body": answer.body, "more_body": False})
        self._complete = True

    def _outcome(self) -> Outcome:
        aborted = self._aborted or not self._complete
        return Outcome(
            self._status,
            self._bytes_in,
            self._bytes_out,
            perf_counter() - self._start,
            aborted,
            self._refused,
            self._response_time,
            self._headers,
            self._peeked,
        )
