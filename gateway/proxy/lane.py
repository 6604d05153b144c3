"""The direct lane: requests without a body, judged and forwarded by callbacks from socket to socket.

Most requests have no body, and their heads are judged without an await, so nothing has to wait in a task: what comes in
from the client's parser goes out on a kept connection to an upstream in the same turn of the event loop, and so does
what comes back (`aupgate.proxy.direct`). A task is only made where a new connection is needed.

Clients and upstreams cannot tell it from the ASGI way, `AcceptableUse` around `ReverseProxy`, which serves whatever the
lane declines: bodies, expectations, other methods and versions, requests that wait for earlier answers, clients that
are behind with reading, and everything while a policy has yet to load what it needs.
"""

from collections.abc import Sequence
from typing import Final

from aupgate.fields import Layout, by_layout
from aupgate.gateway import Gateway
from aupgate.model import Header, Request
from aupgate.proxy.direct import ClientLeg, DirectExchange, Way, answer_fault
from aupgate.proxy.forwarding import Forwarding
from aupgate.proxy.problem import OnError
from aupgate.proxy.upstream import Upstreams

_METHODS: Final = {name.encode(): name for name in ("GET", "HEAD", "OPTIONS", "DELETE")}
"""All are idempotent (RFC 9110 section 9.2.2): a request that a kept connection lost may be sent once more."""


def _is_plain(layout: Layout) -> bool:
    return not layout.framed and b"expect" not in layout.places


_plain: Final = by_layout(_is_plain)
"""True for heads that no body follows and that wait for nothing."""


class Lane:
    """Takes requests that can be answered directly. `waiting` is what policies still have to load; then it declines."""

    def __init__(
        self,
        gateway: Gateway,
        upstreams: Upstreams,
        forwarding: Forwarding,
        on_error: OnError,
        waiting: Sequence[object] = (),
    ) -> None:
        self.way = Way(gateway, upstreams, forwarding, on_error)
        self._waiting = waiting
        self._warned = False

    def take(self, leg: ClientLeg, method: bytes, target: bytes, headers: list[Header], *, keep_alive: bool) -> bool:
        """Answer a request in HTTP/1.1, or begin to: then the exchange is `leg.direct`.

        False: that is left to others, and nothing was done.
        """
        name = _METHODS.get(method)
        if name is None or self._waiting or leg.flow.write_paused:
            return False
        if target[:1] != b"/" or b"#" in target or not target.isascii():
            return False
        way = self.way
        try:
            request = self._request(leg, name, target, headers)
            if self._declines(request):
                return False
            exchange, step = way.gateway.open(request)
        except Exception as error:  # noqa: BLE001 - whatever fails is answered for
            answer_fault(leg, method, error)
        else:
            DirectExchange(way, leg, method, exchange, keep_alive=keep_alive).begin(step)
        return True

    def _request(self, leg: ClientLeg, method: str, target: bytes, headers: list[Header]) -> Request:
        path, _, query = target.partition(b"?")
        peer = leg.client
        return self.way.gateway.request(
            method, path, query, headers,
            peer=peer[0] if peer else None, scheme=leg.scheme or "http", http_version="1.1",
        )  # fmt: skip

    def _declines(self, request: Request) -> bool:
        if not _plain[request.fields.layout]:
            return True
        if self._warned or request.client.certain:
            return False
        self._warned = True  # by the ASGI way, which this one takes
        return True
