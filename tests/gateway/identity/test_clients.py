"""Who sent a request."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.fields import Fields
from aupgate.identity.addresses import parse_address
from aupgate.identity.clients import LONGEST, MAX_HOPS, ClientResolver, forwarded_scheme
from aupgate.memory import MOST

PROXIES = ["10.0.0.0/8", "fd00::/8", "203.0.113.9"]


def forwarded(*values: str, name: str = "x-forwarded-for") -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for value in values]


@pytest.mark.parametrize(
    ("peer", "headers", "address"),
    [
        pytest.param("198.51.100.1", [], "198.51.100.1", id="direct"),
        pytest.param("198.51.100.1", forwarded("1.1.1.1"), "198.51.100.1", id="a stranger's word counts for nothing"),
        pytest.param("10.0.0.1", forwarded("198.51.100.7"), "198.51.100.7", id="one proxy"),
        pytest.param(
            "10.0.0.1", forwarded("1.1.1.1, 198.51.100.7"), "198.51.100.7", id="what the client prepended is not read"
        ),
        pytest.param("10.0.0.1", forwarded("198.51.100.7, 10.0.0.2"), "198.51.100.7", id="two proxies"),
        pytest.param(
            "10.0.0.1", forwarded("198.51.100.7", "203.0.113.9"), "198.51.100.7", id="several fields are one list"
        ),
        pytest.param("10.0.0.1", forwarded("198.51.100.7, garbage"), "10.0.0.1", id="a malformed entry ends the walk"),
        pytest.param("10.0.0.1", forwarded("198.51.100.7, garbage, 10.0.0.2"), "10.0.0.2", id="as far as it is sound"),
        pytest.param("10.0.0.1", [], "10.0.0.1", id="the proxy itself"),
        pytest.param("10.0.0.1", forwarded("10.0.0.3, 10.0.0.2"), "10.0.0.3", id="proxies all the way"),
        pytest.param("10.0.0.1", forwarded("198.51.100.7:4711"), "198.51.100.7", id="with a port"),
        pytest.param("10.0.0.1", forwarded("[2001:db8::7]:4711"), "2001:db8::7", id="IPv6 with a port"),
        pytest.param("::ffff:10.0.0.1", forwarded("::ffff:198.51.100.7"), "198.51.100.7", id="IPv4-mapped is folded"),
        pytest.param("fd00::1", forwarded("2001:DB8::7"), "2001:db8::7", id="one spelling of an address"),
        pytest.param(
            "10.0.0.1", forwarded("198.51.100.7", name="X-Forwarded-For"), "198.51.100.7", id="any case of the name"
        ),
        pytest.param(None, [], "", id="a unix socket"),
        pytest.param(None, forwarded("1.1.1.1, 198.51.100.7"), "198.51.100.7", id="a proxy on a unix socket"),
        pytest.param(
            "10.0.0.1", forwarded('for="[2001:db8::7]:80"', name="forwarded"), "10.0.0.1", id="not the source"
        ),
    ],
)
def test_the_client_is_the_first_address_that_no_trusted_proxy_owns(
    peer: str | None, headers: list[tuple[bytes, bytes]], address: str
) -> None:
    assert ClientResolver(PROXIES).resolve(peer, Fields(headers)).address == address


def test_the_hops_are_the_trusted_proxies_in_between() -> None:
    client = ClientResolver(PROXIES).resolve(
        "10.0.0.1", Fields(forwarded("6.6.6.6, 198.51.100.7, 203.0.113.9, 10.0.0.2"))
    )
    assert (client.address, client.peer, client.hops) == (
        "198.51.100.7",
        "10.0.0.1",
        ("203.0.113.9", "10.0.0.2", "10.0.0.1"),
    )


@pytest.mark.parametrize(
    ("peer", "prefix", "network"),
    [
        ("198.51.100.1", 64, "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3:4:5:6", 48, "2001:db8:1::/48"),
        ("::ffff:198.51.100.1", 64, "198.51.100.1"),
    ],
)
def test_limits_count_by_address_or_by_ipv6_prefix(peer: str, prefix: int, network: str) -> None:
    assert ClientResolver([], ipv6_prefix=prefix).resolve(peer, Fields([])).network == network


@pytest.mark.parametrize(
    ("trusted", "peer", "headers", "certain"),
    [
        pytest.param(None, "10.0.0.1", forwarded("1.1.1.1"), False, id="unset, private peer, forwarding header"),
        pytest.param(None, "127.0.0.1", forwarded("1.1.1.1", name="forwarded"), False, id="unset, loopback, Forwarded"),
        pytest.param(None, "10.0.0.1", [], True, id="unset, private peer, no forwarding header"),
        pytest.param(None, "8.8.8.8", forwarded("1.1.1.1"), True, id="unset, public peer"),
        pytest.param([], "10.0.0.1", forwarded("1.1.1.1"), True, id="the gateway is the edge"),
        pytest.param(["10.0.0.0/8"], "192.168.0.1", forwarded("1.1.1.1"), True, id="proxies are configured"),
    ],
)
def test_the_client_is_uncertain_only_where_an_unconfigured_proxy_is_likely(
    trusted: list[str] | None, peer: str, headers: list[tuple[bytes, bytes]], certain: bool
) -> None:
    assert ClientResolver(trusted).resolve(peer, Fields(headers)).certain is certain


@pytest.mark.parametrize(
    ("peer", "said", "scheme"),
    [
        pytest.param("10.0.0.1", (b"x-forwarded-proto", b"https"), "https", id="a trusted proxy"),
        pytest.param("10.0.0.1", (b"x-forwarded-proto", b"HTTPS, http"), "http", id="the nearest of one hop"),
        pytest.param("10.0.0.1", (b"forwarded", b'for=198.51.100.7;proto="https"'), "https", id="Forwarded"),
        pytest.param("10.0.0.1", (b"x-forwarded-proto", b"gopher"), None, id="no scheme of the web"),
        pytest.param("198.51.100.1", (b"x-forwarded-proto", b"https"), None, id="a stranger's word"),
        pytest.param(
            "10.0.0.1", (b"forwarded", b"proto=https, for=_x;proto=http"), "http", id="Forwarded, the nearest"
        ),
        pytest.param("10.0.0.1", (b"forwarded", b'host=", proto=http";PROTO=https'), "https", id="Forwarded, quoted"),
        pytest.param("10.0.0.1", (b"forwarded", b'proto=https, host="'), None, id="Forwarded, malformed"),
        pytest.param("10.0.0.1", (b"forwarded", b"for=198.51.100.7"), None, id="Forwarded, no scheme"),
        pytest.param("10.0.0.1", (b"accept", b"*/*"), None, id="nothing is said"),
    ],
)
def test_the_scheme_is_what_a_trusted_proxy_says(peer: str, said: tuple[bytes, bytes], scheme: str | None) -> None:
    headers = [*forwarded("198.51.100.7"), said]
    client = ClientResolver(PROXIES).resolve(peer, Fields(headers))
    assert forwarded_scheme(client, Fields(headers)) == scheme


@pytest.mark.parametrize(("listed", "said"), [(b"https", b"proto=http"), (b"http", b"proto=https")])
def test_where_two_headers_disagree_the_scheme_is_not_taken_for_secure(listed: bytes, said: bytes) -> None:
    """A proxy that writes one of them may pass on the other from the client."""
    headers = [*forwarded("198.51.100.7"), (b"x-forwarded-proto", listed), (b"forwarded", said)]
    client = ClientResolver(PROXIES).resolve("10.0.0.1", Fields(headers))
    assert forwarded_scheme(client, Fields(headers)) == "http"


def test_forwarded_can_be_the_source() -> None:
    resolver = ClientResolver(PROXIES, source="forwarded")
    said = 'for=6.6.6.6, for="[2001:DB8::7]:4711";proto=https, for=10.0.0.2'
    assert resolver.resolve("10.0.0.1", Fields(forwarded(said, name="forwarded"))).address == "2001:db8::7"
    hidden = "for=6.6.6.6, for=_hidden"
    assert resolver.resolve("10.0.0.1", Fields(forwarded(hidden, name="forwarded"))).address == "10.0.0.1"


def test_another_header_can_carry_the_address() -> None:
    resolver = ClientResolver(PROXIES, source="cf-connecting-ip")
    assert (
        resolver.resolve("10.0.0.1", Fields(forwarded("198.51.100.7", name="cf-connecting-ip"))).address
        == "198.51.100.7"
    )
    assert resolver.resolve("10.0.0.1", Fields(forwarded("198.51.100.7"))).address == "10.0.0.1"


ENTRIES = {"x-forwarded-for": "{}", "forwarded": "for={}", "x-real-ip": "{}"}


@pytest.mark.parametrize(
    ("source", "values", "address", "found"),
    [
        pytest.param("x-forwarded-for", [], "10.0.0.1", False, id="no header"),
        pytest.param("x-forwarded-for", ["10.0.0.3, 10.0.0.2"], "10.0.0.3", False, id="proxies all the way"),
        pytest.param("x-forwarded-for", ["6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2", False, id="unknown"),
        pytest.param("x-forwarded-for", ["6.6.6.6, _hidden"], "10.0.0.1", False, id="obfuscated"),
        pytest.param("x-forwarded-for", ["6.6.6.6, "], "10.0.0.1", False, id="an empty entry"),
        pytest.param("x-forwarded-for", ["6.6.6.6, 010.0.0.2"], "10.0.0.1", True, id="an octal address"),
        pytest.param("x-forwarded-for", ["6.6.6.6, x", "10.0.0.2"], "10.0.0.2", True, id="garbage"),
        pytest.param("forwarded", ["for=6.6.6.6, proto=https, for=10.0.0.2"], "10.0.0.2", False, id="no for"),
        pytest.param("forwarded", ["for=6.6.6.6, for=_x, for=10.0.0.2"], "10.0.0.2", False, id="Forwarded, obfuscated"),
        pytest.param("forwarded", ["for=6.6.6.6, for=7.7.7.7;for=8.8.8.8"], "10.0.0.1", True, id="for said twice"),
        pytest.param("forwarded", ['for=6.6.6.6, for="10.0.0.2'], "10.0.0.1", True, id="a quote without end"),
        pytest.param("x-real-ip", [], "10.0.0.1", False, id="one address, missing"),
        pytest.param("x-real-ip", ["6.6.6.6", "198.51.100.7"], "10.0.0.1", True, id="one address, two fields"),
        pytest.param("x-real-ip", ["6.6.6.6, 198.51.100.7"], "10.0.0.1", True, id="one address, a list"),
        pytest.param("x-real-ip", ["10.0.0.9"], "10.0.0.9", False, id="one address, a proxy's"),
    ],
)
def test_where_a_trusted_proxy_names_nobody_it_is_not_certain_who_the_client_is(
    source: str, values: list[str], address: str, found: bool
) -> None:
    client = ClientResolver(PROXIES, source=source).resolve("10.0.0.1", Fields(forwarded(*values, name=source)))
    assert (client.address, client.certain, bool(client.fault)) == (address, False, found)
    assert not found or client.fault.startswith(f"{source}: ")


@pytest.mark.parametrize("source", ENTRIES)
def test_a_client_that_is_named_is_certain(source: str) -> None:
    said = forwarded(ENTRIES[source].format("198.51.100.7"), name=source)
    client = ClientResolver(PROXIES, source=source).resolve("10.0.0.1", Fields(said))
    assert (client.address, client.certain, client.fault) == ("198.51.100.7", True, "")


def test_a_trusted_proxy_is_known_by_any_spelling_of_its_address() -> None:
    said = Fields(forwarded("198.51.100.7"))
    for trusted in (["192.0.2.1"], ["::ffff:192.0.2.0/120"]):
        for peer in ("192.0.2.1", "::ffff:192.0.2.1"):
            client = ClientResolver(trusted).resolve(peer, said)
            assert (client.address, client.hops) == ("198.51.100.7", ("192.0.2.1",))
    assert ClientResolver(["fe80::/64"]).resolve("fe80::1%eth0", said).hops == ("fe80::1",)


def test_a_chain_is_read_as_far_as_its_bound() -> None:
    long = ", ".join(["198.51.100.7", *["10.0.0.2"] * MAX_HOPS])
    client = ClientResolver(PROXIES).resolve("10.0.0.1", Fields(forwarded(long)))
    assert (client.address, client.certain, len(client.hops)) == ("10.0.0.2", False, MAX_HOPS)


CHOSEN = st.one_of(
    st.binary(max_size=40),
    st.lists(
        st.sampled_from([b"6.6.6.6", b"for=", b"for=6.6.6.6", b"10.0.0.9", b"for=10.0.0.9", b'"', b"\\", b",", b", ",
                         b";", b"[6::6]", b"6::6", b"unknown", b"proto=", b"=", b":80"]),
        max_size=12,
    ).map(b"".join),
)  # fmt: skip
UNTRUSTED = st.ip_addresses().map(lambda address: str(parse_address(str(address)))).filter(lambda text: not owned(text))
TRUSTED = st.sampled_from(["10.0.0.2", "fd00::2", "203.0.113.9", "10.255.255.255"])


def owned(text: str) -> bool:
    return any(ip_address(text) in ip_network(network) for network in PROXIES)


def written(source: str, address: str, port: str) -> bytes:
    """Return what a proxy writes of a peer."""
    bracketed = f"[{address}]" if ":" in address else address
    if source == "forwarded":
        return f'for="{bracketed}{port}"'.encode()
    return f"{bracketed}{port}".encode() if port else address.encode()


@given(st.data())
@pytest.mark.parametrize("source", ["x-forwarded-for", "forwarded"])
def test_the_client_is_never_an_address_that_it_chose_beyond_the_last_untrusted_hop(
    source: str, data: st.DataObject
) -> None:
    client, proxies = data.draw(UNTRUSTED), data.draw(st.lists(TRUSTED, max_size=4))
    fields = data.draw(st.lists(CHOSEN, max_size=3))
    for peer in (client, *proxies):
        entry = written(source, peer, data.draw(st.sampled_from(["", ":4711"])))
        joined = data.draw(st.sampled_from([b",", b", ", b""]))
        if fields and joined:
            fields[-1] += joined + entry
        else:
            fields.append(entry)
    found = ClientResolver(PROXIES, source=source).resolve("10.0.0.1", Fields([(source.encode(), f) for f in fields]))
    assert (found.address, found.certain, found.fault) == (client, True, "")
    assert found.hops == (*proxies, "10.0.0.1")


@given(st.lists(CHOSEN, max_size=3), UNTRUSTED, st.booleans())
def test_where_one_address_is_written_the_client_is_never_one_that_it_chose(
    chosen: list[bytes], client: str, replaces: bool
) -> None:
    """A proxy replaces what the client sent; one that only adds its own makes it malformed, and nobody's word holds."""
    fields = [(b"x-real-ip", text) for text in ([] if replaces else chosen)] + [(b"x-real-ip", client.encode())]
    found = ClientResolver(PROXIES, source="x-real-ip").resolve("10.0.0.1", Fields(fields))
    if len(fields) == 1:
        assert (found.address, found.certain) == (client, True)
    else:
        assert (found.address, found.certain, bool(found.fault)) == ("10.0.0.1", False, True)


