"""A strict reading of ZIP: an archive is accepted only if every program must read the same entries in it.

Central directory and local headers agree; entries and directory lie one behind the other without overlap, gap, prefix
or trailing data; every stream ends exactly at its declared size and checksum; names are safe and unique. Real
writers' habits are honoured: data descriptors in their four shapes, ZIP64 fields where they are not needed, the
signing block of Android, backslashes in the names of old Windows programs. A ZIP that was found behind something else
is read just as strictly, but for what stands before and behind it.

Source: PKWARE APPNOTE.TXT 6.3.10; section numbers below are its.
"""

import bz2
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from aupgate.inspection.bounds import Allowance, corrupt, shown
from aupgate.inspection.decoding import Decoder, Inflate, Lzma, decode, xz_decoder
from aupgate.inspection.signatures import zip_type
from aupgate.inspection.spool import CHUNK, Spool
from aupgate.values import value

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_LOCATOR: Final = struct.Struct("<4sIQI")
_END64: Final = struct.Struct("<4sQ2H2I4Q")

_ENCRYPTED, _MARKED, _DESCRIBED, _UTF8 = 0x1, 0x2, 0x8, 0x800
_SHORT, _LONG = 0xFFFF, 0xFFFFFFFF
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075
_MAX_COMMENT: Final = 0xFFFF
_SIGNING: Final = b"APK Sig Block 42"

_LZMA: Final = 14
_LZMA_HEADER: Final = 9
"""Bytes before the stream: version of the writer, length of the properties, which is 5, and these (section 5.8.8)."""
_LZMA_END: Final = 16
"""Bytes that a decoder may leave unread of a stream that ends by its size."""
_MAX_FIELDS: Final = 100
"""Extra fields of one header; each costs time, and there are some twenty kinds."""
_METHODS: Final[dict[int, Callable[[], Decoder]]] = {
    8: lambda: Inflate(-15),
    12: bz2.BZ2Decompressor,
    95: xz_decoder,
}


@value
class Entry:
    """One entry, as the central directory has it."""

    raw: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    """Of the local header."""

    @property
    def name(self) -> str:
        """The name as text, with slashes."""
        return folded(self.raw).decode("utf-8" if self.flags & _UTF8 else "cp437", "replace")

    @property
    def encrypted(self) -> bool:
        """True when the entry can be opened by those alone who know its password."""
        return bool(self.flags & _ENCRYPTED)

    @property
    def obstacle(self) -> str:
        """Why the entry cannot be opened; empty when it can."""
        if self.encrypted:
            return "is encrypted"
        known = self.method in (0, _LZMA, *_METHODS)
        return "" if known else f"is packed in a way that cannot be opened here (method {self.method})"


class Zip:
    """A ZIP whose directory and headers were found sound. Raises `ArchiveError` when they are not.

    `end` is the offset of the end record when the ZIP is only a part of `content`, as `trailing` finds it.
    """

    def __init__(self, content: Spool, allowance: Allowance, end: int | None = None) -> None:
        self._content = content
        self._allowance = allowance
        directory = _find_directory(content) if end is None else _read_end(content, end)
        if end is None and directory.shift:
            raise corrupt("the ZIP archive has data before its start or around its directory")
        allowance.count(directory.count)
        self.entries = _read_directory(content, directory)
        first = self.entries[0].offset if end is not None and self.entries else 0
        self._starts = _check_layout(content, self.entries, directory.start, first)

    @property
    def type(self) -> str:
        """What the archive is by its entries: a document, a program, or just an archive."""
        first = self.entries[0] if self.entries else None
        mimetype = b""
        if first and first.raw == b"mimetype" and not first.method and first.size < 200:
            mimetype = self._content.read(self._starts[0], first.size)
        return zip_type([entry.name for entry in self.entries], mimetype.decode("ascii", "replace").strip())

    def unpack(self, index: int) -> Iterator[bytes]:
        """Yield the content of entry `index`. Raises `ArchiveError` when it is damaged or beyond the allowance."""
        entry, crc, size = self.entries[index], 0, 0
        for piece in self._pieces(entry, self._starts[index]):
            crc, size = zlib.crc32(piece, crc), size + len(piece)
            if size > entry.size:
                break
            yield piece
        if size != entry.size:
            raise corrupt(f"{shown(entry.name)} is not of the size that the archive says")
        if crc != entry.crc:
            raise corrupt(f"{shown(entry.name)} is damaged: its checksum is wrong")

    def _pieces(self, entry: Entry, start: int) -> Iterator[bytes]:
        packed = _slice(self._content, start, entry.packed)
        if not entry.method or not entry.packed:  # some writers call an empty entry deflated
            for piece in packed:
                self._allowance.grow(len(piece))
                yield piece
            return
        if entry.method == _LZMA:
            head = self._content.read(start, min(_LZMA_HEADER, entry.packed))
            decoder: Decoder = Lzma(head[4:], entry.size, marked=bool(entry.flags & _MARKED))
            packed = _slice(self._content, start + _LZMA_HEADER, entry.packed - _LZMA_HEADER)
        else:
            decoder = _METHODS[entry.method]()
        yield from decode(packed, decoder, self._allowance)
        if decoder.unused_data or len(next(packed, b"")) > (_LZMA_END if entry.method == _LZMA else 0):
            raise corrupt(f"{shown(entry.name)} has data behind its end")


