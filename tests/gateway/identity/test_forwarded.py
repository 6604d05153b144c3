"""Forwarding headers: what is well-formed is read, and all else is the one documented error."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.errors import AupgateError
from aupgate.identity.forwarded import (
    MAX_PARAMETERS,
    Element,
    ForwardedError,
    Node,
    read_forwarded,
    read_list,
    read_single,
    read_sources,
)
from aupgate.proxy.forwarding import forwarded_value

V4, V6 = ip_address("192.0.2.43"), ip_address("2001:db8:cafe::17")


def node(address: str, name: str = "", port: str = "") -> Node:
    return Node(ip_address(address), name or address, port)


ONE_ELEMENT = [
    pytest.param(b"for=192.0.2.43", Element(node("192.0.2.43")), id="an address"),
    pytest.param(b'for="192.0.2.43"', Element(node("192.0.2.43")), id="in quotes"),
    pytest.param(b'for="192.0.2.43:47011"', Element(node("192.0.2.43", port="47011")), id="with a port"),
    pytest.param(b'For="[2001:db8:cafe::17]"', Element(node(str(V6), "[2001:db8:cafe::17]")), id="IPv6 in brackets"),
    pytest.param(
        b'for="[2001:DB8:cafe::17]:4711"', Element(node(str(V6), "[2001:DB8:cafe::17]", "4711")), id="IPv6 with a port"
    ),
    pytest.param(
        b'for="[::ffff:192.0.2.43]"', Element(node("192.0.2.43", "[::ffff:192.0.2.43]")), id="IPv4-mapped is folded"
    ),
    pytest.param(
        b'for="[fe80::1%eth0]"', Element(node("fe80::1", "[fe80::1%eth0]")), id="a zone means nothing elsewhere"
    ),
    pytest.param(b'for="_gazonk"', Element(Node(None, "_gazonk")), id="obfuscated"),
    pytest.param(b'for="_a.b-c_:_p.1"', Element(Node(None, "_a.b-c_", "_p.1")), id="obfuscated, and so is the port"),
    pytest.param(b'for="192.0.2.43:_p"', Element(node("192.0.2.43", port="_p")), id="only the port is obfuscated"),
    pytest.param(b"for=unknown", Element(Node(None, "unknown")), id="unknown"),
    pytest.param(b'for="Unknown:80"', Element(Node(None, "Unknown", "80")), id="unknown in any case, with a port"),
    pytest.param(
        b"for=192.0.2.60;proto=http;by=203.0.113.43",
        Element(node("192.0.2.60"), node("203.0.113.43"), proto="http"),
        id="several parameters",
    ),
    pytest.param(
        b"FOR=192.0.2.60 ; Proto=HTTPS;\tHost=example.com",
        Element(node("192.0.2.60"), host="example.com", proto="https"),
        id="names in any case, space around semicolons",
    ),
    pytest.param(b'host="a, for=6.6.6.6;b"', Element(host="a, for=6.6.6.6;b"), id="separators in quotes"),
    pytest.param(rb'host="a\"b\\"', Element(host='a"b\\'), id="escapes"),
    pytest.param(rb'host="\a\b"', Element(host="ab"), id="escapes of what needs none"),
    pytest.param(b'for="\\1.2.3.\\4"', Element(node("1.2.3.4")), id="an escaped address is that address"),
    pytest.param(b'host=""', Element(), id="an empty quoted string"),
    pytest.param(b'secret="x=y"', Element(extensions=(("secret", "x=y"),)), id="an extension"),
    pytest.param(b"", Element(), id="nothing"),
    pytest.param(b";;proto=http;", Element(proto="http"), id="empty parameters"),
]  # fmt: skip

MALFORMED = [
    pytest.param(text, id=text.decode("latin-1"))
    for text in (
        b"for", b"for=", b"=192.0.2.43", b"for =192.0.2.43", b"for= 192.0.2.43", b"192.0.2.43", b"for=192.0.2.43:80",
        b"for=[2001:db8::1]", b'for="2001:db8::1"', b"for=2001:db8::1", b'for="[2001:db8::1"', b'for="[192.0.2.43]"',
        b'for="192.0.2.43', b'for=192.0.2.43"', b"for='192.0.2.43'x,for='192.0.2.43'", b'for="192.0.2.43""',
        b'for="192.0.2.43"x', b'x"for="192.0.2.43"', b'for="192.0.2.43\\"', b'for="a"b"', b"for=192.0.2.43 x",
        b"for=192.0.2.43 proto=http", b"for=010.0.0.1", b"for=10.1", b"for=0x7f000001", b"for=256.0.0.1",
        b'for="192.0.2.43:65536"', b'for="192.0.2.43:"', b'for="192.0.2.43:8O"', b'for="192.0.2.43:123456"',
        b'for="[fe80::1%]"', b"for=_", b"for=hidden", b'for="_a b"', b"for=unknowable", b'for=""',
        b"for=192.0.2.43;for=192.0.2.44", b"for=192.0.2.43;FOR=192.0.2.43", b"proto=http;proto=https",
        b"ext=1;EXT=1", b"by=203.0.113", b"proto=1http", b'proto=""', b'proto="ht tp"', b"f\xf6r=192.0.2.43",
        b'host="\x00"', b'host="\x7f"', b'host="\\\x00"', b'for="\xb2.0.0.1"', b"for=192.0.2.43\r\n", b"{for}=1",
        b";".join(b"a%d=1" % number for number in range(MAX_PARAMETERS + 1)), b";" * MAX_PARAMETERS,
    )
]  # fmt: skip


@pytest.mark.parametrize(("text", "element"), ONE_ELEMENT)
def test_an_element_is_read(text: bytes, element: Element) -> None:
    assert list(read_forwarded(text)) == [element]


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_element_is_an_error(text: bytes) -> None:
    with pytest.raises(ForwardedError):
        list(read_forwarded(text))


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_malformed_further_left_changes_nothing_on_the_right(text: bytes) -> None:
    """A client writes first; a proxy that adds its own element cannot help what stands there."""
    for mine in (b"for=192.0.2.43", b'for="[2001:db8:cafe::17]";host="a\\", b";proto=https'):
        (alone,) = read_forwarded(mine)
        assert next(read_forwarded(text + b", " + mine)) == alone


def test_elements_are_read_from_the_right() -> None:
    text = b'for=192.0.2.43, for="[2001:db8:cafe::17]";by=_x ,for=unknown,'
    assert list(read_sources(text)) == [None, None, V6, V4]


def test_the_error_is_one_of_the_gateways_own_and_short() -> None:
    with pytest.raises(AupgateError) as raised:
        list(read_forwarded(b"x" * 100_000))
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        pytest.param(b"192.0.2.43", [V4], id="an address"),
        pytest.param(b"2001:db8:cafe::17", [V6], id="IPv6"),
        pytest.param(
            b"192.0.2.43:80,[2001:db8:cafe::17]:80 ,\t[2001:db8:cafe::17]", [V6, V6, V4], id="ports, brackets"
        ),
        pytest.param(b"unknown, _hidden, Unknown, ", [None] * 4, id="no address"),
        pytest.param(b"", [None], id="nothing"),
    ],
)
def test_a_list_of_addresses_is_read_from_the_right(text: bytes, addresses: list[IPv4Address | None]) -> None:
    assert list(read_list(text)) == addresses


@pytest.mark.parametrize(
    "text",
    [b"x", b"010.0.0.1", b'"192.0.2.43"', b"for=192.0.2.43", b"192.0.2.43 192.0.2.44", b"\xff", b"192.0.2.43;x"],
    ids=repr,
)
def test_what_is_no_address_is_an_error(text: bytes) -> None:
    with pytest.raises(ForwardedError):
        list(read_list(text))
    with pytest.raises(ForwardedError):
        list(read_single(text))


def test_a_field_of_one_address_holds_one() -> None:
    assert list(read_single(b" 192.0.2.43:80 ")) == [V4]
    with pytest.raises(ForwardedError):
        list(read_single(b"192.0.2.43,192.0.2.43"))


PIECES = [
    b"for=", b"by=", b"proto=http", b"host=", b'"', b"\\", b",", b";", b"=", b" ", b"192.0.2.43", b"[2001:db8::1]",
    b"_x", b"unknown", b":80", b'"[::1]"', b'\\"', b"\\\\", b"\x00", b"\xe9",
]  # fmt: skip
ANYTHING = st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join))


@given(ANYTHING)
def test_any_bytes_are_read_or_are_the_one_error(text: bytes) -> None:
    for read in (read_forwarded, read_sources, read_list, read_single):
        try:
            list(read(text))
        except ForwardedError:
            continue


TOKEN = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=6)
TEXT = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=12)
EXTENSIONS = st.dictionaries(TOKEN.map(lambda name: f"x{name}".lower()), TEXT, max_size=3)


def quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


@given(st.lists(st.tuples(st.ip_addresses(), TEXT, EXTENSIONS), min_size=1, max_size=4))
def test_what_is_written_by_the_grammar_is_read_back(
    written: list[tuple[IPv4Address | IPv6Address, str, dict[str, str]]],
) -> None:
    elements = []
    for address, host, extensions in written:
        named = f"[{address}]" if address.version == 6 else str(address)
        pairs = {"for": named, "host": host, **extensions}
        elements.append(";".join(f"{name}={quoted(text)}" for name, text in pairs.items()))
    read = list(read_forwarded(", ".join(elements).encode("latin-1")))[::-1]
    assert [(each.host, dict(each.extensions)) for each in read] == [each[1:] for each in written]
    assert all(each.source is not None and each.source.address is not None for each in read)


@given(
    st.lists(st.ip_addresses().map(str), max_size=4),
    st.sampled_from(["http", "https"]),
    TEXT,
)
def test_what_the_gateway_itself_writes_is_read_back(hops: list[str], scheme: str, host: str) -> None:
    written = forwarded_value([hop.encode() for hop in hops], scheme.encode(), host.encode("latin-1"))
    client, *proxies = list(read_forwarded(written))[::-1]
    assert (client.proto, client.host) == (scheme, host)
    assert client.source is not None
    assert hops or client.source == Node(None, "unknown")
    found = [each.source.name.strip("[]") for each in (client, *proxies) if each.source]
    assert found == (hops or ["unknown"])
