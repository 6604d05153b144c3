"""Addresses as peers, proxies and configurations write them.

Only the spellings that leave no doubt are read: what some resolver takes for octal or hexadecimal (`010.0.0.1`,
`0x7f.1`) would be another address to the next reader.
"""

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

MAX_PORT: Final = 65_535
_ZONE: Final = r"(?:%[0-9A-Za-z._~-]{1,32})?"
"""What a host calls the link of an IPv6 address (RFC 6874); it means nothing on another host."""
_SPELLINGS: Final = re.compile(
    rf"([0-9.]{{7,15}}) (?::([0-9]{{1,5}}))?"
    rf"| ([0-9A-Fa-f:.]{{2,45}}) {_ZONE}"
    rf"| \[ ([0-9A-Fa-f:.]{{2,45}}) {_ZONE} \] (?::([0-9]{{1,5}}))?",
    re.VERBOSE,
)
_MAPPED: Final = IPv6Network("::ffff:0:0/96")


def parse_address(text: str) -> Address | None:
    """Return the address in `text`, or None when it is none.

    A port, brackets around IPv6 and its zone are left out, and the IPv4-mapped form is folded into the IPv4 address.
    """
    found = _SPELLINGS.fullmatch(text)
    if found is None:
        return None
    ipv4, port, bare, bracketed, port_after = found.groups()
    if int(port or port_after or 0) > MAX_PORT:
        return None
    try:
        return folded(IPv4Address(ipv4) if ipv4 else IPv6Address(bare or bracketed))
    except ValueError:
        return None


def folded(address: Address) -> Address:
    """Return `address`, or the IPv4 address that it maps (RFC 4291 section 2.5.5.2)."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def folded_network(text: str) -> str:
    """Return the network that `text` names, as that of the folded addresses in it."""
    network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return f"{folded(network.network_address)}/{network.prefixlen - _MAPPED.prefixlen}"
    return str(network)


def network_key(address: Address, ipv6_prefix: int) -> str:
    """Return what limits count `address` by: itself, or the IPv6 network of `ipv6_prefix` bits around it."""
    return str(address if isinstance(address, IPv4Address) else ip_network((address, ipv6_prefix), strict=False))
