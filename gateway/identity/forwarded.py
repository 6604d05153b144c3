"""What forwarding headers say: `Forwarded` (RFC 7239), `X-Forwarded-For`, and fields that hold one address.

Everything is read from the right, where the nearest proxy writes, and lazily: whatever a client wrote further left,
such as a quoted string without an end, changes nothing of what is right of it. The invariant is one: a reader yields
what is said, or raises `ForwardedError` at the first entry from the right that is malformed.
"""

import re
from collections.abc import Iterator
from typing import Final

from aupgate.errors import AupgateError
from aupgate.identity.addresses import MAX_PORT, Address, parse_address
from aupgate.values import value

MAX_PARAMETERS: Final = 16
"""Parameters of one element; the RFC has four. More are malformed."""
_SHOWN: Final = 64
"""Characters of what is malformed that an error shows."""

_BACKWARDS: Final = re.compile(
    rb"""(?: "( [^"]*+ (?: " \\ (?:\\\\)*+ (?!\\) [^"]*+ )*+ )" | ([!#$%&'*+.^_`|~0-9A-Za-z-]++) )
         = ([!#$%&'*+.^_`|~0-9A-Za-z-]++)""",
    re.VERBOSE,
)
"""A parameter read backwards: its value, quoted or a token, then its name. A quote followed by an odd number of
backslashes is one that these escape; no other quote is inside a quoted string."""
_SPACE: Final = re.compile(rb"[ \t]*+")
_QUOTED: Final = re.compile(rb"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+")
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_NODE: Final = re.compile(
    r"([0-9.]+ | \[ [0-9A-Fa-f:.%A-Za-z_~-]+ \] | unknown | _[0-9A-Za-z._-]+) (?: : ([0-9]{1,5} | _[0-9A-Za-z._-]+) )?",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


class ForwardedError(AupgateError):
    """An entry of a forwarding header is malformed."""


@value
class Node:
    """One end of a connection, as `for` and `by` name it (section 6)."""

    address: Address | None
    """None for `unknown`, and for an obfuscated identifier such as `_hidden`."""
    name: str
    """As it was written, without the port."""
    port: str = ""
    """A number, an obfuscated port such as `_p`, or empty when none is named."""


@value
class Element:
    """What one proxy says of the request that it received (section 4)."""

    source: Node | None = None
    """`for`: who sent it."""
    receiver: Node | None = None
    """`by`: where the proxy received it."""
    host: str = ""
    """`host`: the Host as received, which clients choose; not examined."""
    proto: str = ""
    """`proto`: the scheme, in lower case."""
    extensions: tuple[tuple[str, str], ...] = ()
    """Other parameters: names in lower case, and values."""


def read_forwarded(text: bytes) -> Iterator[Element]:
    """Yield the elements of `Forwarded` from right to left; several fields are one text, joined with commas.

    Raises `ForwardedError` at the first that is malformed. White space is allowed around commas and, since proxies
    write it, semicolons. An element may be empty (section 4); it says nothing.
    """
    backwards, place = text[::-1], 0
    while place <= len(backwards):
        parameters, place = _parameters(backwards, place)
        yield _element(parameters) if parameters else Element()


def read_sources(text: bytes) -> Iterator[Address | None]:
    """Yield whom each element of `Forwarded` names with `for`, from right to left; None where it names no address."""
    for element in read_forwarded(text):
        yield None if element.source is None else element.source.address


def read_list(text: bytes) -> Iterator[Address | None]:
    """Yield the addresses of `X-Forwarded-For` from right to left; None for `unknown`, a `_name`, an empty entry."""
    end = len(text)
    while end >= 0:
        comma = text.rfind(b",", 0, end)
        yield _listed(text[comma + 1 : end])
        end = comma


def read_single(text: bytes) -> Iterator[Address | None]:
    """Yield the address of a field that holds one; several fields or entries are malformed."""
    if b"," in text:
        raise ForwardedError(f"{_shown(text)} is more than one address")
    yield _listed(text)


def _listed(entry: bytes) -> Address | None:
    written = entry.strip(b" \t").decode("latin-1")
    if not written or written.startswith("_") or written.lower() == "unknown":
        return None
    address = parse_address(written)
    if address is None:
        raise ForwardedError(f"{_shown(entry)} is no address")
    return address


def _shown(text: bytes) -> str:
    """Return the end of `text`, quoted; that is where the proxies wrote."""
    return repr(text[-_SHOWN:].decode("latin-1"))


def _parameters(backwards: bytes, place: int) -> tuple[dict[str, str], int]:
    """Return the parameters of the element at `place` by name, and the place of the next element."""
    found: dict[str, str] = {}
    start = place
    for _ in range(MAX_PARAMETERS):
        place = _space(backwards, place)
        if parameter := _BACKWARDS.match(backwards, place):
            name = parameter[3][::-1].decode("ascii").lower()
            if name in found:
                raise ForwardedError(f"{name!r} is named twice in one element of Forwarded")
            found[name] = _value(parameter)
            place = _space(backwards, parameter.end())
        separator = backwards[place : place + 1]
        if separator in {b",", b""}:
            return found, place + 1
        if separator != b";":
            raise ForwardedError(f"{_shown(backwards[start : place + _SHOWN][::-1])} is no element of Forwarded")
        place += 1
    raise ForwardedError(f"an element of Forwarded has more than {MAX_PARAMETERS} parameters")


def _space(backwards: bytes, place: int) -> int:
    found = _SPACE.match(backwards, place)
    return found.end() if found else place


def _value(parameter: re.Match[bytes]) -> str:
    quoted = parameter[1]
    if quoted is None:
        return parameter[2][::-1].decode("ascii")
    inside = quoted[::-1]
    if not _QUOTED.fullmatch(inside):
        raise ForwardedError(f"{_shown(inside)} is not what may be in a quoted string")
    return (_ESCAPED.sub(rb"\1", inside) if b"\\" in inside else inside).decode("latin-1")


def _element(parameters: dict[str, str]) -> Element:
    source, receiver = parameters.pop("for", None), parameters.pop("by", None)
    host, proto = parameters.pop("host", ""), parameters.pop("proto", None)
    if proto is not None and not _SCHEME.fullmatch(proto):
        raise ForwardedError(f"{proto[:_SHOWN]!r} is no scheme")
    return Element(
        None if source is None else _node(source),
        None if receiver is None else _node(receiver),
        host,
        (proto or "").lower(),
        tuple(parameters.items()),
    )


def _node(text: str) -> Node:
    found = _NODE.fullmatch(text)
    if found is None:
        raise ForwardedError(f"{text[:_SHOWN]!r} is no node; IPv6 is in brackets, names begin with '_'")
    name, port = found[1], found[2] or ""
    if name.startswith("_") or name.lower() == "unknown":
        return Node(None, name, port)
    address = parse_address(name)
    if address is None or (port.isdigit() and int(port) > MAX_PORT):
        raise ForwardedError(f"{text[:_SHOWN]!r} is no address")
    return Node(address, name, port)