def _slice(content: Spool, start: int, length: int) -> Iterator[bytes]:
    end = start + length
    while start < end and (piece := content.read(start, min(CHUNK, end - start))):
        yield piece
        start += len(piece)


@value
class _Directory:
    """Where the central directory is, how many entries it has, and how far everything lies behind where it says."""

    start: int
    end: int
    count: int
    shift: int


def _find_directory(content: Spool) -> _Directory:
    """Return the central directory of a ZIP that is all of `content` (sections 4.3.14 to 4.3.16)."""
    base = max(0, content.size - _END.size - _MAX_COMMENT)
    tail = content.read(base, _END.size + _MAX_COMMENT)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + _END.size:
        raise corrupt("the ZIP archive breaks off: it has no directory")
    if len(tail) != at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little"):
        raise corrupt("the ZIP archive has data behind its end")
    return _read_end(content, base + at)


def _read_end(content: Spool, end: int) -> _Directory:
    """Return the central directory that the end record at `end` leads to."""
    record = content.read(end, _END.size)
    if len(record) < _END.size:
        raise corrupt("the ZIP archive breaks off: it has no directory")
    _, *disks, count_here, count, size, start, _ = _END.unpack(record)
    if any(disk not in (0, _SHORT) for disk in disks) or count_here != count:
        raise corrupt("the ZIP archive is only one of several parts")
    extended = _find_extended(content, end)
    if extended:
        end, *values = extended
        count, size, start = _resolve((count, size, start), values)
    if start + size > end:
        raise corrupt("the ZIP archive has data before its start or around its directory")
    return _Directory(end - size, end, count, end - size - start)


def _find_extended(content: Spool, end: int) -> tuple[int, int, int, int] | None:
    """Return offset, count, size and start from the ZIP64 records before the end record, if there are any."""
    locator = content.read(end - _LOCATOR.size, _LOCATOR.size) if end >= _LOCATOR.size else b""
    if not locator.startswith(b"PK\x06\x07"):
        return None
    offset = _LOCATOR.unpack(locator)[2]
    record = content.read(offset, _END64.size)
    if len(record) < _END64.size or not record.startswith(b"PK\x06\x06"):
        raise corrupt("the ZIP archive has a locator that leads nowhere")
    _, length, _, _, _, _, count_here, count, size, start = _END64.unpack(record)
    if count_here != count or offset + 12 + length != end - _LOCATOR.size:
        raise corrupt("the ZIP archive has an ambiguous directory")
    return offset, count, size, start


def _resolve(plain: tuple[int, int, int], extended: list[int]) -> tuple[int, int, int]:
    """Return the ZIP64 values; a plain one that is not set aside for them must be the same."""
    for short, long, unset in zip(plain, extended, (_SHORT, _LONG, _LONG), strict=True):
        if short not in (unset, long):
            raise corrupt("the ZIP archive has two directories that differ")
    count, size, start = extended
    return count, size, start


def _read_directory(content: Spool, directory: _Directory) -> list[Entry]:
    entries, names = [], set()
    offset = directory.start
    for _ in range(directory.count):
        fixed = content.read(offset, _CENTRAL.size)
        if offset + _CENTRAL.size > directory.end or not fixed.startswith(b"PK\x01\x02"):
            raise corrupt("the ZIP archive's directory is damaged")
        entry, offset = _read_entry(content, fixed, offset + _CENTRAL.size, directory.shift)
        name = folded(entry.raw)
        if name in names:
            raise corrupt(f"the ZIP archive has several entries named {shown(entry.name)}")
        names.add(name)
        entries.append(entry)
    if offset != directory.end:
        raise corrupt("the ZIP archive's directory is damaged")
    return sorted(entries, key=lambda entry: entry.offset)


def _read_entry(content: Spool, fixed: bytes, offset: int, shift: int) -> tuple[Entry, int]:
    """Read one header of the central directory (section 4.3.12); return it and the offset behind it."""
    (_, _, _, flags, method, _, _, crc, packed, size, name_length, extra_length, comment, _, _, _, local) = (
        _CENTRAL.unpack(fixed)
    )
    variable = content.read(offset, name_length + extra_length)
    raw, extra = variable[:name_length], _extra_fields(variable[name_length:])
    size, packed, local = _extend((size, packed, local), extra.get(_ZIP64, b""))
    entry = Entry(raw, flags, method, crc, packed, size, local + shift)
    for name in (raw, extra.get(_UNICODE_PATH, b"")[5:] or raw):
        check_name(name, entry.name)
    return entry, offset + name_length + extra_length + comment


