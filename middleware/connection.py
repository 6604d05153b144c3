"""What an exchange over HTTP and one over a websocket have in common: who takes part, and what is counted."""

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Final

from aupgate.model import Header, Verdict

if TYPE_CHECKING:
    from aupgate.engine import Exchange
    from aupgate.gateway import Gateway
    from aupgate.middleware.asgi import Receive, Scope, Send


PASS: Final = Verdict()
"""Before anything was judged."""


class Connection:
    """One scope of a server on its way through the gateway."""

    __slots__ = (
        "_bytes_in", "_bytes_out", "_exchange", "_gateway", "_headers", "_receive", "_refused", "_request",
        "_response_time", "_scope", "_send", "_start", "_status", "_verdict",
    )  # fmt: skip

    def __init__(
        self, gateway: "Gateway", exchange: "Exchange", scope: "Scope", receive: "Receive", send: "Send"
    ) -> None:
        self._gateway = gateway
        self._exchange = exchange
        self._request = exchange.request
        self._scope = scope
        self._receive = receive
        self._send = send
        self._start = perf_counter()
        self._verdict = PASS
        self._status = 0
        self._bytes_in = 0
        self._bytes_out = 0
        self._refused = False
        self._headers: Sequence[Header] = ()
        """Header fields of the application's response, as it sent them."""
        self._response_time = 0.0
