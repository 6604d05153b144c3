"""The tables of fields that clients must not set."""

import pytest

from aupgate.fields import fold
from aupgate.spoofable import FORWARDING, IDENTITY, OVERRIDE, OWN

ALL = [*FORWARDING, *IDENTITY, *OVERRIDE, *OWN]


@pytest.mark.parametrize("name", ALL)
def test_every_name_is_written_folded(name: str) -> None:
    bare = name.removesuffix("-*")
    assert fold(bare.encode()) == bare.encode()
    assert "*" not in bare


def test_no_name_is_in_two_tables() -> None:
    assert len(ALL) == len(set(ALL))


def test_no_field_that_browsers_and_applications_use_is_listed() -> None:
    ordinary = {
        "accept", "authorization", "connection", "cookie", "host", "origin", "referer", "user-agent", "via",
        "x-api-key", "x-csrf-token", "x-requested-with", "x-correlation-id", "x-user-id", "x-auth-token", "x-auth-user",
    }  # fmt: skip
    assert not ordinary & set(ALL)
    prefixes = tuple(name.removesuffix("*") for name in ALL if name.endswith("-*"))
    assert not [name for name in ordinary if name.startswith(prefixes)]
