"""The script counts as the memory store does, and as the limits package does."""

import math
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aupgate.meters import Meter, MeterKind, Post, PostKind, Quota, Reading, Window
from aupgate.store.memory import MemoryStore
from aupgate.store.redis.store import RedisStore
from tests.gateway.store.contract import NOON, PAUSES
from tests.gateway.store.redis.test_store import Apart
from tests.services import Redis, redis_server

__all__ = ["redis_server"]

QUOTAS = st.builds(
    Quota,
    st.just("tests.model"),
    st.sampled_from("ab"),
    st.integers(0, 8),
    st.sampled_from([1.0, 10.0, 60.0]),
    st.sampled_from(list(MeterKind)),
    st.sampled_from(list(Window)),
    gate=st.sampled_from([True, True, True, False]),
)
METERS = st.builds(Meter, QUOTAS, st.sampled_from("kl"), st.sampled_from([1, 1, 2, 0.5, 0]), st.sampled_from("xyz"))
GROUPS = st.lists(st.lists(METERS, min_size=1, max_size=4), min_size=1, max_size=2)
AMOUNTS = st.sampled_from([-2, -0.5, 1, 3])


@pytest.fixture
async def store(redis_server: Redis) -> AsyncIterator[RedisStore]:
    opened = RedisStore(redis_server.url, timeout=10, server_time=False)
    yield opened
    await opened.close()


def same(read: Reading, expected: Reading) -> bool:
    """Tell whether two readings agree, but for how the two stores round times."""
    return (
        read.meter == expected.meter
        and read.admitted == expected.admitted
        and math.isclose(read.remaining, expected.remaining, abs_tol=1e-6)
        and math.isclose(read.reset_after, expected.reset_after, abs_tol=1e-4)
        and (read.retry_after == expected.retry_after or abs(read.retry_after - expected.retry_after) < 1e-4)
    )


def posts(group: Sequence[Meter], amount: float) -> list[Post]:
    made = {MeterKind.RATE: PostKind.ADD, MeterKind.LEASE: PostKind.RELEASE}
    return [Post(meter, made[meter.quota.kind], amount) for meter in group if meter.quota.kind in made]


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(PAUSES, GROUPS, st.none() | AMOUNTS), min_size=1, max_size=12))
async def test_reads_as_the_memory_store_does(
    store: RedisStore, steps: Sequence[tuple[float, list[list[Meter]], float | None]]
) -> None:
    redis, memory, now = Apart(store), MemoryStore(), NOON
    for pause, groups, amount in steps:
        now += pause
        read = await redis.take(groups, now)
        expected = memory.take(groups, now)
        for group, of_memory in zip(read, expected, strict=True):
            assert all(same(*pair) for pair in zip(group, of_memory, strict=True)), (list(group), list(of_memory))
        if amount is not None:
            settled = posts(groups[0], amount)
            await redis.post(settled, now)
            memory.post(settled, now)
