"""Whether a file is whole: a walk over the structure of PNG, JPEG, GIF, WebP and PDF, from its start to its end mark.

A file that breaks off, or that has damage where the format carries a checksum, is told; damage elsewhere cannot be
seen without decoding. Data behind the end mark is let pass: cameras put previews, depth maps and short films there.
Every walk goes forward only, through a window of bounded size, and takes a bounded number of steps.

Sources: PNG (W3C, third edition) sections 5.2-5.6; JPEG (ITU-T T.81) annex B; GIF89a; RFC 9649; ISO 32000-2 sections
7.5.2, 7.5.5.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from aupgate.inspection.spool import CHUNK, Spool


class _Window:
    """Reads small pieces of a content through one buffer, because a read of its own for each would cost much more."""

    def __init__(self, content: Spool) -> None:
        self._content = content
        self._base = 0
        self._data = b""
        self._left = 100_000 + content.size // 64
        self.size = content.size

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes, at most 64 KiB, from `offset`: fewer only at the end."""
        start = offset - self._base
        if start < 0 or start + length > len(self._data):
            self._base, self._data, start = offset, self._content.read(offset, CHUNK), 0
        return self._data[start : start + length]

    def at_hand(self, offset: int) -> tuple[bytes, int]:
        """Return a buffer, and where in it `offset` is: at least two bytes from there on, except at the content's end.

        Not a copy from there on: tiny pieces would copy most of the buffer each.
        """
        self.read(offset, 2)
        return self._data, offset - self._base

    def pieces(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield `length` bytes from `offset`, in pieces."""
        end = offset + length
        while offset < end and (piece := self.read(offset, min(CHUNK, end - offset))):
            yield piece
            offset += len(piece)

    def steps(self) -> Iterator[None]:
        """Yield for each step of a walk, of all its loops together, until there are more than any file needs."""
        while self._left > 0:
            self._left -= 1
            yield


def can_break(type_: str) -> bool:
    """Return True when there is a walk for the media type, so that `damage` costs something."""
    return type_ in _WALKS


def damage(content: Spool, type_: str) -> str:
    """Return what is broken in `content` of media type `type_`; empty when nothing is, or when the type has no walk."""
    walk = _WALKS.get(type_)
    return walk(_Window(content)) if walk else ""


def _png(content: _Window) -> str:
    offset = 8
    for _ in content.steps():
        head = content.read(offset, 8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or offset + 12 + length > content.size:
            return "the PNG image breaks off"
        if offset == 8 and (kind, length) != (b"IHDR", 13):
            return "the PNG image has no header"
        # Only chunks without which the picture cannot be shown: programs write wrong checksums on the others.
        if kind[:1].isupper() and _crc(content, offset + 4, length + 4) != content.read(offset + 8 + length, 4):
            return "the PNG image is damaged: a checksum is wrong"
        if kind == b"IEND":
            return ""
        offset += 12 + length
    return "the PNG image is in more pieces than any program writes"


def _crc(content: _Window, offset: int, length: int) -> bytes:
    crc = 0
    for piece in content.pieces(offset, length):
        crc = zlib.crc32(piece, crc)
    return crc.to_bytes(4, "big")


_END: Final = 0xD9
_ALONE: Final = frozenset({0x01, 0xD8})
"""JPEG markers without a length besides the restarts: TEM and SOI."""
_MARKER: Final = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])").search
"""A marker that ends entropy-coded data: neither a stuffed 0xFF nor a restart. Of several 0xFF, fill bytes before the
last, only the last matches: were they repeated here, a run of them would be searched again from each of its bytes."""


def _jpeg(content: _Window) -> str:
    offset = 2
    for _ in content.steps():
        marker, offset = _next_marker(content, offset)
        if marker == _END:
            return ""
        if marker in _ALONE:
            continue
        length = int.from_bytes(content.read(offset, 2), "big")
        if marker < 0 or length < 2:
            return "the JPEG image breaks off"
        offset += length
    return "the JPEG image is in more pieces than any program writes"


def _next_marker(content: _Window, offset: int) -> tuple[int, int]:
    """Return the next marker from `offset`, -1 when there is none, and the offset behind it.

    What stands before it is entropy-coded data or padding.
    """
    while offset < content.size:
        data, at = content.at_hand(offset)
        if found := _MARKER(data, at):
            return found[1][0], offset + found.end() - at
        room = len(data) - at
        split = data[-1] == 0xFF and room > 1  # the marker may go on behind what is at hand
        offset += room - 1 if split else room
    return -1, offset


def _gif(content: _Window) -> str:
    offset = 13 + _colours(content.read(10, 1))
    for _ in content.steps():
        kind = content.read(offset, 1)
        if kind == b";":
            return ""
        if kind == b"!":
            offset = _blocks(content, offset + 2)
        elif kind == b",":
            offset = _blocks(content, offset + 11 + _colours(content.read(offset + 9, 1)))
        else:
            return "the GIF image is damaged" if kind else "the GIF image breaks off"
    return "the GIF image is in more pieces than any program writes"


def _colours(flags: bytes) -> int:
    """Return the size of the colour table that `flags` announce."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _blocks(content: _Window, offset: int) -> int:
    """Return the offset behind a chain of data sub-blocks; the content's end when it breaks off or is endless."""
    for _ in content.steps():
        length = content.read(offset, 1)
        if not length:
            break
        offset += 1 + length[0]
        if length == b"\x00":
            return offset
    return content.size


def _webp(content: _Window) -> str:
    size = int.from_bytes(content.read(4, 4), "little")
    return "the WebP image breaks off" if size + 8 > content.size else ""


_TAIL: Final = 1024
_PADDING: Final = 32 * 1024
# Bounded on every side: at most 200 steps from each of the fewer than 200 places in 2 KiB where it can begin.
_LINEARISED: Final = re.compile(rb"/Linearized\b[^>]{0,200}?/L\s{1,8}(\d{1,12})").search


def _pdf(content: _Window) -> str:
    if b"%%EOF" not in _tail(content):
        return "the PDF document breaks off: its end mark is missing"
    linearised = _LINEARISED(content.read(0, 2048))
    # A document for fast web view has an end mark near its start too, but it says how long it is.
    if linearised and int(linearised[1]) > content.size:
        return "the PDF document breaks off: it is shorter than it says"
    return ""


def _tail(content: _Window) -> bytes:
    """Return the end of `content`, as far back as readers look for the end mark, without padding behind it."""
    start = max(0, content.size - _PADDING - _TAIL)
    return content.read(start, _PADDING + _TAIL).rstrip(b"\x00\t\n\x0c\r ")[-_TAIL:]


_WALKS: Final[dict[str, Callable[[_Window], str]]] = {
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/gif": _gif,
    "image/webp": _webp,
    "application/pdf": _pdf,
}
