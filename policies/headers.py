"""`headers`: what only proxies and gateways may set is taken from requests before the application sees it.

Clients put such fields in to appear as another address, user, path or method. Names are compared folded, because an
application may take `X_Forwarded_For` for `X-Forwarded-For`. Source: RFC 7239 section 8.1, RFC 9440 section 4.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Final

from aupgate.config import Notation, PolicySettings
from aupgate.fields import Layout, by_layout, fold
from aupgate.model import Action, Finding, HeaderEdits, Request, Rule
from aupgate.spoofable import FORWARDING, IDENTITY, OVERRIDE, OWN
from aupgate.values import value

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


class Settings(PolicySettings):
    """Which hosts are served, and which fields are taken away besides the usual ones, or left."""

    hosts: tuple[_HostPattern, ...] = ()
    """Values of Host that are accepted, on any port unless one is named; empty: any one well-formed Host."""
    strip: tuple[_FieldPattern, ...] = ()
    """Further fields to take from every request, such as one in which the application trusts a user's id."""
    keep: tuple[_FieldPattern, ...] = ()
    """Fields to leave: override fields from everyone, forwarding and identity fields from trusted proxies only."""


@value
class Fate:
    """What happens to a field that is not simply left: from whom it is kept, and which rule notes it."""

    rule: str = ""
    noted_from_proxies: bool = True
    kept_from_proxies: bool = False


_OWN: Final = Fate(noted_from_proxies=False)
_FORWARDING: Final = Fate("headers.spoofed", noted_from_proxies=False)
_OVERRIDE: Final = Fate("headers.override")
_IDENTITY: Final = Fate("headers.spoofed")
_KEPT: Final = Fate("headers.spoofed", kept_from_proxies=True)

_DETAILS: Final = {
    "headers.spoofed": "header fields that only a proxy may set were taken from the request",
    "headers.override": "header fields that would replace the method or URL were taken from the request",
}


class Headers:
    """Takes away fields that clients must not set, and refuses hosts that are not served."""

    name = "headers"
    rules = (
        Rule("headers.spoofed", "Header field that only a proxy may set"),
        Rule("headers.override", "Header field that replaces method or URL"),
        Rule("headers.host", "Host not served here"),
    )

    def __init__(self, settings: Settings) -> None:
        classify = _classifier(settings)

        def fated(layout: Layout) -> tuple[tuple[bytes, Fate], ...]:
            return tuple((name, fate) for name in layout.names if (fate := classify(name)))

        self._fated = by_layout(fated)
        self._hosts = frozenset(settings.hosts)
        self._suffixes = tuple(host[1:] for host in settings.hosts if host.startswith("*."))

    def sanitise(self, request: Request) -> Sequence[HeaderEdits]:
        """Return the fields to take away, by their names as received, with a note for each rule they touch."""
        found = self._fated[request.fields.layout]
        return _edits(found, from_proxy=bool(request.client.hops)) if found else ()

    def on_request(self, request: Request) -> Sequence[Finding]:
        """Refuse a host that is not among those configured."""
        if not self._hosts or self._serves((request.header(b"host") or b"").decode("latin-1").lower()):
            return ()
        return (Finding("headers.host", Action.REFUSE, 400, "this host is not served here"),)

    def _serves(self, host: str) -> bool:
        bare = (host if host.endswith("]") else host.rpartition(":")[0] or host).removesuffix(".")
        return any(each in self._hosts or each.endswith(self._suffixes) for each in (host, bare))


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


def _classifier(settings: Settings) -> Callable[[bytes], Fate | None]:
    """Return the function that says what happens to a field of a given name, with what the operator added and keeps."""
    kept = _matcher(settings.keep)
    groups = [
        (_matcher(names), fate)
        for names, fate in (
            (settings.strip, _IDENTITY),
            (OWN, _OWN),
            (FORWARDING, _FORWARDING),
            (IDENTITY, _IDENTITY),
            (OVERRIDE, _OVERRIDE),
        )
    ]

    def classify(name: bytes) -> Fate | None:
        folded = fold(name)
        fate = next((fate for matches, fate in groups if matches(folded)), None)
        if fate is None or not kept(folded):
            return fate
        return _KEPT if fate in {_FORWARDING, _IDENTITY} else None

    return classify


def _matcher(names: Sequence[str]) -> Callable[[bytes], bool]:
    exact = frozenset(fold(name.encode()) for name in names if not name.endswith("-*"))
    prefixes = tuple(fold(name.encode()) + b"-" for name in names if name.endswith("-*"))
    return lambda folded: folded in exact or folded.startswith(prefixes)
