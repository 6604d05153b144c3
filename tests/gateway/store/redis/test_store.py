"""The Redis store runs the contract."""

from collections.abc import AsyncIterator, Sequence
from itertools import count

import pytest

from aupgate.meters import Meter, Planned, Post, Reading
from aupgate.store.redis.store import RedisStore
from tests.gateway.store.contract import StoreContract, quota
from tests.services import Redis, redis_server

__all__ = ["redis_server"]

_SPACES = count()


class Apart:
    """A part of a Redis store in which nothing is counted yet: every key stands apart from those of other parts.

    Clearing the database for each example would wait for it each time.
    """

    def __init__(self, store: RedisStore) -> None:
        self.store = store
        self.space = f"s{next(_SPACES)} "

    async def take(self, groups: Sequence[Sequence[Meter]], now: float) -> Sequence[Sequence[Reading]]:
        answered = await self.store.take([self._within(group) for group in groups], now)
        return [[self._without(reading) for reading in group] for group in answered]

    async def post(self, posts: Sequence[Post | Planned], now: float) -> None:
        self.store.post(
            [
                self._planned(post)
                if isinstance(post, Planned)
                else Post(self._meter(post.meter), post.kind, post.amount)
                for post in posts
            ],
            now,
        )
        await self.store.drain()

    def _within(self, group: Sequence[Meter]) -> Sequence[Meter]:
        if isinstance(group, Planned):
            return self._planned(group)
        return [self._meter(meter) for meter in group]

    def _planned(self, planned: Planned) -> Planned:
        words = [self.space + word if n in planned.plan.keys else word for n, word in enumerate(planned.words)]
        return Planned(planned.plan, words)

    def _meter(self, meter: Meter) -> Meter:
        return Meter(meter.quota, self.space + meter.key, meter.cost, meter.value)

    def _without(self, reading: Reading) -> Reading:
        meter = reading.meter
        plain = Meter(meter.quota, meter.key.removeprefix(self.space), meter.cost, meter.value)
        return Reading(plain, reading.admitted, reading.remaining, reading.reset_after, reading.retry_after)


class TestRedisStore(StoreContract):
    @pytest.fixture(autouse=True)
    async def _connected(self, redis_server: Redis) -> AsyncIterator[None]:
        self.store = RedisStore(redis_server.url, timeout=10, server_time=False)
        yield
        await self.store.close()

    def open(self) -> Apart:
        return Apart(self.store)


async def test_two_stores_count_together(redis_server: Redis) -> None:
    stores = [RedisStore(redis_server.url) for _ in range(2)]
    meter = Meter(quota(3, name="together"), "k")
    admitted = [(await stores[number % 2].take([[meter]], 0.0))[0][0].admitted for number in range(4)]
    assert admitted == [True, True, True, False]
    for store in stores:
        await store.close()
