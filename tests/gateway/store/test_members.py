"""Counters that know what they count hold no more of it than they need."""

import pytest

from aupgate.meters import Meter, MeterKind, Post, PostKind
from aupgate.store.memory import MemoryStore
from tests.gateway.store.contract import NOON, quota


@pytest.mark.parametrize("kind", [MeterKind.DISTINCT, MeterKind.LEASE], ids=str)
def test_what_stands_under_a_key_counts_towards_the_bound(kind: MeterKind) -> None:
    store = MemoryStore(1000)
    for number in range(3000):
        store.take([[Meter(quota(1_000_000, kind=kind), f"key{number % 7}", 1, str(number))]], NOON)
        assert len(store) <= 1000


def test_released_leases_leave_nothing_behind() -> None:
    store = MemoryStore()
    meters = [Meter(quota(9, kind=MeterKind.LEASE), f"client{n % 10}", 1, str(n)) for n in range(50)]
    store.take([[meter] for meter in meters], NOON)
    store.post([Post(meter, PostKind.RELEASE) for meter in meters], NOON)
    assert len(store) == 0


@pytest.mark.parametrize("kind", [MeterKind.DISTINCT, MeterKind.LEASE], ids=str)
def test_a_tally_keeps_one_more_than_its_limit(kind: MeterKind) -> None:
    store = MemoryStore()
    tally = quota(5, kind=kind, gate=False)
    readings = [store.take([[Meter(tally, "k", 1, str(number))]], NOON)[0][0] for number in range(50)]
    assert readings[-1].remaining == -1
    assert len(store) == 1 + 6


def test_a_value_may_be_any_text() -> None:
    store = MemoryStore()
    pages = quota(1, kind=MeterKind.DISTINCT)
    passed = [store.take([[Meter(pages, "k", 1, value)]], NOON)[0][0].admitted for value in ("\udcff", "\udcff", "ÿ")]
    assert passed == [True, True, False]


def test_leases_that_expired_make_room_even_when_a_refusal_left_them_out_of_order() -> None:
    store = MemoryStore()
    places, full = quota(2, kind=MeterKind.LEASE), Meter(quota(0, name="full"), "k")
    first, second, third = (Meter(places, "k", 1, holder) for holder in "abc")
    store.take([[first]], NOON)
    store.take([[second]], NOON + 30)
    store.take([[first, full]], NOON + 40)  # refused: the renewal is taken back
    assert not store.take([[third]], NOON + 59)[0][0].admitted
    assert store.take([[third]], NOON + 60)[0][0].admitted