def _extra_fields(data: bytes) -> dict[int, bytes]:
    """Return the extra fields by their id, of several the first (section 4.5). Android pads with odd ends."""
    fields: dict[int, bytes] = {}
    at = 0
    for _ in range(_MAX_FIELDS):
        if at + 4 > len(data):
            return fields
        kind, length = struct.unpack_from("<HH", data, at)
        if not kind and not data[at:].strip(b"\x00"):
            return fields  # padding, up to a page of it
        fields.setdefault(kind, data[at + 4 : at + 4 + length])
        at += 4 + length
    raise corrupt("the ZIP archive has more extra fields than any program writes")


def _extend(values: tuple[int, ...], extra: bytes) -> list[int]:
    """Return `values` with those that are set aside replaced from the ZIP64 field, which has them in this order."""
    resolved = []
    for number in values:
        if number == _LONG and len(extra) >= 8:
            resolved.append(int.from_bytes(extra[:8], "little"))
            extra = extra[8:]
        else:
            resolved.append(number)
    return resolved


def folded(raw: bytes) -> bytes:
    """Return a name with slashes: PowerShell 5 and other old Windows programs write backslashes (section 4.4.17)."""
    return raw.replace(b"\\", b"/")


def check_name(raw: bytes, name: str, *, separators: bytes = b"/\\") -> None:
    """Raise `ArchiveError` when unpacking an entry named `raw` (`name` as text) could write outside its directory."""
    if not raw or b"\x00" in raw:
        raise corrupt(f"the archive has an entry with a malformed name, {shown(name)}")
    path = folded(raw) if b"\\" in separators else raw
    if path.startswith(b"/") or b".." in path.split(b"/") or path[1:3] == b":/":
        raise corrupt(f"the archive has an entry that leads out of its directory, {shown(name)}")


def _check_layout(content: Spool, entries: list[Entry], directory: int, first: int) -> list[int]:
    """Check local headers, and that from `first` on entries leave no room up to the directory.

    Return where each one's data starts.
    """
    expected, starts = first, []
    ends = [entry.offset for entry in entries[1:]] + [directory - _signing_block(content, directory)]
    for entry, end in zip(entries, ends, strict=False):
        if entry.offset != expected:
            raise corrupt("the ZIP archive has overlapping entries, or data between or before them")
        start, described = _check_local(content, entry)
        _check_gap(
            content.read(start + entry.packed, max(0, min(25, end - start - entry.packed))),
            entry,
            end - start,
            described,
        )
        starts.append(start)
        expected = end
    if not entries and directory:
        raise corrupt("the ZIP archive has data before its start")
    return starts


def _check_local(content: Spool, entry: Entry) -> tuple[int, bool]:
    """Check one local header (section 4.3.7); return where the data starts, and whether sizes must stand behind it."""
    fixed = content.read(entry.offset, _LOCAL.size)
    if len(fixed) < _LOCAL.size or not fixed.startswith(b"PK\x03\x04"):
        raise corrupt(f"the ZIP archive has no entry where {shown(entry.name)} should be")
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(fixed)
    variable = content.read(entry.offset + _LOCAL.size, name_length + extra_length)
    extra = _extra_fields(variable[name_length:]).get(_ZIP64, b"")
    size, packed = _extend((size, packed), extra)
    described = bool(flags & _DESCRIBED)
    same = variable[:name_length] == entry.raw and method == entry.method and not (flags ^ entry.flags) & _ENCRYPTED
    pairs = ((crc, entry.crc), (packed, entry.packed), (size, entry.size))
    # A streaming writer does not know them yet, and writes zero, or sets them aside for ZIP64.
    if not same or not all(here == there or (described and here in (0, _LONG)) for here, there in pairs):
        raise corrupt(f"the ZIP archive describes {shown(entry.name)} in two ways that differ")
    return entry.offset + _LOCAL.size + name_length + extra_length, described and (crc, packed, size) != (
        entry.crc,
        entry.packed,
        entry.size,
    )


def _check_gap(gap: bytes, entry: Entry, room: int, described: bool) -> None:  # noqa: FBT001 - one of two layouts
    """Check what stands between an entry's data and the next entry: nothing, or a data descriptor (section 4.3.9)."""
    if room < entry.packed:
        raise corrupt("the ZIP archive has overlapping entries")
    descriptors = [
        mark + struct.pack(form, entry.crc, entry.packed, entry.size)
        for mark in (b"PK\x07\x08", b"")
        for form in ("<3I", "<I2Q")
        if form == "<I2Q" or max(entry.packed, entry.size) <= _LONG
    ]
    allowed = descriptors if described else [b"", *descriptors] if entry.flags & _DESCRIBED else [b""]
    if gap not in allowed:
        raise corrupt(f"the ZIP archive has data behind {shown(entry.name)} that belongs to nothing")


def _signing_block(content: Spool, directory: int) -> int:
    """Return the size of Android's signing block before the directory; 0 when there is none."""
    if directory < 24 or content.read(directory - 16, 16) != _SIGNING:
        return 0
    length = int.from_bytes(content.read(directory - 24, 8), "little")
    start = directory - length - 8
    whole = start >= 0 and int.from_bytes(content.read(start, 8), "little") == length
    return length + 8 if whole else 0
