"""Ranges of addresses: lists of them in files, and the narrowest one that holds an address.

Kept as whole numbers in a set for each length of prefix, a million single addresses take some 60 MB; as nodes of a
radix tree they would take eight times that.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final

from aupgate.errors import ConfigError, Problem

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Prefix = tuple[int, int, int]
"""A network as its IP version, the length of its prefix, and the prefix as a number."""

MAX_RANGES: Final = 1_000_000
"""Most ranges that the files of one list hold together."""
MAX_SIZE: Final = 64 * 2**20
"""Most bytes of one file."""
MAX_PROBLEMS: Final = 100
"""Mistakes in one file that are reported; reading ends there."""
_EXPECTED: Final = 'expected an address or a network, such as "192.0.2.7", "10.0.0.0/8" or "2001:db8::/32"'
_MAPPED: Final = 0xFFFF
"""What the first 96 bits of an IPv4-mapped IPv6 address are (RFC 4291 section 2.5.5.2)."""


class Ranges:
    """Ranges of addresses. Each look-up takes as many steps as there are different lengths of prefix."""

    def __init__(self, prefixes: Iterable[Prefix] = ()) -> None:
        found: dict[tuple[int, int], set[int]] = {}
        for version, length, prefix in prefixes:
            found.setdefault((version, length), set()).add(prefix)
        narrowest_first = sorted(found.items(), reverse=True)
        self._by_version = {
            version: [(length, known) for (each, length), known in narrowest_first if each == version]
            for version in (4, 6)
        }

    @classmethod
    def of(cls, networks: Iterable[Network]) -> "Ranges":
        """Return the ranges that are `networks`."""
        return cls(_prefix(network.network_address, network.prefixlen) for network in networks)

    def __len__(self) -> int:
        return sum(len(known) for lengths in self._by_version.values() for _, known in lengths)

    def narrowest(self, address: Address) -> int:
        """Return the prefix length of the narrowest range that holds `address`; -1 when none does."""
        number, bits = int(address), address.max_prefixlen
        for length, known in self._by_version[address.version]:
            if number >> (bits - length) in known:
                return length
        return -1


def address_of(text: str) -> Address | None:
    """Return the address in `text`, an IPv4-mapped one as the IPv4 address it is; None when there is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def parse_range(text: str) -> Prefix:
    """Return the range that `text` is: an address, or a network without bits behind its prefix.

    Raises `ValueError` that says what is expected.
    """
    written, slash, suffix = text.partition("/")
    try:
        address = ip_address(written)
    except ValueError:
        raise ValueError(_EXPECTED) from None
    bits = address.max_prefixlen
    length: int = bits
    if slash:
        length = int(suffix) if len(suffix) <= 3 and suffix.isascii() and suffix.isdecimal() else bits + 1
    if length > bits or "%" in written:
        raise ValueError(_EXPECTED)
    if int(address) & ((1 << bits - length) - 1):
        network = ip_network((address, length), strict=False)
        raise ValueError(f'bits are set behind the prefix: expected "{network}" or "{address}"')
    return _prefix(address, length)


def read_ranges(path: Path, most: int = MAX_RANGES) -> Ranges:
    """Read a file with one range a line; `#` and `;` begin comments. Raises `ConfigError` with every mistake.

    A file without a single byte is one: more often than a list of nothing it is a download that failed.
    """
    problems: list[Problem] = []
    ranges = Ranges(_prefixes(path, most, problems))
    if problems:
        raise ConfigError(problems)
    return ranges


def _prefixes(path: Path, most: int, problems: list[Problem]) -> Iterator[Prefix]:
    """Yield the ranges in a file, and put what is wrong with it into `problems`."""
    for count, (line, text) in enumerate(_entries(path), 1):
        if count > most or len(problems) == MAX_PROBLEMS:
            problems.append(Problem(str(path), line, "", "", _too_much(most, len(problems))))
            return
        try:
            prefix = parse_range(text)
        except ValueError as error:
            problems.append(Problem(str(path), line, "", "", f'"{text[:60]}": {error}'))
        else:
            yield prefix


def _too_much(most: int, problems: int) -> str:
    if problems == MAX_PROBLEMS:
        return f"{MAX_PROBLEMS} mistakes before this line, nothing behind it was read"
    return f"too many entries: expected {most} more at most, all files together"


def _entries(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what stands in the lines of a file, with their numbers. Raises `ConfigError` when it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError([Problem(str(path), None, "", "", f"cannot be read: {error.strerror}")]) from error
    if not content:
        expected = "the file is empty: write a comment into it when it is meant to hold nothing"
        raise ConfigError([Problem(str(path), None, "", "", expected)])
    if len(content) > MAX_SIZE:
        expected = f"too large: expected {MAX_SIZE // 2**20} MiB at most"
        raise ConfigError([Problem(str(path), None, "", "", expected)])
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        text = line.partition(b"#")[0].partition(b";")[0].strip()
        if text:
            yield number, text.decode("utf-8", "replace")


def _prefix(address: Address, length: int) -> Prefix:
    """Return the range of `length` at `address`; one of IPv4-mapped addresses as the IPv4 range that it is."""
    number, bits = int(address), address.max_prefixlen
    if bits == 128 and length >= 96 and number >> 32 == _MAPPED:
        number, bits, length = number & 0xFFFF_FFFF, 32, length - 96
    return (4 if bits == 32 else 6), length, number >> (bits - length)
