"""The country of an address, from a database in the MaxMind DB format that the operator keeps."""

from collections.abc import Mapping
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aupgate.errors import ConfigError, Problem
from aupgate.ranges import Address

if TYPE_CHECKING:
    from maxminddb.reader import Reader

MAX_SIZE: Final = 512 * 2**20
"""Most bytes of a database; it is held in memory."""
PROBED: Final = 10_000
"""Networks of a database among which one with a country must be."""

_BY_FIRST: Final = {
    "A": "DEFGILMOQRSTUWXZ", "B": "ABDEFGHIJLMNOQRSTVWYZ", "C": "ACDFGHIKLMNORUVWXYZ", "D": "EJKMOZ", "E": "CEGHRST",
    "F": "IJKMOR", "G": "ABDEFGHILMNPQRSTUWY", "H": "KMNRTU", "I": "DELMNOQRST", "J": "EMOP", "K": "EGHIMNPRWYZ",
    "L": "ABCIKRSTUVY", "M": "ACDEFGHKLMNOPQRSTUVWXYZ", "N": "ACEFGILOPRUZ", "O": "M", "P": "AEFGHKLMNRSTWY",
    "Q": "A", "R": "EOSUW", "S": "ABCDEGHIJKLMNORSTVXYZ", "T": "CDFGHJKLMNORTVWZ", "U": "AGMSYZ", "V": "ACEGINU",
    "W": "FS", "X": "K", "Y": "ET", "Z": "AMW",
}  # fmt: skip
CODES: Final = frozenset(first + second for first, seconds in _BY_FIRST.items() for second in seconds)
"""The codes of ISO 3166-1 alpha-2, and XK, which databases use for Kosovo."""


class Countries:
    """A database, read whole into memory: what happens to the file afterwards changes nothing.

    Raises `ConfigError` when the file is no such database, or holds no countries.
    """

    def __init__(self, path: Path) -> None:
        self._reader = _open(path)
        self._only_ipv4 = self._reader.metadata().ip_version == 4

    def of(self, address: Address) -> str:
        """Return the code of the country that `address` is in, or else the one it is registered in, or nothing.

        Raises whatever the reader does when it meets a damaged record.
        """
        if self._only_ipv4 and address.version == 6:
            return ""
        return _code(self._reader.get(address))


def _open(path: Path) -> "Reader":
    try:
        from maxminddb import MODE_FD  # noqa: PLC0415 - an optional extra
        from maxminddb.reader import Reader  # noqa: PLC0415 - as above
    except ImportError as error:
        raise _unusable(path, "reading it needs the package maxminddb: install aupgate[networks]") from error
    try:
        reader = Reader(BytesIO(_content(path)), MODE_FD)
        if any(_code(record) for _, record in islice(reader, PROBED)):
            return reader
    except ConfigError:
        raise
    except Exception as error:  # whatever the reader makes of a file that is none
        raise _unusable(path, "no database in the MaxMind DB format, or a damaged one") from error
    raise _unusable(path, "holds no countries: expected records with country.iso_code, as in GeoLite2 Country")


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_SIZE:
        raise _unusable(path, f"too large: expected {MAX_SIZE // 2**20} MiB at most")
    return content


def _unusable(path: Path, expected: str) -> ConfigError:
    return ConfigError([Problem(str(path), None, "", "", expected)])


def _code(record: Any) -> str:
    """Return the code of the country in `record`: where the address is used, or where its network is registered."""
    if isinstance(record, Mapping):
        for place in ("country", "registered_country"):
            country = record.get(place)
            if isinstance(country, Mapping) and isinstance(code := country.get("iso_code"), str):
                return code
    return ""
