"""Keys keep apart what differs, and nobody gets a new counter by choosing a new name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.meter_keys import MAX_LENGTH, PARTS, goes_by_client, key_reader
from aupgate.model import Account, Client
from tests.gateway.scripted import a_request

KNOWN = Account("alice", "key:x-api-key", verified=True)
OWN = Account("alice", "scope:user", verified=True)
CHILD = Account("alice", "key:x-api-key", verified=True, parent="acme")
COOKIE = Account("alice", "cookie:session", verified=False)


def client(address: str) -> Client:
    return Client(address, address, address)


def key(*parts: str, **given: Any) -> str:
    return key_reader(parts)(a_request(**given))


@pytest.mark.parametrize("part", [*PARTS, "header:x-tenant"])
def test_every_part_can_be_read_from_a_bare_request(part: str) -> None:
    assert isinstance(key(part, headers=[]), str)


def test_a_client_is_its_network() -> None:
    assert key("client", client=Client("2001:db8::7", "2001:db8::/64", "10.0.0.1")) == "2001:db8::/64"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.7", "192.0.2.250", True),
        ("192.0.2.7", "192.0.3.7", False),
        ("2001:db8:1:2::/64", "2001:db8:1:ffff::/64", True),
        ("2001:db8:1:2::/64", "2001:db8:2:2::/64", False),
        ("2001:db8::/32", "2001:db8::/32", True),
        ("", "", True),
    ],
)
def test_a_network_is_what_lies_around_a_client(one: str, other: str, same: bool) -> None:
    assert (key("network", client=client(one)) == key("network", client=client(other))) is same


def test_a_verified_account_counts_alone_wherever_it_asks_from() -> None:
    assert key("account", account=KNOWN, client=client("192.0.2.7")) == key(
        "account", account=KNOWN, client=client("198.51.100.9")
    )
    assert key("account", account=KNOWN) != key("account", account=OWN)


@pytest.mark.parametrize("part", ["account", "parent"])
def test_who_is_not_verified_counts_with_the_client(part: str) -> None:
    nobody = key(part, account=None)
    assert key(part, account=COOKIE) == nobody
    assert key(part, account=Account("another", "cookie:session", verified=False)) == nobody
    assert key(part, account=COOKIE, client=client("198.51.100.9")) != nobody


def test_accounts_of_one_parent_count_together() -> None:
    sibling = Account("bob", "key:x-api-key", verified=True, parent="acme")
    assert key("parent", account=CHILD) == key("parent", account=sibling)
    assert key("parent", account=KNOWN) == key("account", account=KNOWN)


def test_an_account_cannot_be_called_like_an_address() -> None:
    impostor = Account("192.0.2.9", "key:x-api-key", verified=True)
    assert key("account", account=impostor) != key("account", client=client("192.0.2.9"))


def test_header_and_host_are_read_whatever_their_case() -> None:
    headers = [(b"host", b"App.Example"), (b"X-Tenant", b"acme")]
    assert key("header:X-Tenant", headers=headers) == "header acme"
    assert key("host", headers=headers) == "host app.example"


@given(st.lists(st.text(max_size=5), min_size=4, max_size=4))
def test_composed_keys_are_alike_only_when_every_part_is(texts: list[str]) -> None:
    path, other_path, tenant, other_tenant = texts

    def composed(path: str, tenant: str) -> str:
        headers = [(b"x-tenant", tenant.encode("utf-8"))]
        return key("path", "header:x-tenant", path=path, headers=headers)

    alike = path == other_path and tenant == other_tenant
    assert (composed(path, tenant) == composed(other_path, other_tenant)) is alike


@pytest.mark.parametrize("parts", [("path",), ("client", "path")], ids=str)
def test_long_keys_are_stored_short_and_apart(parts: tuple[str, ...]) -> None:
    keys = {key(*parts, path="/" + "a" * 5000 + end) for end in ("b", "c")}
    assert len(keys) == 2
    assert all(len(each) <= MAX_LENGTH for each in keys)


@pytest.mark.parametrize(
    ("parts", "account", "expected"),
    [
        (("client",), KNOWN, True),
        (("path", "network"), KNOWN, True),
        (("account",), KNOWN, False),
        (("account",), COOKIE, True),
        (("parent", "path"), None, True),
        (("path", "host"), None, False),
        (("header:x-tenant",), None, False),
    ],
    ids=str,
)
def test_a_key_goes_by_the_client_or_not(parts: tuple[str, ...], account: Account | None, expected: bool) -> None:
    assert goes_by_client(parts)(a_request(account=account)) is expected
