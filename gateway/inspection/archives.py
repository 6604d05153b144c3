"""What is in an archive: one interface over ZIP, tar and compressed streams, every member in a spool of its own.

A ZIP is an archive also when it stands behind something else, a program or a picture.
Archives of other kinds (7z, RAR, zstd, cabinets) are recognised by `signatures` but not opened here.
"""

from collections.abc import Callable, Iterator
from typing import Final

from aupgate.inspection import tars
from aupgate.inspection.bounds import Allowance, ArchiveError, Bounds
from aupgate.inspection.decoding import STREAMS, decode_stream
from aupgate.inspection.signatures import ZIP
from aupgate.inspection.spool import CHUNK, Spool
from aupgate.inspection.trailing import end_of_zip
from aupgate.inspection.zips import Zip
from aupgate.values import value

TAR: Final = "application/x-tar"


@value
class Member:
    """One file in an archive. It belongs to whoever takes it, who closes `content`."""

    name: str
    content: Spool | None
    """None when it could not be opened."""
    obstacle: str = ""
    """Why it could not be opened: `is encrypted`."""
    kind: str = ""
    """The rule for what could not be opened."""


def is_stream(type_: str) -> bool:
    """Return True when the type is one compressed file rather than an archive of many."""
    return type_ in STREAMS


def opens(type_: str) -> bool:
    """Return True when `members` can open content of this type, as `signatures.detect` names it."""
    return type_ in _OPENERS or type_ in STREAMS


def members(content: Spool, type_: str, allowance: Allowance) -> Iterator[Member]:
    """Yield what is in `content`, one file at a time. Blocks on CPU and disk: run it in a thread.

    Raises `ArchiveError` when the archive is not sound or unfolds beyond the allowance, `SpoolError` when a member
    finds no room.
    """
    return _stream(content, type_, allowance) if type_ in STREAMS else _OPENERS[type_](content, allowance)


Opener = Callable[[Allowance], Iterator[Member]]


def opener(content: Spool, type_: str) -> Opener | None:
    """Return what yields the members of `content`, as `members` does; None when it neither is an archive nor hides one.

    `type_` is as `signatures.detect` or `signatures.detect_signature` names it.
    """
    if opens(type_):
        return lambda allowance: members(content, type_, allowance)
    end = hidden(content, type_)
    return None if end < 0 else lambda allowance: _zip(content, allowance, end)


def hidden(content: Spool, type_: str) -> int:
    """Return where the end record is of a ZIP that stands behind something else in `content`; -1 when there is none.

    What can be opened itself allows nothing behind its end, and archives and file systems of other kinds, old office
    documents and databases hold whole files, of which a ZIP may be the last.
    """
    return -1 if opens(type_) or type_ in _HOLDERS else end_of_zip(content)


_HOLDERS: Final = frozenset(
    {
        "application/x-7z-compressed", "application/vnd.rar", "application/vnd.ms-cab-compressed",
        "application/x-archive", "application/x-rpm", "application/x-xar", "application/x-iso9660-image",
        "application/zstd", "application/x-lz4", "application/x-ole-storage", "application/vnd.sqlite3",
    }
)  # fmt: skip


def _zip(content: Spool, allowance: Allowance, end: int | None = None) -> Iterator[Member]:
    archive = Zip(content, allowance, end)
    for index, entry in enumerate(archive.entries):
        if entry.obstacle:
            # Nothing is damaged, and nothing secret, when the way of packing is not known: it is not accepted.
            yield Member(entry.name, None, entry.obstacle, "encrypted" if entry.encrypted else "forbidden_type")
        elif entry.size or entry.packed:
            yield Member(entry.name, _spooled(content, archive.unpack(index)))


def _tar(content: Spool, allowance: Allowance) -> Iterator[Member]:
    for member in tars.members(content, allowance):
        if member.size:
            yield Member(member.name, _spooled(content, _slice(content, member, allowance)))


def _slice(content: Spool, member: tars.Member, allowance: Allowance) -> Iterator[bytes]:
    for offset in range(member.start, member.start + member.size, CHUNK):
        piece = content.read(offset, min(CHUNK, member.start + member.size - offset))
        allowance.grow(len(piece))
        yield piece


def _stream(content: Spool, type_: str, allowance: Allowance) -> Iterator[Member]:
    allowance.count(1)
    yield Member("", _spooled(content, decode_stream(content, type_, allowance)))


def _spooled(parent: Spool, pieces: Iterator[bytes]) -> Spool:
    spool = parent.factory.open()
    try:
        for piece in pieces:
            spool.write(piece)
    except BaseException:
        spool.close()
        raise
    return spool


_OPENERS: Final[dict[str, Callable[[Spool, Allowance], Iterator[Member]]]] = {ZIP: _zip, TAR: _tar}


def zip_content_type(content: Spool, bounds: Bounds) -> str:
    """Return what a ZIP is by its entries; empty when it is not sound enough to say."""
    try:
        return Zip(content, Allowance(bounds, content.size)).type
    except ArchiveError:
        return ""
