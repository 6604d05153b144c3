"""Header fields of a request: found by name, and remembered by their names.

A browser sends fields of the same names in the same order from request to request. So whatever follows from the names
alone is worked out once for each such `Layout`, and a request costs one look-up.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from aupgate.memory import Memory

Header = tuple[bytes, bytes]
"""One header field: the name as received, in lower case where the adapter's server lowers it, and the value."""

T = TypeVar("T")

_SEPARATORS: Final = re.compile(rb"[^a-z0-9]+")
_FRAMING: Final = (b"content-length", b"transfer-encoding")


def fold(name: bytes) -> bytes:
    """Return what every spelling of `name` has in common that some server takes for the same field.

    Lower case, with each run of anything but letters and digits as one `-`, and none at the ends: CGI, WSGI and their
    kin turn `-` into `_`, PHP also `.` and space, old gateways every other sign, so that `X_Forwarded.For` arrives as
    `X-Forwarded-For`.
    """
    return _SEPARATORS.sub(b"-", name.lower()).strip(b"-")


def matcher(names: Iterable[str]) -> Callable[[bytes], bool]:
    """Return what tells whether a folded name is among `names`; `x-user-*` stands for all that begin so."""
    names = tuple(names)
    exact = frozenset(fold(name.encode()) for name in names if not name.endswith("-*"))
    prefixes = tuple(fold(name.encode()) + b"-" for name in names if name.endswith("-*"))
    return lambda folded: folded in exact or folded.startswith(prefixes)


ORDINARY: Final = frozenset(
    {
        b"keep-alive", b"Keep-Alive", b"close", b"Close", b"upgrade", b"Upgrade", b"keep-alive, upgrade",
        b"keep-alive, Upgrade", b"te", b"TE",
    }
)  # fmt: skip
"""Values of `Connection` that nominate nothing which would not be dropped anyway."""

NEVER_NOMINATED: Final = frozenset(
    {
        b"accept", b"authorization", b"cache-control", b"content-encoding", b"content-length", b"content-location",
        b"content-range", b"content-type", b"cookie", b"host", b"location", b"origin", b"range", b"referer",
        b"set-cookie", b"user-agent", b"www-authenticate", b"x-api-key", b"x-request-id",
    }
)  # fmt: skip
"""End-to-end fields that identify the sender or say what a message is.

Whoever nominates them wants the next reader misled.
"""


def nominated(values: Iterable[bytes]) -> frozenset[bytes]:
    """Return the names of fields, in lower case, that the values of `Connection` name (RFC 9110 section 7.6.1).

    Those that nobody may name away are not among them.
    """
    tokens = (token.strip(b" \t").lower() for value in values if value not in ORDINARY for token in value.split(b","))
    return frozenset(tokens) - NEVER_NOMINATED


class Layout:
    """The names of a head's fields, in their order. Two heads with the same names have the same one."""

    __slots__ = ("framed", "names", "places", "size")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        self.names = names
        self.size = sum(map(len, names))
        """Bytes of all names."""
        places: dict[bytes, list[int]] = {}
        for place, name in enumerate(names):
            places.setdefault(name.lower(), []).append(place)
        self.places = {name: tuple(found) for name, found in places.items()}
        """Where the fields of each name are, by the name in lower case."""
        self.framed = any(name in places for name in _FRAMING)
        """True when a field says how long the body is, or how it is framed."""


LONGEST: Final = 2048
"""Bytes of the names in a layout that is remembered. Browsers send 300."""
MOST: Final = 1024
"""Layouts that are remembered."""


def _size(names: tuple[bytes, ...]) -> int:
    return sum(map(len, names)) + 32 * len(names)


_layouts: Final = Memory(Layout, longest=LONGEST, size=_size, most=MOST)


class Fields:
    """The header fields of one message."""

    __slots__ = ("layout", "pairs", "texts")

    def __init__(self, pairs: Sequence[Header]) -> None:
        self.pairs = pairs
        names: tuple[bytes, ...] = ()
        self.texts: tuple[bytes, ...] = ()
        """The values, in their order."""
        if pairs:
            names, self.texts = zip(*pairs, strict=True)
        self.layout = _layouts[names]

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of the field `name` (lower case), or None."""
        places = self.layout.places.get(name)
        return None if places is None else self.texts[places[0]]

    def all(self, name: bytes) -> list[bytes]:
        """Return every value of the field `name` (lower case), in order."""
        return [self.texts[place] for place in self.layout.places.get(name, ())]


def by_layout(work_out: Callable[[Layout], T]) -> Memory[Layout, T]:
    """Return a memory of what `work_out` makes of layouts."""
    return Memory(work_out, longest=LONGEST, size=lambda layout: _size(layout.names), most=MOST)


def by_names(work_out: Callable[[tuple[bytes, ...]], T]) -> Memory[tuple[bytes, ...], T]:
    """Return a memory of what `work_out` makes of the names of a head's fields, in their order."""
    return Memory(work_out, longest=LONGEST, size=_size, most=MOST)


def by_name(work_out: Callable[[bytes], T]) -> Memory[bytes, T]:
    """Return a memory of what `work_out` makes of the names of fields, of at most 64 bytes."""
    return Memory(work_out, longest=64)
