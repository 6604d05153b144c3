"""Header fields on their way through the proxy: what ends at it, and what it says of the client.

Fields that concern one connection end here (RFC 9110 section 7.6.1), also those that `Connection` names; but a client
cannot name away what tells the application who asks for what. Forwarding fields of the request are dropped in every
spelling an application could read as one (`X_Forwarded_For`), and set afresh from what the gateway knows.
"""

import re
from collections.abc import MutableMapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import quote

from aupgate.fields import ORDINARY, Fields, Layout, by_layout, fold, nominated
from aupgate.model import Header
from aupgate.values import value

Scope = MutableMapping[str, Any]

HOP_BY_HOP: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip

_ANEW: Final = frozenset({b"content-length", b"expect", b"forwarded", b"x-real-ip"})
"""Said anew: the framing by the upstream leg, `Expect` was answered by the listener, the rest is set below."""

_FORWARDED: Final = b"x-forwarded"

Style = Literal["x-forwarded", "forwarded", "both"]
"""How the application is told of the client: by `X-Forwarded-*` and `X-Real-IP`, by `Forwarded` (RFC 7239), or both."""

_SECURE: Final = frozenset({"https", "wss"})
"""A websocket begins as a request, and applications compare with `https`."""

_NO_BODY: Final = frozenset({204, 304})


_SITE: Final = re.compile(rb"[a-z][a-z0-9+.-]*://[^/?#]*", re.IGNORECASE)
"""What the absolute form has before the path."""


def _is_ending(name: bytes) -> bool:
    folded = fold(name)
    return folded in HOP_BY_HOP or folded in _ANEW or folded == _FORWARDED or folded.startswith(_FORWARDED + b"-")


@value
class _Fates:
    """What becomes of the fields of a layout."""

    kept: tuple[int, ...]
    """The places of those that are forwarded."""
    host: int
    """The place of Host; -1 when there is none."""
    connection: tuple[int, ...]
    """The places of Connection, whose values may name further fields that end here."""


def _fates(layout: Layout) -> _Fates:
    kept = tuple(place for place, name in enumerate(layout.names) if not _is_ending(name))
    return _Fates(kept, layout.places.get(b"host", (-1,))[0], layout.places.get(b"connection", ()))


_fates_of: Final = by_layout(_fates)


def _without_nominated(headers: Sequence[Header], kept: list[Header]) -> list[Header]:
    values = [text for name, text in headers if name == b"connection"]
    names = nominated(values)
    return [pair for pair in kept if pair[0] not in names] if names else kept


class Forwarding:
    """Makes the header fields that are forwarded.

    `style` is how they tell of the client. `via` is the pseudonym for `Via` (RFC 9110 section 7.6.3); by default there
    is none, although the RFC asks for one, because common servers stop compressing for requests that carry it.
    """

    def __init__(self, style: Style = "x-forwarded", *, via: str | None = None) -> None:
        self._forwarded = style != "x-forwarded"
        self._x_forwarded = style != "forwarded"
        self._via = via.encode("ascii") if via else b""

    def request_headers(self, scope: Scope) -> list[Header]:
        """Return the fields to send to the upstream for `scope`, without framing; Host is the client's.

        The client is `scope["aupgate"].client` where the gateway resolved it, else the connection's other end.
        """
        headers: Sequence[Header] = scope["headers"]
        fates = _fates_of[Fields(headers).layout]
        kept = [headers[place] for place in fates.kept]
        for place in fates.connection:
            if headers[place][1] not in ORDINARY:
                kept = _without_nominated(headers, kept)
                break
        host = headers[fates.host][1] if fates.host >= 0 else b""
        self._tell(kept, host, hops_of(scope), b"https" if scope.get("scheme") in _SECURE else b"http")
        if self._via:
            kept.append((b"via", b"%b %b" % (scope.get("http_version", "1.1").encode(), self._via)))
        return kept

    def _tell(self, fields: list[Header], host: bytes, hops: Sequence[bytes], scheme: bytes) -> None:
        """Add to `fields` what is known of the client."""
        if self._x_forwarded:
            if hops:
                fields += (b"x-forwarded-for", b", ".join(hops)), (b"x-real-ip", hops[0])
            fields.append((b"x-forwarded-proto", scheme))
            if host:
                fields.append((b"x-forwarded-host", host))
        if self._forwarded:
            fields.append((b"forwarded", forwarded_value(hops, scheme, host)))


def hops_of(scope: Scope) -> Sequence[bytes]:
    """Return the addresses that a request came through, the client first; none where none is known (unix sockets)."""
    context = scope.get("aupgate")
    if context is not None:
        client = context.client
        return [hop.encode() for hop in (client.address, *client.hops) if hop]
    peer = scope.get("client")
    return [peer[0].encode()] if peer and peer[0] else []


def forwarded_value(hops: Sequence[bytes], scheme: bytes, host: bytes) -> bytes:
    """Return the value of `Forwarded`; the first element tells of the client, the others name the proxies behind it."""
    first, *rest = [_node(hop) for hop in hops] or [b"unknown"]
    of_host = b';host="%b"' % host.replace(b"\\", b"\\\\").replace(b'"', b'\\"') if host else b""
    return b", ".join([b"for=%b;proto=%b%b" % (first, scheme, of_host), *(b"for=%b" % hop for hop in rest)])


def _node(address: bytes) -> bytes:
    return b'"[%b]"' % address if b":" in address else address


def response_headers(status: int, headers: Sequence[Header]) -> list[Header]:
    """Return the fields of an upstream's response that the client gets. `headers` have lower-case names."""
    kept = [pair for pair in headers if pair[0] not in HOP_BY_HOP]
    if len(kept) != len(headers):
        kept = _without_nominated(headers, kept)
    if status in _NO_BODY:  # Content-Length would tell of a body that is not sent; ASGI servers insist on it
        kept = [pair for pair in kept if pair[0] != b"content-length"]
    return kept


def target(scope: Scope) -> bytes:
    """Return path and query as the client sent them, or encoded anew where the server does not say.

    Of the absolute form (RFC 9112 section 3.2.2), that is what follows the authority.
    """
    raw: bytes = scope.get("raw_path") or b""
    path = raw.partition(b"?")[0]
    if site := _SITE.match(path):
        path = path[site.end() :] or b"/"
    elif not path.startswith(b"/") and path != b"*":
        path = quote(scope["path"], safe="/:@!$&'()*+,;=~-._").encode("ascii") or b"/"
    query: bytes = scope.get("query_string", b"")
    return path + b"?" + query if query else path
