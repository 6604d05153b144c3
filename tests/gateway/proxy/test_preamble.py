"""PROXY protocol: every preamble is read, awaited, or refused with the one documented error."""

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.errors import AupgateError
from aupgate.proxy.preamble import MAX_PREAMBLE, Preamble, PreambleError, crc32c, read_preamble

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
ENDS = IPv4Address("198.51.100.7").packed + IPv4Address("192.0.2.1").packed + struct.pack("!HH", 4711, 443)
ENDS6 = IPv6Address("2001:db8::7").packed + IPv6Address("2001:db8::1").packed + struct.pack("!HH", 4711, 443)
MAPPED = IPv6Address("::ffff:198.51.100.7").packed + IPv6Address("2001:db8::1").packed + struct.pack("!HH", 1, 2)


def block(rest: bytes, *, command: int = 0x21, kind: int = 0x11, length: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, kind]) + struct.pack("!H", len(rest) if length is None else length) + rest


def tlv(kind: int, value: bytes, length: int | None = None) -> bytes:
    return bytes([kind]) + struct.pack("!H", len(value) if length is None else length) + value


def with_checksum(rest: bytes, *, kind: int = 0x11, wrong: int = 0) -> bytes:
    blanked = block(rest + tlv(3, bytes(4)), kind=kind)
    return blanked[:-4] + struct.pack("!I", crc32c(blanked) ^ wrong)


