"""A reading of tar in all its ages: v7, ustar, GNU and pax. Members are found, not unpacked.

Sources: POSIX.1-2017 (pax interchange format and ustar); GNU tar manual, "Basic Tar Format".
"""

import re
from collections.abc import Iterator
from typing import Final

from aupgate.inspection.bounds import Allowance, corrupt
from aupgate.inspection.signatures import is_tar_header
from aupgate.inspection.spool import CHUNK, Spool
from aupgate.inspection.zips import check_name
from aupgate.values import value

_BLOCK: Final = 512
_MAX_EXTENDED: Final = 1024 * 1024
"""Bytes of one extended header; programs write a few hundred."""
_BARE: Final = frozenset(b"123456")
"""Links, devices, directories and pipes: nothing follows their header, whatever size it says."""
_LONG_NAME, _SPARSE = ord("L"), ord("S")
_EXTENDED: Final = frozenset(b"xX")
_ASIDE: Final = frozenset(b"gK")
"""Defaults for all members, and the long target of a link: neither is a file."""
_MAX_RECORDS: Final = 200
"""Records of one extended header. Each costs time, and one of six bytes as much as a long one."""
_GLOBAL: Final = ord("g")
_NAMES: Final = frozenset({b"path", b"GNU.sparse.name"})


@value
class Member:
    """A file in a tar: its name, and where its bytes are."""

    name: str
    start: int
    size: int


@value
class _Extended:
    """What an extended header says of the next member."""

    path: bytes = b""
    size: int | None = None


def members(content: Spool, allowance: Allowance) -> Iterator[Member]:
    """Yield the files in `content`. Raises `ArchiveError` when it breaks off, is damaged, or holds too many."""
    offset, extended = 0, _Extended()
    while (header := content.read(offset, _BLOCK)).strip(b"\x00"):
        if not is_tar_header(header):
            raise corrupt("the tar archive breaks off" if len(header) < _BLOCK else "the tar archive is damaged")
        allowance.count(1)
        kind = header[156]
        start = _behind_sparse(content, header, offset + _BLOCK) if kind == _SPARSE else offset + _BLOCK
        size = _size(header, extended)
        if start + size > content.size:
            raise corrupt("the tar archive breaks off")
        if kind in _EXTENDED or kind == _LONG_NAME:
            extended = _read_extended(content.read(start, _bounded(size)), kind, extended)
        elif kind == _GLOBAL:
            _check_global(content.read(start, _bounded(size)))
        elif kind not in _ASIDE:
            name = _checked_name(header, extended)
            # Programs unpack kinds that they do not know as files.
            if kind not in _BARE:
                yield Member(name, start, size)
            extended = _Extended()
        offset = start + -(-size // _BLOCK) * _BLOCK
    _check_end(content, offset, len(header))


def _size(header: bytes, extended: _Extended) -> int:
    if header[156] in _BARE:
        return 0
    return _number(header[124:136]) if extended.size is None else extended.size


def _number(field: bytes) -> int:
    """Return a number in octal, or in base 256 as GNU tar writes large ones."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.strip(b" \x00")
    if not re.fullmatch(rb"[0-7]{0,12}", digits):
        raise corrupt("the tar archive is damaged: a size is no number")
    return int(digits or b"0", 8)


def _checked_name(header: bytes, extended: _Extended) -> str:
    name, prefix = header[:100].partition(b"\x00")[0], header[345:500].partition(b"\x00")[0]
    if header[257:263] == b"ustar\x00" and prefix:
        name = prefix + b"/" + name
    name = extended.path or name
    shown = name.decode("utf-8", "replace")
    check_name(name, shown, separators=b"/")
    return shown


def _bounded(size: int) -> int:
    if size > _MAX_EXTENDED:
        raise corrupt("the tar archive has an extended header that no program writes")
    return size


def _read_extended(data: bytes, kind: int, before: _Extended) -> _Extended:
    if kind == _LONG_NAME:
        return _Extended(data.rstrip(b"\x00"), before.size)
    path, size = before.path, before.size
    for keyword, text in _records(data):
        if keyword in _NAMES:
            path = text
            check_name(path, path.decode("utf-8", "replace"), separators=b"/")
        elif keyword == b"size":
            size = _decimal(text)
    return _Extended(path, size)


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keyword and value of each record: its length in decimal, a space, `keyword=value`, a line end."""
    at = 0
    for _ in range(_MAX_RECORDS):
        if not data[at : at + 1].strip(b"\x00"):
            break
        digits = data[at : at + 9].partition(b" ")[0]
        length = _decimal(digits)
        record = data[at : at + length]
        keyword, equals, text = record[len(digits) + 1 : -1].partition(b"=")
        if not keyword or not equals or len(record) != length or not record.endswith(b"\n"):
            raise corrupt("the tar archive has a malformed extended header")
        yield keyword, text
        at += len(record)
    if data[at:].strip(b"\x00"):
        raise corrupt("the tar archive has an extended header that no program writes")


def _check_global(data: bytes) -> None:
    """Check that a header for all members names none of them and moves none: some programs heed that, some do not."""
    for keyword, _ in _records(data):
        if keyword in (b"path", b"linkpath", b"size") or keyword.startswith(b"GNU.sparse."):
            raise corrupt(f"the tar archive says the {keyword.decode('ascii', 'replace')!r} of all its files at once")


def _decimal(digits: bytes) -> int:
    if not re.fullmatch(rb"\d{1,15}", digits):
        raise corrupt("the tar archive is damaged: a size is no number")
    return int(digits)


def _behind_sparse(content: Spool, header: bytes, offset: int) -> int:
    """Return the offset behind the maps that follow a sparse file's header; each says whether there is one more."""
    more = header[482]
    while more:
        block = content.read(offset, _BLOCK)
        if len(block) < _BLOCK:
            raise corrupt("the tar archive breaks off")
        more, offset = block[504], offset + _BLOCK
    return offset


def _check_end(content: Spool, offset: int, at_hand: int) -> None:
    """Check that a block of zeros ends the archive, and that nothing but zeros follows."""
    if at_hand < _BLOCK:
        raise corrupt("the tar archive breaks off")
    while piece := content.read(offset, CHUNK):
        if piece.strip(b"\x00"):
            raise corrupt("the tar archive has data behind its end")
        offset += len(piece)