@given(st.lists(CHOSEN, max_size=4), st.sampled_from([*ENTRIES, "cf-connecting-ip"]), UNTRUSTED)
def test_who_connects_directly_is_who_the_socket_says(chosen: list[bytes], source: str, client: str) -> None:
    fields = Fields([(source.encode(), text) for text in chosen])
    found = ClientResolver(PROXIES, source=source).resolve(client, fields)
    assert (found.address, found.certain, found.hops) == (client, True, ())


@given(st.lists(CHOSEN, max_size=4), st.sampled_from([*ENTRIES]))
def test_whatever_a_proxy_passes_on_resolving_never_fails(chosen: list[bytes], source: str) -> None:
    found = ClientResolver(PROXIES, source=source).resolve("10.0.0.1", Fields([(source.encode(), f) for f in chosen]))
    assert found.certain is not owned(found.address)
    forwarded_scheme(found, Fields([(b"forwarded", text) for text in chosen]))


def test_what_proxies_say_is_remembered_within_a_bound() -> None:
    resolver = ClientResolver(PROXIES)
    for number in range(5000):
        said = forwarded(f"198.51.{number >> 8}.{number & 255}")
        resolver.resolve("10.0.0.1", Fields(said))
        resolver.resolve("10.0.0.1", Fields(forwarded(f"198.51.100.7, {number}" + "x" * LONGEST)))
    assert len(resolver._behind) <= MOST


def test_the_cache_of_peers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aupgate.identity.clients.MAX_PEERS", 10)
    resolver = ClientResolver([])
    for number in range(100):
        assert resolver.resolve(f"198.51.100.{number}", Fields([])).address == f"198.51.100.{number}"
    assert len(resolver._peers) <= 10
