"""Addresses."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.identity.addresses import folded_network, network_key, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        pytest.param("192.0.2.1", "192.0.2.1", id="IPv4"),
        pytest.param("192.0.2.1:80", "192.0.2.1", id="with a port"),
        pytest.param("2001:DB8:0:0::1", "2001:db8::1", id="IPv6"),
        pytest.param("[2001:db8::1]", "2001:db8::1", id="in brackets"),
        pytest.param("[2001:db8::1]:65535", "2001:db8::1", id="in brackets, with a port"),
        pytest.param("::", "::", id="the unspecified address"),
        pytest.param("fe80::1%eth0", "fe80::1", id="with a zone"),
        pytest.param("[fe80::1%25]:80", "fe80::1", id="with a zone and a port"),
        pytest.param("::ffff:192.0.2.1", "192.0.2.1", id="IPv4-mapped"),
        pytest.param("::FFFF:c000:201", "192.0.2.1", id="IPv4-mapped in hexadecimal"),
        pytest.param("[::ffff:192.0.2.1]:80", "192.0.2.1", id="IPv4-mapped with a port"),
        pytest.param("::192.0.2.1", "::c000:201", id="IPv4-compatible is another address"),
    ],
)
def test_an_address_is_read(text: str, address: str) -> None:
    assert parse_address(text) == ip_address(address)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "192.0.2", "192.0.2.1.", "192.0.2.256", "192.0.02.1", "010.0.0.1", "0x7f.0.0.1", "2130706433",
        "127.1", "192.0.2.1/32", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:-1", "192.0.2.1:80:80", "192.0.2.1%eth0",
        "[192.0.2.1]", "[192.0.2.1]:80", "[::1", "::1]", "[::1]x", "[::1]:", "[[::1]]", "[::1]:123456", ":::",
        "1::2::3", "12345::", "::ffff:010.0.0.1", "::1%", "::1%a b", "::1%" + "x" * 33, " 192.0.2.1", "192.0.2.1\n",
        "\u0661.0.0.1", "192.0.2.\xb2", "localhost", "*", "::1/64", '"192.0.2.1"',
    ],
    ids=repr,
)  # fmt: skip
def test_an_odd_spelling_is_no_address(text: str) -> None:
    assert parse_address(text) is None


@given(st.text() | st.text("0123456789abcf:.[]%/", max_size=30))
def test_parsing_an_address_never_raises(text: str) -> None:
    parse_address(text)


@given(st.ip_addresses())
def test_every_address_is_read_from_its_canonical_spelling(address: IPv4Address | IPv6Address) -> None:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    assert parse_address(str(address)) == (mapped or address)


@pytest.mark.parametrize(
    ("network", "folded"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.1/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_of_mapped_addresses_is_one_of_ipv4(network: str, folded: str) -> None:
    assert folded_network(network) == folded


@pytest.mark.parametrize(
    ("address", "prefix", "key"),
    [("192.0.2.1", 64, "192.0.2.1"), ("2001:db8::1:1", 64, "2001:db8::/64"), ("2001:db8::1", 128, "2001:db8::1/128")],
)
def test_limits_count_by_address_or_by_network(address: str, prefix: int, key: str) -> None:
    assert network_key(ip_address(address), prefix) == key
