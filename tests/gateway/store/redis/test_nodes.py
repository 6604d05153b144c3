"""A cluster: what is on one node is exact, what is on several is never more than the limit, and moves are followed."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.crc import key_slot

from aupgate.errors import StoreError
from aupgate.meters import Meter, MeterKind, Plan, Planned, Post, PostKind, Quota, Window
from aupgate.store.redis.link import LinkState
from aupgate.store.redis.store import RedisStore
from tests.gateway.store.redis.clusters import Cluster, run_cluster

LIMIT = 500


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with run_cluster() as running:
        yield running


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[RedisStore]:
    opened = RedisStore(cluster.url, timeout=5)
    yield opened
    await opened.close()


def rate(name: str, limit: int = LIMIT) -> Quota:
    return Quota("tests.cluster", name, limit, 86400.0, algorithm=Window.FIXED)


async def test_meters_of_one_subject_are_exact(store: RedisStore) -> None:
    plan = Plan((rate("by client"), rate("wide", 10**6)), (0, 1), (1, 1))

    async def takers() -> int:
        taken = [
            (await store.take([Planned(plan, ["198.51.100.7/32", "15:198.51.100.7/322:/x"])], 0.0))[0]
            for _ in range(20)
        ]
        return sum(all(reading.admitted for reading in each) for each in taken)

    assert sum(await asyncio.gather(*[takers() for _ in range(40)])) == LIMIT


async def test_meters_on_several_nodes_never_admit_more_and_hardly_less(store: RedisStore) -> None:
    one, many = rate("one"), rate("many", 10**6)

    async def takers(number: int) -> int:
        groups = [[Meter(one, "shared"), Meter(many, f"client{number}-{turn}")] for turn in range(20)]
        taken = [(await store.take([group], 0.0))[0] for group in groups]
        return sum(all(reading.admitted for reading in each) for each in taken)

    admitted = sum(await asyncio.gather(*[takers(number) for number in range(40)]))
    assert 0.99 * LIMIT <= admitted <= LIMIT


async def test_what_one_node_refuses_is_taken_back_on_the_others(store: RedisStore) -> None:
    full, open_ = Meter(rate("full", 1), "a"), [Meter(rate("open", 9), f"k{n}") for n in range(6)]
    place = Meter(Quota("tests.cluster", "place", 1, 60.0, MeterKind.LEASE), "p", 1, "holder")
    nonce = Meter(Quota("tests.cluster", "nonce", 1, 60.0, MeterKind.ONCE), "n")
    await store.take([[full]], 0.0)
    refused = (await store.take([[full, *open_, place, nonce]], 0.0))[0]
    assert [reading.admitted for reading in refused] == [False] + [True] * 8
    assert [reading.remaining for reading in refused[1:7]] == [9] * 6
    await store.drain()
    peeks = (await store.take([[Meter(each.quota, each.key, 0) for each in [*open_, nonce]]], 0.0))[0]
    assert [reading.remaining for reading in peeks] == [9] * 6 + [1]
    other = Meter(place.quota, "p", 1, "other")
    assert (await store.take([[other]], 0.0))[0][0].admitted
    store.post([Post(other, PostKind.RELEASE)], time.time())


async def test_a_slot_that_moved_is_followed(cluster: Cluster, store: RedisStore) -> None:
    meter = Meter(rate("moved"), "moved client")
    await store.take([[meter]], 0.0)
    slot = key_slot(store._commands.key(meter))
    owner = slot // -(-16384 // 3)
    target = (owner + 1) % 3
    identity = [cluster.ask(node, "CLUSTER", "MYID").strip() for node in range(3)]
    cluster.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", identity[owner])
    cluster.ask(owner, "CLUSTER", "SETSLOT", slot, "MIGRATING", identity[target])
    key = store._commands.key(meter).decode()
    cluster.ask(owner, "MIGRATE", "127.0.0.1", cluster.ports[target], key, 0, 5000)
    assert (await store.take([[meter]], 0.0))[0][0].remaining == LIMIT - 2  # it is asked for where it went
    for node in (target, owner):
        cluster.ask(node, "CLUSTER", "SETSLOT", slot, "NODE", identity[target])
    assert (await store.take([[meter]], 0.0))[0][0].remaining == LIMIT - 3
    assert store.state is not LinkState.DOWN


async def test_a_cluster_that_is_not_there_fails_takes() -> None:
    store = RedisStore("redis+cluster://127.0.0.1:1", timeout=0.5)
    for _ in range(2):
        with pytest.raises(StoreError):
            await store.take([[Meter(rate("none"), "k")]], 0.0)
    assert store.state is LinkState.DOWN
    await store.close()
