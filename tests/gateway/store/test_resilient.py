"""When the store is away: each limit as it says, and nothing is settled where it was not counted."""

from collections.abc import Sequence
from typing import Any

import pytest

from aupgate.errors import StoreUnavailableError
from aupgate.meters import Meter, MeterKind, OnFailure, Plan, Planned, Post, PostKind, Quota, Reading, Window
from aupgate.store import Done, RemoteStore
from aupgate.store.memory import MemoryStore
from aupgate.store.resilient import ResilientStore
from tests.gateway.store.contract import NOON, StoreContract, quota


class Remote:
    """A store that is away when told so, and remembers what is posted to it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.away = False
        self.posted: list[Post | Planned] = []

    async def take(self, groups: Sequence[Sequence[Meter]], now: float) -> list[Sequence[Reading]]:
        raise NotImplementedError

    def submit(self, groups: Sequence[Sequence[Meter]], now: float, done: Done) -> None:
        done(StoreUnavailableError("away") if self.away else self.store.take(groups, now))

    def post(self, posts: Sequence[Post | Planned], now: float) -> None:
        self.posted += posts
        if not self.away:
            self.store.post(posts, now)

    async def close(self) -> None:
        self.away = True


def plain(reading: Reading) -> Reading:
    """Return a reading that does not tell where it was counted."""
    meter = Meter(reading.meter.quota, reading.meter.key, reading.meter.cost, reading.meter.value)
    return Reading(meter, reading.admitted, reading.remaining, reading.reset_after, reading.retry_after)


class Awaited:
    """As the contract wants it."""

    def __init__(self, store: ResilientStore) -> None:
        self.store = store

    async def take(self, groups: Sequence[Sequence[Meter]], now: float) -> Sequence[Sequence[Reading]]:
        answered = await self.store.take(groups, now)
        return [list(map(plain, group)) for group in answered]

    async def post(self, posts: Sequence[Post | Planned], now: float) -> None:
        self.store.post(posts, now)


class TestResilientStore(StoreContract):
    def open(self) -> Awaited:
        return Awaited(ResilientStore(Remote(), MemoryStore()))


A, B = quota(1, name="a"), quota(1, name="b")


async def test_limits_differ_in_what_becomes_of_them() -> None:
    remote: Any = Remote()
    by_rule = {A.rule: OnFailure.ALLOW, "tests.strict": OnFailure.REFUSE}
    store, remote.away = ResilientStore(remote, MemoryStore(), OnFailure.LOCAL, by_rule), True
    groups = [[Meter(A, "k"), Meter(B, "k")]]
    passed = [[reading.admitted for reading in (await store.take(groups, NOON))[0]] for _ in range(2)]
    assert passed == [[True, True], [True, False]]
    with pytest.raises(StoreUnavailableError):
        await store.take([[Meter(B, "other"), Meter(Quota("tests.strict", "s", 9, 60.0), "k")]], NOON)
    assert (await store.take([[Meter(B, "other")]], NOON))[0][0].admitted  # what was refused is not counted here


async def test_what_was_counted_here_is_settled_here() -> None:
    remote: Any = Remote()
    store = ResilientStore(remote, MemoryStore())
    place = Meter(quota(1, kind=MeterKind.LEASE), "k", 1, "first")
    remote.away = True
    taken = (await store.take([[place]], NOON))[0][0]
    remote.away = False
    store.post([Post(taken.meter, PostKind.RELEASE)], NOON)
    assert remote.posted == []
    remote.away = True
    assert (await store.take([[Meter(place.quota, "k", 1, "second")]], NOON))[0][0].admitted


async def test_what_was_counted_there_is_settled_there_even_while_it_is_away() -> None:
    remote: Any = Remote()
    store = ResilientStore(remote, MemoryStore())
    planned = Planned(Plan((quota(1, kind=MeterKind.LEASE),), (0,), (1,), (1,)), ["k", "first"])
    await store.take([planned], NOON)
    remote.away = True
    store.post([planned], NOON)
    assert remote.posted == [planned]


async def test_what_was_not_counted_is_not_settled() -> None:
    remote: Any = Remote()
    store, remote.away = ResilientStore(remote, MemoryStore(), OnFailure.ALLOW), True
    taken = (await store.take([[Meter(A, "k")]], NOON))[0][0]
    assert taken.admitted
    store.post([Post(taken.meter, PostKind.ADD, -1)], NOON)
    assert remote.posted == []


async def test_what_is_measured_while_the_store_is_away_counts_here_and_there() -> None:
    remote: Any = Remote()
    store, remote.away = ResilientStore(remote, MemoryStore()), True
    volume = quota(100, name="volume", algorithm=Window.FIXED)
    await store.take([[Meter(volume, "k", 0)]], NOON)
    store.post([Post(Meter(volume, "k"), PostKind.ADD, 70)], NOON)
    assert (await store.take([[Meter(volume, "k", 0)]], NOON))[0][0].remaining == 30
    assert len(remote.posted) == 1


def test_takes_that_fell_back_are_counted() -> None:
    remote: Any = Remote()
    store, remote.away = ResilientStore(remote, MemoryStore()), True
    checked: RemoteStore = store
    checked.submit([[Meter(A, "k")]], NOON, lambda answer: None)
    (family,) = store.families()
    assert dict(family.samples)[("local",)] == 1
