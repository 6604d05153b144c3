"""A ZIP behind something else: programs look for its directory from the end of a file, so anything may stand before it.

Self-extracting programs, Java archives with a launcher and Chrome extensions are made so, and files that pass for
a picture. Only a directory that leads somewhere counts, or every file with four bytes in common with it would be one.

Source: PKWARE APPNOTE.TXT 6.3.10 sections 4.3.6, 4.3.12 and 4.3.16; the distance is the longest that programs look.
"""

from typing import Final

from aupgate.inspection.spool import Spool

_END: Final = b"PK\x05\x06"
_END_SIZE: Final = 22
_LOCATOR_SIZE: Final = 20
_BACK: Final = 66_000 + _END_SIZE
"""Bytes that programs look back for the end record: a comment of 64 KiB, and some for what was appended."""
_MAX_CANDIDATES: Final = 256
"""End records that are looked at, from the last; a file with more is taken for a ZIP, and then found to be none."""


def end_of_zip(content: Spool) -> int:
    """Return where the end record of a ZIP at the end of `content` is, whatever stands before; -1 without one."""
    base = max(0, content.size - _BACK)
    tail = content.read(base, _BACK)
    if _END[3] not in tail:  # text, which need not be searched
        return -1
    at = last = tail.rfind(_END)
    for _ in range(_MAX_CANDIDATES):
        if at < 0:
            return -1
        if len(tail) - at >= _END_SIZE and _leads_to_directory(content, base + at, tail[at : at + _END_SIZE]):
            return base + at
        at = tail.rfind(_END, 0, at)
    return base + last


def _leads_to_directory(content: Spool, end: int, record: bytes) -> bool:
    """Return True when a header of the central directory stands where the end record says, or ZIP64's before it."""
    size, start = int.from_bytes(record[12:16], "little"), int.from_bytes(record[16:20], "little")
    if _is_directory(content, end - size, end) or _is_directory(content, start, end):
        return True
    locator = end - _LOCATOR_SIZE
    if locator < 0 or content.read(locator, 4) != b"PK\x06\x07":
        return False
    # The ZIP64 end record stands right before its locator.
    record = content.read(max(0, locator - 56), 56)
    size, start = int.from_bytes(record[40:48], "little"), int.from_bytes(record[48:56], "little")
    return _is_directory(content, locator - 56 - size, end) or _is_directory(content, start, end)


def _is_directory(content: Spool, place: int, end: int) -> bool:
    return 0 <= place < end and content.read(place, 4) == b"PK\x01\x02"
