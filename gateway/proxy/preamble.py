"""The PROXY protocol, versions 1 and 2: what a proxy says of its client before the first byte of the client.

This is the parser alone; it reads bytes and does no I/O. The invariant is one: `read_preamble` returns a `Preamble`,
or None while bytes are missing, or raises `PreambleError`. Source: The PROXY protocol, versions 1 & 2 (HAProxy
Technologies, 2020), here called the specification.
"""

import re
from functools import cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from aupgate.errors import AupgateError
from aupgate.values import value

MAX_PREAMBLE: Final = 4096
"""Bytes of a preamble of version 2, with its TLVs; the format itself allows 65,551."""
MAX_LINE: Final = 107
"""Bytes of a preamble of version 1, with CRLF: the longest that a sender may write (section 2.1)."""

_LINE: Final = b"PROXY "
_BREAK: Final = re.compile(rb"[\r\n]")
_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED: Final = 16
"""Bytes of version 2 that are always there: the signature, version and command, family and transport, the length."""
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_UNSPECIFIED: Final = 0
_STREAM: Final = 1
_SPANS: Final = {1: 12, 2: 36, 3: 216}
"""Bytes of both addresses and ports by family: AF_INET, AF_INET6, AF_UNIX."""
_CHECKSUM: Final = 3
_MAX_PORT: Final = 65_535


class PreambleError(AupgateError):
    """The connection does not begin as the PROXY protocol says, so it is not known whose it is."""


@value
class Preamble:
    """What a preamble says."""

    source: tuple[str, int] | None
    """Address (canonical, IPv4-mapped folded) and port of the client; None when it names none: the peer speaks for
    itself (LOCAL, as in health checks), or for a client that has no internet address (UNKNOWN, UNSPEC, AF_UNIX)."""
    size: int
    """Bytes it takes; what follows is the client's."""


def read_preamble(data: bytes) -> Preamble | None:
    """Return what the preamble at the start of `data` says, or None when more bytes are needed.

    Never does it need more than `MAX_PREAMBLE` bytes. Raises `PreambleError` as soon as no preamble can come of `data`.
    """
    if data.startswith(_LINE):
        return _read_line(data)
    if data.startswith(_SIGNATURE):
        return _read_block(data)
    if _LINE.startswith(data) or _SIGNATURE.startswith(data):
        return None
    raise PreambleError(f"{data[:16]!r} begins no PROXY protocol; the peer must speak version 1 or 2 of it")


def _read_line(data: bytes) -> Preamble | None:
    """Read version 1 (section 2.1)."""
    end = data.find(b"\r\n", 0, MAX_LINE)
    if _BREAK.search(data, 0, end if end >= 0 else min(len(data), MAX_LINE) - 1):
        raise PreambleError(f"{data[:MAX_LINE]!r} holds a CR or LF that is not the CRLF at its end")
    if end < 0:
        if len(data) >= MAX_LINE or data.endswith(b"\n"):
            raise PreambleError(f"{data[:MAX_LINE]!r} does not end with CRLF within {MAX_LINE} bytes")
        return None
    kind, *words = data[len(_LINE) : end].split(b" ")
    if kind == b"UNKNOWN":  # whatever follows is to be ignored
        return Preamble(None, end + 2)
    if kind not in {b"TCP4", b"TCP6"} or len(words) != 4:
        raise PreambleError(f"{data[:end]!r} is none of TCP4 and TCP6 with two addresses and two ports, and UNKNOWN")
    source, destination, source_port, destination_port = words
    _written_address(kind, destination)
    _written_port(destination_port)
    return Preamble((_written_address(kind, source), _written_port(source_port)), end + 2)


def _written_address(kind: bytes, text: bytes) -> str:
    try:
        if kind == b"TCP4":
            return str(IPv4Address(text.decode("ascii")))
        return _folded(IPv6Address("" if b"%" in text else text.decode("ascii")))
    except (AddressValueError, UnicodeDecodeError) as error:
        raise PreambleError(f"{text!r} is no address of {kind.decode('ascii')}") from error