READ = [
    pytest.param(
        b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n", ("198.51.100.7", 4711), id="version 1 with IPv4"
    ),
    pytest.param(b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", ("0.0.0.0", 0), id="version 1, the ends of range"),
    pytest.param(b"PROXY TCP6 2001:DB8:0::7 ::1 4711 443\r\n", ("2001:db8::7", 4711), id="version 1 with IPv6"),
    pytest.param(b"PROXY TCP6 ::ffff:198.51.100.7 ::1 1 2\r\n", ("198.51.100.7", 1), id="version 1, IPv4-mapped"),
    pytest.param(b"PROXY UNKNOWN\r\n", None, id="version 1, unknown"),
    pytest.param(b"PROXY UNKNOWN ff:: 1 junk\r\n", None, id="version 1, unknown and more"),
    pytest.param(b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", None, id="version 1, the longest line"),
    pytest.param(block(ENDS), ("198.51.100.7", 4711), id="version 2 with IPv4"),
    pytest.param(block(ENDS6, kind=0x21), ("2001:db8::7", 4711), id="version 2 with IPv6"),
    pytest.param(block(MAPPED, kind=0x21), ("198.51.100.7", 1), id="version 2, IPv4-mapped"),
    pytest.param(block(bytes(216), kind=0x31), None, id="version 2, unix sockets"),
    pytest.param(block(b"", command=0x20, kind=0), None, id="version 2, local, as health checks are"),
    pytest.param(block(b"any\xff", command=0x20, kind=0x99), None, id="version 2, what local carries is ignored"),
    pytest.param(block(b"", kind=0), None, id="version 2, unspecified"),
    pytest.param(block(tlv(4, b"12"), kind=0), None, id="version 2, unspecified, with TLVs"),
    pytest.param(block(ENDS, kind=0x10), None, id="version 2, no transport"),
    pytest.param(block(ENDS + tlv(4, b"") + tlv(0xEA, b"vpce")), ("198.51.100.7", 4711), id="version 2 with TLVs"),
    pytest.param(with_checksum(ENDS + tlv(1, b"h2")), ("198.51.100.7", 4711), id="version 2 with a checksum"),
    pytest.param(with_checksum(ENDS6, kind=0x21), ("2001:db8::7", 4711), id="version 2, IPv6 with a checksum"),
    pytest.param(
        block(ENDS + tlv(4, bytes(MAX_PREAMBLE - 16 - 12 - 3))), ("198.51.100.7", 4711), id="version 2, the largest"
    ),
]  # fmt: skip

REFUSED = [
    pytest.param(b"GET / HTTP/1.1\r\n", id="no preamble at all"),
    pytest.param(b"\x16\x03\x01", id="TLS"),
    pytest.param(b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", id="small letters"),
    pytest.param(b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", id="two spaces"),
    pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", id="a space at the end"),
    pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", id="too few words"),
    pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", id="too many words"),
    pytest.param(b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", id="another protocol"),
    pytest.param(b"PROXY UNKNOWNS\r\n", id="not quite unknown"),
    pytest.param(b"PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", id="octal address"),
    pytest.param(b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", id="short address"),
    pytest.param(b"PROXY TCP4 ::1 ::1 1 2\r\n", id="IPv6 as IPv4"),
    pytest.param(b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", id="IPv4 as IPv6"),
    pytest.param(b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", id="a zone"),
    pytest.param(b"PROXY TCP6 \xb2::1 ::1 1 2\r\n", id="not ASCII"),
    pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.400 1 2\r\n", id="bad destination"),
    pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", id="port too high"),
    pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", id="port with a leading zero"),
    pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n", id="negative port"),
    pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", id="LF alone"),
    pytest.param(b"PROXY UNKNOWN\nGET / HTTP/1.1\r\n", id="LF alone, and a CRLF of what follows"),
    pytest.param(b"PROXY UNKNOWN\r \r\n", id="CR alone"),
    pytest.param(b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", id="a line too long"),
    pytest.param(b"PROXY UNKNOWN " + b"x" * 500, id="a line without end"),
    pytest.param(SIGNATURE[:11] + b"\r" + b"\x21\x11\x00\x0c" + ENDS, id="a broken signature"),
    pytest.param(block(ENDS, command=0x11), id="version 1 in binary"),
    pytest.param(block(ENDS, command=0x22), id="an unknown command"),
    pytest.param(block(ENDS, kind=0x12), id="datagrams over a stream"),
    pytest.param(block(ENDS, kind=0x13), id="an unknown transport"),
    pytest.param(block(ENDS, kind=0x41), id="an unknown family"),
    pytest.param(block(ENDS[:-1]), id="no room for IPv4"),
    pytest.param(block(ENDS, kind=0x21), id="no room for IPv6"),
    pytest.param(block(ENDS6, kind=0x31), id="no room for unix sockets"),
    pytest.param(block(ENDS, length=MAX_PREAMBLE - 15), id="too large"),
    pytest.param(block(b"", command=0x20, kind=0, length=0xFFFF), id="a local one too large"),
    pytest.param(block(ENDS + b"\x04"), id="half a TLV"),
    pytest.param(block(ENDS + b"\x04\x00"), id="two thirds of a TLV"),
    pytest.param(block(ENDS + tlv(4, b"abc", 4)), id="a TLV beyond the end"),
    pytest.param(block(ENDS + tlv(4, b"", 0xFFFF)), id="a TLV far beyond the end"),
    pytest.param(with_checksum(ENDS, wrong=1), id="a wrong checksum"),
    pytest.param(block(ENDS + tlv(3, b"abc")), id="a short checksum"),
    pytest.param(with_checksum(ENDS + tlv(3, bytes(4))), id="two checksums"),
]


@pytest.mark.parametrize(("data", "source"), READ)
def test_a_preamble_names_the_client_and_ends_where_it_says(data: bytes, source: tuple[str, int] | None) -> None:
    found = read_preamble(data + b"GET / HTTP/1.1\r\n\r\n")
    assert found is not None
    assert (found.source, found.size) == (source, len(data))


@pytest.mark.parametrize(("data", "source"), READ)
def test_any_part_of_a_preamble_wants_more_bytes(data: bytes, source: tuple[str, int] | None) -> None:
    assert [read_preamble(data[:end]) for end in range(len(data))] == [None] * len(data)
    found = read_preamble(data)
    assert found is not None
    assert found.source == source


@pytest.mark.parametrize("data", REFUSED)
def test_what_is_no_preamble_is_refused_whole_and_byte_by_byte(data: bytes) -> None:
    with pytest.raises(PreambleError):
        read_preamble(data)
    for end in range(len(data)):
        try:
            assert read_preamble(data[:end]) is None
        except PreambleError:
            return


def test_the_error_is_one_of_the_gateways_own() -> None:
    assert issubclass(PreambleError, AupgateError)


def test_the_checksum_is_the_castagnoli_one() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value in catalogues of CRCs
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 appendix B.4


STARTS = st.sampled_from(
    [b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN", SIGNATURE, SIGNATURE + b"\x21\x11\x00\x20"]
)
PIECES = st.one_of(st.binary(max_size=80), st.sampled_from([b" ", b"\r\n", b"1.2.3.4", b"::1", b"65535", ENDS, ENDS6]))
ANYTHING = st.builds(lambda start, pieces: start + b"".join(pieces), STARTS, st.lists(PIECES, max_size=12))


@given(ANYTHING)
def test_any_bytes_are_read_or_awaited_or_refused(data: bytes) -> None:
    try:
        found = read_preamble(data)
    except PreambleError:
        return
    assert found is None or 0 < found.size <= min(len(data), MAX_PREAMBLE)


def outcome(data: bytes) -> Preamble | type[PreambleError] | None:
    try:
        return read_preamble(data)
    except PreambleError:
        return PreambleError


@given(ANYTHING)
def test_however_it_arrives_it_is_read_alike(data: bytes) -> None:
    """What is read of a part is read of the whole, and so is what is refused."""
    whole = outcome(data)
    for end in range(len(data)):
        assert outcome(data[:end]) in {None, whole}


@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=99))
def test_what_a_proxy_writes_is_read_back(
    source: IPv4Address | IPv6Address, other: IPv4Address | IPv6Address, port: int, to: int, after: bytes
) -> None:
    if source.version != other.version:
        other = source
    line = f"PROXY TCP{source.version} {source} {other} {port} {to}\r\n".encode()
    binary = block(
        source.packed + other.packed + struct.pack("!HH", port, to), kind=0x11 if source.version == 4 else 0x21
    )
    mapped = source.ipv4_mapped if isinstance(source, IPv6Address) else None
    for data in (line, binary):
        found = read_preamble(data + after)
        assert found is not None
        assert (found.source, found.size) == ((str(mapped or source), port), len(data))
