"""`headers`: what only proxies and gateways may set is taken from requests before the application sees it.

Clients put such fields in to appear as another address, user, path or method. Names are compared folded, because an
application may take `X_Forwarded_For` for `X-Forwarded-For`. Responses lose what names the software behind them, and
get what browsers need to be told. Source: RFC 7239 section 8.1, RFC 9110 sections 7.6.1 and 17.10, RFC 9440 section 4,
RFC 6797.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Final

from pydantic import Field

from aupgate.config import Notation, PolicySettings, expectation
from aupgate.fields import ORDINARY, Fields, Layout, by_layout, fold, matcher, nominated
from aupgate.model import Action, Finding, HeaderEdits, Request, ResponseEdits, Rule
from aupgate.spoofable import BANNERS, Fate, classifier, imitates
from aupgate.values import value

_NOT_ADDED: Final = frozenset(
    {
        "connection", "content-length", "expect", "forwarded", "host", "keep-alive", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade", "x-real-ip", "x-request-id",
    }
)  # fmt: skip


def _added_name(text: str) -> str:
    name = text.lower()
    if name in _NOT_ADDED or name.startswith("x-forwarded"):
        raise expectation(f'"{name}" is set by the gateway itself: expected another name, such as "x-gateway"')
    return name


_FieldName = Annotated[
    str,
    Notation(
        "^[0-9A-Za-z]+(-[0-9A-Za-z]+)*$",
        'expected the name of a header field, such as "x-gateway"',
        ("x-gateway",),
        parse=_added_name,
    ),
]
_FieldText = Annotated[
    str,
    Notation(
        r"^[!-~]([ -~]{0,4094}[!-~])?$",
        'expected the value of a header field: visible characters of ASCII, such as "aupgate"',
        ("aupgate",),
    ),
]
_FieldPattern = Annotated[
    str,
    Notation(
        r"^[0-9A-Za-z]([0-9A-Za-z._-]*[0-9A-Za-z])?(-\*)?$",
        'expected the name of a header field, or its start followed by "-*", such as "x-user-id" or "x-user-*"',
        ("x-user-id", "x-user-*"),
        parse=str.lower,
    ),
]
_HostPattern = Annotated[
    str,
    Notation(
        r"^((\*\.)?[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$",
        'expected a host, with or without port, such as "example.com", "*.example.com" or "example.com:8443"',
        ("example.com", "*.example.com"),
        parse=str.lower,
    ),
]
_TransportSecurity = Annotated[
    str,
    Notation(
        "^(|max-age=[0-9]{1,10}(; ?(includeSubDomains|preload)){0,2})$",
        'expected a value of Strict-Transport-Security, such as "max-age=31536000", or "" for none',
        ("max-age=31536000", "max-age=63072000; includeSubDomains", ""),
    ),
]


class Settings(PolicySettings):
    """Which hosts are served, and which fields are taken away besides the usual ones, left, or added."""

    hosts: tuple[_HostPattern, ...] = ()
    """Values of Host that are accepted, on any port unless one is named; empty: any one well-formed Host."""
    strip: tuple[_FieldPattern, ...] = ()
    """Further fields to take from every request, such as one in which the application trusts a user's id."""
    keep: tuple[_FieldPattern, ...] = ()
    """Fields to leave: forwarding and identity fields from trusted proxies only, others from everyone."""
    add: dict[_FieldName, _FieldText] = Field(default_factory=dict)
    """Fields to add to every request; what a client sent under such a name is taken away."""
    response_strip: tuple[_FieldPattern, ...] = ()
    """Further fields to take from every response."""
    response_keep: tuple[_FieldPattern, ...] = ()
    """Fields of responses to leave, although they name the software."""
    hsts: _TransportSecurity = "max-age=31536000"
    """Strict-Transport-Security for responses over https that have none; empty: none is added."""
    nosniff: bool = False
    """Add `X-Content-Type-Options: nosniff` to responses that say nothing of it."""


_DETAILS: Final = {
    "headers.spoofed": "header fields that only a proxy may set were taken from the request",
    "headers.override": "header fields that would replace the method or URL were taken from the request",
    "headers.internal": "header fields for debuggers or internal services were taken from the request",
    "headers.alias": "header fields that pass for others by their spelling were taken from the request",
}


_RULES: Final = (
    Rule("headers.spoofed", "Header field that only a proxy may set"),
    Rule("headers.override", "Header field that replaces method or URL"),
    Rule("headers.internal", "Header field for debuggers or internal services"),
    Rule("headers.alias", "Header field that passes for another one"),
    Rule("headers.host", "Host not served here"),
    Rule("headers.forwarding", "Forwarding header that cannot be read"),
    Rule("headers.banner", "Response field that names the software"),
)
_HSTS: Final = "headers.hsts"
_NOSNIFF: Final = Rule("headers.nosniff", "Response whose type is left to guessing")


