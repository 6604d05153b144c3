"""What the application may know of a request: `scope["aupgate"]`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from aupgate.gateway import forwarded_fields
from aupgate.model import Account, Client, Judgement, Request, Verdict

if TYPE_CHECKING:
    from aupgate.engine import Exchange
    from aupgate.middleware.asgi import Scope

_SECURE: Final = frozenset({"https", "wss"})


class RequestContext:
    """A view of the exchange, made for the application to read."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange

    @property
    def request(self) -> Request:
        """The head of the request as the policies saw it."""
        return self._exchange.request

    @property
    def client(self) -> Client:
        """The resolved sender."""
        return self._exchange.request.client

    @property
    def account(self) -> Account | None:
        """Whom the request acts for."""
        return self._exchange.request.account

    @property
    def request_id(self) -> str:
        """The id of the request, as in the audit log and in `X-Request-Id`."""
        return self._exchange.request.id

    @property
    def findings(self) -> Sequence[Judgement]:
        """Everything found so far; none of it refused the request, or the application would not run."""
        return self._exchange.judgements


def forwarded_scope(scope: "Scope", exchange: "Exchange", verdict: Verdict, length: int | None = None) -> "Scope":
    """Return the scope for the application: edited headers, what was decided, and the client behind trusted proxies.

    `length` is the size of a body that was held: it then travels with that Content-Length, however it came.
    """
    request = exchange.request
    forwarded: Scope = {**scope}
    forwarded["headers"] = forwarded_fields(request, verdict, length)
    forwarded["aupgate"] = RequestContext(exchange)
    if request.client.hops:
        secure = request.scheme in _SECURE
        forwarded["client"] = (request.client.address, 0)
        forwarded["scheme"] = (
            ("wss" if secure else "ws") if request.kind == "websocket" else ("https" if secure else "http")
        )
    return forwarded
