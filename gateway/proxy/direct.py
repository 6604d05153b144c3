"""An exchange of the direct lane: a request without a body, and its response, by callbacks from socket to socket.

It writes the head of a response and what came of the body with it at once, reads no more from the upstream while the
client is behind, and settles with the gateway exactly once, however it ends.
"""

import asyncio
import logging
import math
from collections.abc import MutableMapping, Sequence
from time import perf_counter
from typing import Any, Final, Protocol

from uvicorn.protocols.http.flow_control import FlowControl

from aupgate.counting import Take
from aupgate.engine import Exchange
from aupgate.gateway import Gateway, forwarded_fields
from aupgate.meters import Outcome
from aupgate.middleware.connection import PASS
from aupgate.middleware.context import RequestContext
from aupgate.model import Header, Judgement, Request, Verdict
from aupgate.proxy.connection import Connection
from aupgate.proxy.errors import ClientGone, ConnectionDied, UpstreamError
from aupgate.proxy.forwarding import Forwarding, response_headers
from aupgate.proxy.framing import encode_head
from aupgate.proxy.head import UNKNOWN, encode_piece, encode_response
from aupgate.proxy.pool import Pool
from aupgate.proxy.problem import OnError
from aupgate.proxy.upstream import Upstreams
from aupgate.redaction import redact_target

_FAULT: Final = b"Internal Server Error"
_FAULT_FIELDS: Final = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(_FAULT))]

_SMALL: Final = 16 * 1024
"""Bytes that are cheaper to copy into one piece than to write as several."""

_log = logging.getLogger("aupgate.proxy")