@value
class _Plan:
    """What is taken from requests with certain names and added to them, by where they come from."""

    from_clients: tuple[HeaderEdits, ...]
    from_proxies: tuple[HeaderEdits, ...]
    connection: tuple[int, ...]
    """The places of Connection, whose values may nominate further fields."""


class Headers:
    """Takes away fields that clients must not set, and refuses hosts that are not served."""

    name = "headers"

    def __init__(self, settings: Settings) -> None:
        hsts = Rule(_HSTS, "Response over https without transport security", configured=bool(settings.hsts))
        self.rules = (*_RULES, hsts, *([_NOSNIFF] if settings.nosniff else ()))
        self._settings = settings
        self._keeps = matcher(settings.keep)
        self._plans = by_layout(_planner(settings))
        self._hosts = frozenset(settings.hosts)
        self._suffixes = tuple(host[1:] for host in settings.hosts if host.startswith("*."))

    def sanitise(self, request: Request) -> Sequence[HeaderEdits]:
        """Return the fields to take away, by their names as received, with a note for each rule they touch."""
        fields = request.fields
        plan = self._plans[fields.layout]
        edits = plan.from_proxies if request.client.hops else plan.from_clients
        for place in plan.connection:
            if fields.texts[place] not in ORDINARY:
                return (self._without_nominated(fields, plan.connection), *edits)
        return edits

    def response_edits(self) -> Sequence[ResponseEdits]:
        """Return what is taken from responses, and what is added to those that lack it."""
        settings = self._settings
        edits = [ResponseEdits("headers.banner", (*BANNERS, *settings.response_strip), settings.response_keep)]
        if settings.hsts:
            told = (b"strict-transport-security", settings.hsts.encode())
            edits.append(ResponseEdits(_HSTS, add=(told,), secure=True))
        if settings.nosniff:
            edits.append(ResponseEdits(_NOSNIFF.name, add=((b"x-content-type-options", b"nosniff"),)))
        return edits

    def on_request(self, request: Request) -> Sequence[Finding]:
        """Refuse a host that is not among those configured; note what trusted proxies say and cannot be read."""
        fault = request.client.fault
        notes = (_malformed(fault),) if fault else ()
        if not self._hosts or self._serves((request.header(b"host") or b"").decode("latin-1").lower()):
            return notes
        return (*notes, Finding("headers.host", Action.REFUSE, 400, "this host is not served here"))

    def _without_nominated(self, fields: Fields, connection: Sequence[int]) -> HeaderEdits:
        """Return the edit that takes away Connection and what it names: no later reader is to take them for its own."""
        names = nominated([fields.texts[place] for place in connection])
        gone = [name for name in fields.layout.names if name.lower() in names and not self._keeps(fold(name))]
        return HeaderEdits(frozenset([*gone, *(fields.layout.names[place] for place in connection)]))

    def _serves(self, host: str) -> bool:
        bare = (host if host.endswith("]") else host.rpartition(":")[0] or host).removesuffix(".")
        return any(each in self._hosts or each.endswith(self._suffixes) for each in (host, bare))


def _planner(settings: Settings) -> Callable[[Layout], _Plan]:
    """Return the function that works out what becomes of requests with certain names."""
    classify = classifier(settings.strip, settings.keep)
    copies = imitates(settings.add)
    added = tuple((name.encode(), text.encode()) for name, text in settings.add.items())

    def plan(layout: Layout) -> _Plan:
        found = [(name, fate) for name in layout.names if (fate := classify(name))]
        own = [HeaderEdits(frozenset(name for name in layout.names if copies(fold(name))), added)] if added else []
        return _Plan(
            (*_edits(found, from_proxy=False), *own),
            (*_edits(found, from_proxy=True), *own),
            layout.places.get(b"connection", ()),
        )

    return plan


def _edits(found: Sequence[tuple[bytes, Fate]], *, from_proxy: bool) -> list[HeaderEdits]:
    """Return the edits for each rule: which names go, and the note if that is worth one."""
    dropped: dict[str, list[bytes]] = {}
    noted: dict[str, list[bytes]] = {}
    for name, fate in found:
        if from_proxy and fate.kept_from_proxies:
            continue
        dropped.setdefault(fate.rule, []).append(name)
        if fate.rule and (fate.noted_from_proxies or not from_proxy):
            noted.setdefault(fate.rule, []).append(name)
    return [
        HeaderEdits(frozenset(names), findings=(_note(rule, noted[rule]),) if rule in noted else (), rule=rule)
        for rule, names in dropped.items()
    ]


def _note(rule: str, names: Sequence[bytes]) -> Finding:
    shown = [name[:64].decode("latin-1") for name in dict.fromkeys(names)][:20]
    return Finding(rule, Action.NOTE, 0, _DETAILS[rule], evidence={"names": shown})


def _malformed(fault: str) -> Finding:
    detail = "what a trusted proxy says of the client is malformed, so it is not certain who that is"
    return Finding("headers.forwarding", Action.NOTE, 0, detail, evidence={"fault": fault})
