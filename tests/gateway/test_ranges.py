"""Ranges of addresses: what may stand in a list, what is wrong with a file, and which range holds an address."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aupgate import ranges
from aupgate.errors import ConfigError
from aupgate.ranges import MAX_PROBLEMS, Network, Ranges, address_of, parse_range, read_ranges

NETWORKS = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32", "2001:db8:0:1::/64", "::1"]
KNOWN = Ranges(parse_range(text) for text in NETWORKS)


def narrowest(known: Ranges, text: str) -> int:
    address = address_of(text)
    assert address is not None
    return known.narrowest(address)


def written(folder: Path, content: bytes | str) -> Path:
    path = folder / "list.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def mistakes(path: Path, **options: int) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read_ranges(path, **options)
    return [str(problem).removeprefix(str(path)) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("address", "length"),
    [
        ("10.1.2.3", 32), ("10.1.2.4", 16), ("10.2.0.0", 8), ("11.0.0.0", 0), ("255.255.255.255", 0),
        ("2001:db8:0:1::7", 64), ("2001:db8::7", 32), ("2001:db9::", -1), ("::1", 128), ("::2", -1),
        ("::ffff:10.1.2.3", 32), ("::ffff:10.1.2.4", 16),
    ],
)  # fmt: skip
def test_the_narrowest_range_that_holds_an_address_is_found(address: str, length: int) -> None:
    assert narrowest(KNOWN, address) == length


def test_no_range_holds_anything_when_there_is_none() -> None:
    assert (len(Ranges()), narrowest(Ranges(), "10.0.0.1"), narrowest(Ranges(), "::1")) == (0, -1, -1)


@pytest.mark.parametrize(("mapped", "plain"), [("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("::ffff:10.0.0.1", "10.0.0.1")])
def test_a_range_of_mapped_addresses_is_the_ipv4_range_that_it_is(mapped: str, plain: str) -> None:
    assert parse_range(mapped) == parse_range(plain)
    assert len(Ranges.of([ip_network(mapped), ip_network(plain)])) == 1


networks = st.one_of(
    st.builds(
        lambda address, length: ip_network((address, length), strict=False),
        st.builds(IPv4Address, st.integers(0, 2**32 - 1)), st.integers(0, 32),
    ),
    st.builds(
        lambda address, length: ip_network((address, length), strict=False),
        st.builds(IPv6Address, st.integers(0, 2**128 - 1)), st.integers(0, 128),
    ),
)  # fmt: skip


@given(st.lists(networks, min_size=1), st.data())
def test_it_agrees_with_looking_at_every_network(known: list[Network], data: st.DataObject) -> None:
    # What is mapped is the IPv4 range, as shown above.
    assume(all(each.version == 4 or each.network_address.ipv4_mapped is None for each in known))
    network = data.draw(st.sampled_from(known))
    last = int(network.broadcast_address)
    number = data.draw(st.integers(int(network.network_address), last))
    address = IPv4Address(number) if network.version == 4 else IPv6Address(number)

    holding = [each.prefixlen for each in known if each.version == address.version and address in each]
    assert Ranges.of(known).narrowest(address) == max(holding)


@given(networks)
def test_every_network_can_be_written_in_a_list(network: Network) -> None:
    assert len(Ranges([parse_range(str(network))])) == 1
    assert Ranges([parse_range(str(network))]).narrowest(network.network_address) == network.prefixlen


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:DB8::1", "2001:db8::1"),
        ("", None), ("testclient", None), ("192.0.2", None), ("192.0.2.1:80", None),
    ],
)  # fmt: skip
def test_an_address_is_one_or_none(text: str, address: str | None) -> None:
    assert address_of(text) == (None if address is None else ip_address(address))


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("192.0.2.1\n198.51.100.0/24\n2001:db8::/32\n", id="one a line"),
        pytest.param("192.0.2.1\r\n198.51.100.0/24\r\n2001:db8::/32", id="CR LF, and none at the end"),
        pytest.param("\ufeff# ours\n\n 192.0.2.1 # office\n\t198.51.100.0/24;SBL1\n; v6\n2001:db8::/32", id="comments"),
        pytest.param(b"# caf\xe9\n192.0.2.1\n198.51.100.0/24\n2001:db8::/32\n", id="a comment that is no UTF-8"),
        pytest.param("192.0.2.1\n" * 3 + "198.51.100.0/24\n2001:db8::/32\n", id="some several times"),
    ],
)
def test_a_file_holds_a_range_a_line_and_comments(content: bytes | str, tmp_path: Path) -> None:
    known = read_ranges(written(tmp_path, content))

    assert len(known) == 3
    assert [narrowest(known, text) for text in ("192.0.2.1", "198.51.100.9", "2001:db8::9", "192.0.2.2")] == [
        32, 24, 32, -1,
    ]  # fmt: skip


def test_a_file_may_hold_nothing_but_a_comment(tmp_path: Path) -> None:
    assert len(read_ranges(written(tmp_path, "# none at present\n"))) == 0


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2", "192.0.2.256", "010.0.0.1", "0x7f.1", "10.1", "192.0.2.1:80", "[::1]", "fe80::1%eth0", "example.com",
        "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/255.0.0.0", "10.0.0.0/٨", "::/129",
        "10.0.0.0/8/8", "10.0.0.0 - 10.0.0.9", "192.0.2.1 192.0.2.2", "\ufffd",
    ],
)  # fmt: skip
def test_what_is_no_range_is_a_mistake(text: str, tmp_path: Path) -> None:
    (mistake,) = mistakes(written(tmp_path, f"192.0.2.1\n{text}\n"))

    assert mistake.startswith(f':2: "{text}": expected an address or a network, such as "192.0.2.7"')


@pytest.mark.parametrize(
    ("text", "network"), [("10.0.0.1/8", "10.0.0.0/8"), ("2001:db8::1/32", "2001:db8::/32"), ("1.2.3.4/0", "0.0.0.0/0")]
)
def test_bits_behind_the_prefix_are_a_mistake_and_not_guessed_at(text: str, network: str, tmp_path: Path) -> None:
    alone = text.partition("/")[0]

    assert mistakes(written(tmp_path, text)) == [
        f':1: "{text}": bits are set behind the prefix: expected "{network}" or "{alone}"'
    ]


def test_every_mistake_in_a_file_is_reported_with_its_line(tmp_path: Path) -> None:
    found = mistakes(written(tmp_path, "nonsense\n192.0.2.1\n# fine\n10.0.0.1/8\n"))

    assert [mistake.split(":")[1] for mistake in found] == ["1", "4"]


def test_the_report_has_an_end(tmp_path: Path) -> None:
    found = mistakes(written(tmp_path, "nonsense\n" * 10_000))

    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1] == f":{MAX_PROBLEMS + 1}: {MAX_PROBLEMS} mistakes before this line, nothing behind it was read"


def test_a_file_without_a_byte_is_a_mistake_as_after_a_download_that_failed(tmp_path: Path) -> None:
    assert mistakes(written(tmp_path, "")) == [
        ": the file is empty: write a comment into it when it is meant to hold nothing"
    ]


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "missing.txt") == [": cannot be read: No such file or directory"]


def test_a_file_with_too_many_entries_is_a_mistake(tmp_path: Path) -> None:
    path = written(tmp_path, "192.0.2.1\n192.0.2.2\n192.0.2.3\n")

    assert len(read_ranges(path, most=3)) == 3
    assert mistakes(path, most=2) == [":3: too many entries: expected 2 more at most, all files together"]


def test_a_file_that_is_too_large_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "MAX_SIZE", 2**20)

    assert mistakes(written(tmp_path, b"#" * (2**20 + 1))) == [": too large: expected 1 MiB at most"]
