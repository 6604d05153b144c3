"""Countries of addresses: what a database tells, and what is no such database."""

import sys
from pathlib import Path

import pytest
from maxminddb import InvalidDatabaseError

from aupgate import countries
from aupgate.countries import CODES, Countries
from aupgate.errors import ConfigError
from aupgate.ranges import address_of
from tests.gateway.country_databases import write_database


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_database(tmp_path_factory.mktemp("countries") / "countries.mmdb")


def of(known: Countries, text: str) -> str:
    address = address_of(text)
    assert address is not None
    return known.of(address)


def mistake(path: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        Countries(path)
    (problem,) = raised.value.problems
    return str(problem).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("address", "country"),
    [
        pytest.param("198.51.100.7", "DE", id="IPv4"),
        pytest.param("2001:db8::7", "KP", id="IPv6"),
        pytest.param("::ffff:198.51.100.7", "DE", id="IPv4 in IPv6"),
        pytest.param("203.0.113.200", "FR", id="where the network is registered, when no more is known"),
        pytest.param("192.0.2.1", "AT", id="where it is used, and not where it is registered"),
        pytest.param("2001:db9::1", "", id="a record without a country"),
        pytest.param("10.0.0.1", "", id="no record"),
    ],
)
def test_a_database_tells_the_country_of_an_address(address: str, country: str, database: Path) -> None:
    assert of(Countries(database), address) == country


def test_a_database_of_ipv4_addresses_knows_no_other(tmp_path: Path) -> None:
    known = Countries(write_database(tmp_path / "v4.mmdb", version=4))

    assert [of(known, text) for text in ("198.51.100.7", "2001:db8::7")] == ["DE", ""]


def test_what_happens_to_the_file_changes_nothing(tmp_path: Path) -> None:
    path = write_database(tmp_path / "countries.mmdb")
    known = Countries(path)

    path.write_bytes(b"")

    assert of(known, "198.51.100.7") == "DE"


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"\xab\xcd\xefMaxMind.com", b"\xab\xcd\xefMaxMind.com\xe1\x41a\x41b", b"\0" * 4096]
)
def test_a_file_that_is_no_database_is_a_mistake(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "countries.mmdb").write_bytes(content)

    assert mistake(tmp_path / "countries.mmdb") == "no database in the MaxMind DB format, or a damaged one"


def test_a_database_that_was_cut_off_is_a_mistake(database: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mmdb"
    cut.write_bytes(database.read_bytes()[:-200])

    assert mistake(cut) == "no database in the MaxMind DB format, or a damaged one"


def test_a_database_without_countries_is_a_mistake(tmp_path: Path) -> None:
    path = write_database(tmp_path / "asn.mmdb", {"192.0.2.0/24": {"autonomous_system_number": 64496}})

    assert mistake(path).startswith("holds no countries: expected records with country.iso_code")


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    assert mistake(tmp_path / "missing.mmdb") == "cannot be read: No such file or directory"


def test_a_file_that_is_too_large_is_a_mistake(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(countries, "MAX_SIZE", 100)

    assert mistake(database) == "too large: expected 0 MiB at most"


def test_without_the_package_it_says_what_to_install(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "maxminddb", None)

    assert mistake(database) == "reading it needs the package maxminddb: install aupgate[networks]"


def test_a_damaged_record_raises_and_is_no_unknown_country(tmp_path: Path) -> None:
    path = write_database(tmp_path / "countries.mmdb")
    content = path.read_bytes()
    # The record of 198.51.100.0/24 points to its country; where "DE" was, something without meaning stands now.
    path.write_bytes(content.replace(b"\x42DE", b"\x5f\xff\xff"))
    known = Countries(path)

    assert of(known, "192.0.2.1") == "AT"
    with pytest.raises(InvalidDatabaseError):
        of(known, "198.51.100.7")


def test_codes_are_those_of_the_standard() -> None:
    assert len(CODES) == 249 + 1
    assert {"DE", "GB", "KP", "US", "AX", "SS", "XK"} <= CODES
    assert CODES.isdisjoint({"UK", "EU", "AN", "SU", "XX", "AA", "ZZ"})
