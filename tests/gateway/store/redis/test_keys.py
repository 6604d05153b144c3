"""Keys: short, never mixed up, and of one slot where they are of one subject."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from aupgate.meters import Quota, Settle
from aupgate.store.redis.keys import quota_id, subject_part


def composed(*parts: str) -> str:
    """Make a key as limits do of several parts."""
    return "".join(f"{len(part)}:{part}" for part in parts)


@pytest.mark.parametrize("subject", ["198.51.100.7/32", "2001:db8::/64", "account jwt:sub a", "{", "x" * 60])
def test_what_begins_with_one_subject_shares_a_slot(subject: str) -> None:
    keys = [subject_part(subject), subject_part(composed(subject, "path /x")), subject_part(composed(subject, "}{"))]
    assert len({key_slot(key + b"quota") for key in keys}) == 1
    assert len(set(keys)) == 3


@given(st.text(max_size=200), st.text(max_size=200))
def test_different_keys_stay_different_and_all_are_short(one: str, other: str) -> None:
    assert (subject_part(one) == subject_part(other)) == (one == other)
    assert len(subject_part(one)) <= 100


def test_quotas_share_counters_only_when_they_differ_in_nothing_but_how_they_settle() -> None:
    same = quota_id(Quota("r", "n", 1, 60.0))
    assert quota_id(Quota("r", "n", 1, 60.0, settle=Settle(refund_unless=lambda _: True))) == same
    assert len({same, *(quota_id(Quota("r", "n", 1, 60.0, gate=gate)) for gate in (True, False))}) == 2
    assert quota_id(Quota("r", "n", 2, 60.0)) != same
