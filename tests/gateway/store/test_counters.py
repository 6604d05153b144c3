"""Counters are bounded, expire, and survive a clock that jumps."""

import pytest

from aupgate.meters import Meter, Window
from aupgate.store.memory import MemoryStore
from tests.gateway.store.contract import NOON, quota


def take(store: MemoryStore, meter: Meter, now: float) -> bool:
    return store.take([[meter]], now)[0][0].admitted


@pytest.mark.parametrize("algorithm", list(Window), ids=str)
def test_a_flood_of_keys_fills_no_more_than_the_bound(algorithm: Window) -> None:
    store = MemoryStore(1000)
    for number in range(5000):
        assert take(store, Meter(quota(algorithm=algorithm), f"client{number}"), NOON)
        assert len(store) <= 1000
    assert store.evicted >= 4000


def test_a_flood_of_keys_leaves_a_client_at_its_limit_where_it_is() -> None:
    store = MemoryStore(1000)
    meter = Meter(quota(5), "client")
    while take(store, meter, NOON):
        pass
    for number in range(5000):
        take(store, Meter(meter.quota, f"flood{number}"), NOON)
    assert not take(store, meter, NOON)


def test_a_flood_on_one_limit_leaves_the_others_alone() -> None:
    store = MemoryStore(1000)
    for number in range(100):
        take(store, Meter(quota(2, name="quiet"), f"client{number}"), NOON)
    for number in range(5000):
        take(store, Meter(quota(name="flooded"), f"flood{number}"), NOON)
    left = [store.take([[Meter(quota(2, name="quiet"), f"client{n}", 0)]], NOON)[0][0].remaining for n in range(100)]
    assert left == [1] * 100


def test_what_expired_goes_before_anything_that_counts() -> None:
    store = MemoryStore(1000)
    for number in range(900):
        take(store, Meter(quota(9, 1.0, name="brief"), f"client{number}"), NOON)
    for number in range(900):
        take(store, Meter(quota(9, 3600.0, name="lasting"), f"client{number}"), NOON + 10)
    assert store.evicted == 0
    assert len(store) <= 1000


def test_expired_counters_are_freed_while_others_are_taken() -> None:
    store = MemoryStore(100_000)
    for number in range(5000):
        take(store, Meter(quota(9, 1.0), f"client{number}"), NOON)
    for number in range(300):
        take(store, Meter(quota(9, 1.0), "client"), NOON + 10 + number / 1000)
    assert len(store) == 1


def test_a_clock_that_was_set_back_by_hours_does_not_freeze_the_counters() -> None:
    store = MemoryStore()
    meter = Meter(quota(1), "k")
    assert take(store, meter, NOON + 86_400)
    assert take(store, meter, NOON)
    assert not take(store, meter, NOON)