def _written_port(text: bytes) -> int:
    port = int(text) if text.isdigit() and len(text) <= 5 else -1
    if not 0 <= port <= _MAX_PORT or (text[:1] == b"0" and text != b"0"):
        raise PreambleError(f"{text!r} is no port; it is a decimal number up to {_MAX_PORT} without leading zeros")
    return port


def _folded(address: IPv6Address) -> str:
    return str(address.ipv4_mapped or address)


def _read_block(data: bytes) -> Preamble | None:
    """Read version 2 (section 2.2)."""
    if len(data) < _FIXED:
        return None
    command = data[12]
    family, transport = divmod(data[13], 16)
    size = _FIXED + int.from_bytes(data[14:16], "big")
    if command not in {_LOCAL, _PROXY}:
        raise PreambleError(f"0x{command:02x} is no version and command; 0x20 (LOCAL) and 0x21 (PROXY) are known")
    if size > MAX_PREAMBLE:
        raise PreambleError(f"a preamble of {size} bytes is over {MAX_PREAMBLE}; let the peer send fewer TLVs")
    if command == _PROXY:
        _check_kind(family, transport, size)
    if len(data) < size:
        return None
    if command == _LOCAL or _UNSPECIFIED in {family, transport}:  # what it carries is to be ignored
        return Preamble(None, size)
    return Preamble(_source(family, data), _checked(data[:size], _FIXED + _SPANS[family]))


def _check_kind(family: int, transport: int, size: int) -> None:
    """Raise for what cannot have come over this connection, and for a block too short for its addresses."""
    if transport not in {_UNSPECIFIED, _STREAM} or (family and family not in _SPANS):
        raise PreambleError(f"0x{family:x}{transport:x} is no family and transport of a stream")
    if family and transport and size < _FIXED + _SPANS[family]:
        raise PreambleError(f"a preamble of {size} bytes has no room for the addresses of family {family}")


def _source(family: int, data: bytes) -> tuple[str, int] | None:
    """Return the first address and port; a Unix socket has none that could name a client."""
    if family == 1:
        return str(IPv4Address(data[16:20])), int.from_bytes(data[24:26], "big")
    if family == 2:
        return _folded(IPv6Address(data[16:32])), int.from_bytes(data[48:50], "big")
    return None


def _checked(block: bytes, start: int) -> int:
    """Return the size of `block`, whose TLVs from `start` on fill it exactly and agree with the checksum they hold."""
    checksums = []
    while start < len(block):
        end = start + 3 + int.from_bytes(block[start + 1 : start + 3], "big")
        if start + 3 > len(block) or end > len(block):
            raise PreambleError(f"the TLV at byte {start} reaches beyond the {len(block)} bytes of the preamble")
        if block[start] == _CHECKSUM:
            checksums.append((start + 3, end))
        start = end
    if checksums:
        _verify(block, *checksums[0], several=len(checksums) > 1)
    return len(block)


def _verify(block: bytes, start: int, end: int, *, several: bool) -> None:
    """Raise unless the only checksum, at `start`, is the CRC32c of `block` with zeros in its place (section 2.2.3)."""
    blanked = block[:start] + bytes(4) + block[end:]
    if several or end - start != 4 or int.from_bytes(block[start:end], "big") != crc32c(blanked):
        raise PreambleError(f"the checksum {block[start:end].hex()!r} is not the CRC32c of the preamble")


def crc32c(data: bytes) -> int:
    """Return the CRC with Castagnoli's polynomial (RFC 3309 section 2, and the PROXY protocol)."""
    table = _crc_table()
    crc = 0xFFFFFFFF
    for octet in data:
        crc = table[(crc ^ octet) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@cache
def _crc_table() -> tuple[int, ...]:
    return tuple(_crc_entry(octet) for octet in range(256))


def _crc_entry(entry: int) -> int:
    for _ in range(8):
        entry = (entry >> 1) ^ (0x82F63B78 if entry & 1 else 0)
    return entry
