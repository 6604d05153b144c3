"""Who sent a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.fields import Fields
from aupgate.identity.clients import ClientResolver, forwarded_scheme

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
    ],
)
def test_the_scheme_is_what_a_trusted_proxy_says(peer: str, said: tuple[bytes, bytes], scheme: str | None) -> None:
    headers = [*forwarded("198.51.100.7"), said]
    client = ClientResolver(PROXIES).resolve(peer, Fields(headers))
    assert forwarded_scheme(client, Fields(headers)) == scheme


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


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=30), max_size=5), st.ip_addresses(v=4).map(str))
def test_the_client_is_never_an_address_left_of_the_last_untrusted_hop(chosen: list[str], address: str) -> None:
    resolver = ClientResolver(["10.0.0.0/8"])
    if address.startswith("10."):
        return
    chain = ", ".join([*(text.replace(",", "") for text in chosen), address])
    assert resolver.resolve("10.0.0.1", Fields(forwarded(chain))).address == address


def test_the_cache_of_peers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aupgate.identity.clients.MAX_PEERS", 10)
    resolver = ClientResolver([])
    for number in range(100):
        assert resolver.resolve(f"198.51.100.{number}", Fields([])).address == f"198.51.100.{number}"
    assert len(resolver._peers) <= 10
