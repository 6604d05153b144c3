r"""The readings of a path: what servers and frameworks may take it for, where they differ.

An encoded slash separates segments for some and belongs to a segment for others; the same holds for backslashes and
parameters (`;v=1`), for runs of slashes and dot segments, for what is encoded twice, and for bytes that UTF-8 has a
shorter form for (RFC 3986 sections 2.4, 3.3 and 6.2.2; RFC 3629 section 3). Nearly every path has one reading.
"""

import re
from collections.abc import Callable, Iterator
from itertools import product
from typing import Final
from urllib.parse import unquote_to_bytes

from aupgate.http import normalise_path, resolve_dots, without_authority

MOST: Final = 4096
"""Bytes, of all readings together, that are worked out; a path with more is as good as unreadable."""

_ODD: Final = re.compile(rb"%(?:2[fFeE5]|5[cC]|3[bB]|[cC][01]%[89abAB]|[eE]0%[89])|[;\\]|//|/\.").search
_ENCODED_SLASH: Final = re.compile(rb"%2[fF]").sub
_OVERLONG: Final = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]").sub
_SLASHES: Final = re.compile(r"/{2,}").sub
_PARAMETERS: Final = re.compile(r";[^/]*").sub
_KEPT: Final = b"%252F"
"""An encoded slash after which, once decoded, `%2F` is left."""

Change = Callable[[str], str]


def readings(raw: bytes) -> tuple[str, ...] | None:
    """Return every other reading of the path `raw` than `normalise_path` gives; none of nearly all paths.

    `raw` is as it came, without its query. None: there are more than can be told.
    """
    path = without_authority(raw)
    if not _ODD(path):
        return ()
    texts = dict.fromkeys(_decoded(path))
    found: dict[str, None] = {}
    for text in texts:
        changes = _changes(text)
        if len(texts) * len(text) * 2 ** len(changes) > MOST * 16:
            return None
        for chosen in product(*changes):
            changed = text
            for change in chosen:
                changed = change(changed)
            found[changed if changed.startswith("/") else "/" + changed] = None
    found.pop(normalise_path(raw), None)
    return tuple(found)


def _decoded(path: bytes) -> Iterator[str]:
    """Yield the path decoded as servers may: once, not at all, twice, with slashes that stay, or beyond UTF-8."""
    once = unquote_to_bytes(path)
    yield _text(once)
    if b"%" in path:
        yield _text(path)
        yield _text(unquote_to_bytes(_ENCODED_SLASH(_KEPT, path)))
    if b"%" in once:
        yield _text(unquote_to_bytes(once))
    if not once.isascii():
        yield _text(_OVERLONG(_shortest, once))


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


def _shortest(found: re.Match[bytes]) -> bytes:
    """Return what a lenient decoder makes of an overlong sequence."""
    lead, *rest = found[0]
    code = lead & (0x1F if len(rest) == 1 else 0x0F)
    for octet in rest:
        code = code << 6 | octet & 0x3F
    return chr(code).encode()


def _changes(text: str) -> list[tuple[Change, Change]]:
    """Return what some servers do to a decoded path and others leave, in the order in which it is done."""
    changes: list[tuple[Change, Change]] = []
    if "\\" in text:
        changes.append((lambda path: path.replace("\\", "/"), _as_it_is))
    if ";" in text:
        changes.append((lambda path: _PARAMETERS("", path), _as_it_is))
    if "//" in text or "\\" in text or "/;" in text:
        changes.append((lambda path: _SLASHES("/", path), _as_it_is))
    if "/." in text or "\\." in text:
        changes.append((resolve_dots, _as_it_is))
    return changes


def _as_it_is(path: str) -> str:
    return path