class ClientLeg(Protocol):
    """What an exchange needs of the connection to its client."""

    direct: "DirectExchange | None"
    """The exchange under way."""

    @property
    def wire(self) -> asyncio.Transport:
        """Where the response goes."""

    @property
    def flow(self) -> FlowControl:
        """Tells whether the client is behind."""

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the client; None on a unix socket."""

    @property
    def scheme(self) -> str | None:
        """`http` or `https`."""

    def on_exchange_end(self) -> None:
        """Go on with the next request."""


class Way:
    """What all exchanges share: who judges, and where to."""

    def __init__(self, gateway: Gateway, upstreams: Upstreams, forwarding: Forwarding, on_error: OnError) -> None:
        self.gateway = gateway
        self.upstreams = upstreams
        self.forwarding = forwarding
        self.on_error = on_error
        self.connecting: set[asyncio.Task[None]] = set()
        """Exchanges that wait for a new connection."""


class DirectExchange:
    """One request that was judged, and its response. It is told of what the connection to the upstream brings.

    However it ends, it is settled once. Whatever fails here is answered with 500, or cuts a response that has begun.
    """

    __slots__ = (
        "_bytes_out", "_complete", "_connection", "_counting", "_exchange", "_fields", "_headers", "_kept", "_left",
        "_leg", "_method", "_peeked", "_pieces", "_pool", "_refused", "_response_time", "_start", "_started", "_status",
        "_verdict", "_way", "ended", "keep_alive",
    )  # fmt: skip

    def __init__(self, way: Way, leg: ClientLeg, method: bytes, exchange: Exchange, *, keep_alive: bool) -> None:
        self._start = perf_counter()
        self.ended = False
        self.keep_alive = keep_alive
        """False: the client's connection closes after the answer."""
        self._way = way
        self._leg = leg
        self._method = method
        self._exchange = exchange
        self._verdict = PASS
        self._counting = False
        """The store behind a connection has yet to answer; until then the exchange stays open."""
        self._connection: Connection | None = None
        self._status = self._bytes_out = 0
        self._response_time = 0.0
        self._fields: list[Header] = []
        """Header fields of the application's response, as it sent them."""
        self._peeked = b""
        self._left = 0
        """Bytes of the body still to be sent; `UNKNOWN` in chunks."""
        self._pieces: list[bytes] = []
        """Of the response's body, since the last were sent."""
        self._started = self._complete = self._refused = False

    # What the client's side calls.

    def begin(self, step: Verdict | Take) -> None:
        """Answer or forward the request, once it has been counted."""
        self._leg.direct = self
        if isinstance(step, Take):
            self._counting = True
            self._way.gateway.count(self._exchange, step, self._on_counted)
        else:
            self._go_on(step)

    def _on_counted(self, verdict: Verdict | Exception) -> None:
        self._counting = False
        if self.ended:
            self._close(aborted=True)
        elif isinstance(verdict, Exception):
            self.fail(verdict)
        else:
            self._go_on(verdict)

    def _go_on(self, verdict: Verdict) -> None:
        self._verdict = verdict
        try:
            if verdict.refusal is None:
                self._forward()
            else:
                self._refuse(verdict.refusal)
        except Exception as error:  # noqa: BLE001 - whatever fails is answered for
            self.fail(error)

    def pause(self) -> None:
        """Read no more from the upstream: the client is behind."""
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """Read again."""
        if self._connection is not None:
            self._connection.resume()
            if self._started:
                self._connection.await_data()

    def abandon(self) -> None:
        """Give up: the client is gone."""
        if not self.ended:
            request = self._exchange.request
            _log.debug("the client of %s %a went away", request.method, redact_target(request.target))
            self._settle(aborted=True)
            self._let_go(ClientGone("the client closed its connection"))

    def fail(self, error: BaseException) -> None:
        """Answer with 500, or cut the response that has begun, for `error`, which is logged."""
        if isinstance(error, UpstreamError | asyncio.CancelledError):
            _log.error("response cut off: %s", error)
        else:
            _log.error("a request could not be answered", exc_info=error)
        if self.ended:
            return
        begun, self.keep_alive = self._started, False
        try:
            if not begun:
                self._bytes_out = 0
                self._write_whole(500, _FAULT_FIELDS, _FAULT)
        finally:
            self._end(aborted=begun)
            self._let_go(error)

    # What the connection calls.

    def on_head(self, status: int, headers: list[Header]) -> None:
        """Take the head."""
        self._status = status
        self._fields = headers
        self._response_time = perf_counter() - self._start

    def on_data(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._pieces.append(data)

    def on_complete(self) -> None:
        """Note that everything came."""
        self._complete = True
        self._connection = None

    def on_error(self, error: Exception) -> None:
        """Try once more, answer for the upstream, or cut the response."""
        self._connection = None
        if self.ended:
            return
        try:
            if self._started:
                self._relay()
                self.fail(error)
            elif isinstance(error, UpstreamError):
                self._on_no_answer(error)
            else:
                self.fail(error)
        except Exception as fault:  # noqa: BLE001 - whatever fails is answered for
            self.fail(fault)

    def wake(self) -> None:
        """Send on what came."""
        if self._status and not self.ended:
            try:
                self._relay()
            except Exception as error:  # noqa: BLE001 - whatever fails is answered for
                self.fail(error)

    # Requests.

    def _forward(self) -> None:
        way, exchange = self._way, self._exchange
        request = exchange.request
        length = None if self._verdict.body_plan is None else 0  # as for a body that was held, and is empty
        self._headers: Sequence[Header] = way.forwarding.request_headers(
            {
                "headers": forwarded_fields(request, self._verdict, length),
                "scheme": request.scheme,
                "http_version": "1.1",
                "aupgate": RequestContext(exchange),
            }
        )
        self._pool = pool = way.upstreams.choose()
        connection = pool.take(math.inf)
        self._kept = connection is not None  # it carried exchanges before
        if connection is None:
            self._connect(pool)
        else:
            self._send(connection)

    def _send(self, connection: Connection) -> None:
        self._connection = connection
        length = None if self._verdict.body_plan is None else 0
        head = encode_head(self._method, self._exchange.request.target, self._headers, connection.authority, length)
        connection.carry(self, self._method, head)

    def _connect(self, pool: Pool) -> None:
        task = asyncio.get_running_loop().create_task(self._send_anew(pool))
        self._way.connecting.add(task)
        task.add_done_callback(self._way.connecting.discard)

    async def _send_anew(self, preferred: Pool) -> None:
        self._kept = False
        try:
            self._pool, connection = await self._way.upstreams.reach(preferred)
            if self.ended:
                connection.close()
            else:
                self._send(connection)
        except UpstreamError as error:
            self._answer_safely(error)
        except Exception as error:  # noqa: BLE001 - whatever fails is answered for
            self.fail(error)

    def _answer_safely(self, error: UpstreamError) -> None:
        if self.ended:
            return
        try:
            self._answer_for_upstream(error)
        except Exception as fault:  # noqa: BLE001 - whatever fails is answered for
            self.fail(fault)

    def _on_no_answer(self, error: UpstreamError) -> None:
        pool = self._pool
        pool.failed(error, kept=self._kept)
        if self._kept and isinstance(error, ConnectionDied):
            self._connect(pool)
        else:
            self._answer_for_upstream(error)

    # Responses.

    def _relay(self) -> None:
        """Send what has come: the head, if it is not under way yet, and the body since."""
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        head = b"" if self._started else self._begin_response()
        self._account(body)
        if (room := self._verdict.peek - len(self._peeked)) > 0:
            self._peeked += body[:room]
        self._write(head, encode_piece(body, self._left, last=self._complete))
        self._started = True
        if self._complete:
            self._end()
        elif self._connection is not None and not self._leg.flow.write_paused:
            self._connection.await_data()

    def _begin_response(self) -> bytes:
        health = self._pool.health
        if health.failing:
            health.succeeded()
        status = self._status
        return self._encode(status, self._edited(status, response_headers(status, self._fields)))

    def _account(self, body: bytes) -> None:
        """Count a piece of the body. Raises `ValueError` where the head does not let it pass for one."""
        self._bytes_out += len(body)
        if self._left != UNKNOWN:
            self._left -= len(body)
            if self._left < 0 or (self._left and self._complete):
                raise ValueError("the body of a response is not as long as its content-length says")

    def _refuse(self, judgement: Judgement) -> None:
        answer = self._way.gateway.refusals(self._exchange.request, judgement, self._verdict.response_headers)
        self._refused = True
        self._say(answer.status, answer.headers, answer.body)

    def _answer_for_upstream(self, error: UpstreamError) -> None:
        request = self._exchange.request
        _log.warning("%s %a: %s", request.method, redact_target(request.target), error)
        fields, body = self._way.on_error(self._scope(request), error.status, error.rule, error.detail)
        self._say(error.status, self._edited(error.status, fields), b"" if request.method == "HEAD" else body)

    def _scope(self, request: Request) -> MutableMapping[str, Any]:
        """Return what the ASGI way would know of the request."""
        return {
            "type": "http",
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.scheme,
            "path": request.path,
            "raw_path": request.target.partition(b"?")[0],
            "query_string": request.query,
            "headers": self._headers,
            "client": (request.client.address, 0) if request.client.hops else self._leg.client,
            "aupgate": RequestContext(self._exchange),
        }

    def _say(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Answer with a response of the gateway's own."""
        self._write_whole(status, headers, body)
        self._end()

    def _write_whole(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        self._status = status
        self._complete = True
        head = self._encode(status, headers)
        if self._method == b"HEAD":
            self._bytes_out = len(body)
            self._write(head, b"")
        else:
            self._account(body)
            self._write(head, encode_piece(body, self._left, last=True))
        self._started = True

    def _edited(self, status: int, headers: Sequence[Header]) -> list[Header]:
        return self._way.gateway.response_fields(self._exchange, self._verdict, status, headers)

    def _encode(self, status: int, headers: Sequence[Header]) -> bytes:
        head, self._left, self.keep_alive = encode_response(self._method, status, headers, keep_alive=self.keep_alive)
        return head

    def _write(self, head: bytes, body: bytes) -> None:
        wire = self._leg.wire
        if wire.is_closing():
            return  # the client is gone; the news of it is on its way
        if not head or not body or len(body) < _SMALL:
            if head or body:
                wire.write(head + body)
        else:
            # Not writelines: in the selector loop of Python 3.13.0 it never tells that the client is behind.
            wire.write(head)
            wire.write(body)

    # Ends.

    def _end(self, *, aborted: bool = False) -> None:
        try:
            self._settle(aborted=aborted)
        finally:
            if not self.keep_alive:
                self._leg.wire.close()
            self._leg.on_exchange_end()

    def _let_go(self, error: BaseException) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon(error if isinstance(error, Exception) else ClientGone(str(error)))

    def _settle(self, *, aborted: bool) -> None:
        self.ended = True
        if not self._counting:
            self._close(aborted=aborted)

    def _close(self, *, aborted: bool) -> None:
        duration = perf_counter() - self._start
        outcome = Outcome(
            self._status,
            0,
            self._bytes_out,
            duration,
            aborted,
            self._refused,
            self._response_time,
            self._fields,
            self._peeked,
        )
        self._way.gateway.close(self._exchange, outcome)


def answer_fault(leg: ClientLeg, method: bytes, error: Exception) -> None:
    """Answer with 500 for `error`, which is logged, and close: the request could not even be judged."""
    _log.error("a request could not be judged", exc_info=error)
    head, _, _ = encode_response(method, 500, _FAULT_FIELDS, keep_alive=False)
    if not leg.wire.is_closing():
        leg.wire.write(head if method == b"HEAD" else head + _FAULT)
    leg.wire.close()
