"""What stores are: the driver's kind answers at once, the other is awaited."""

from collections.abc import Sequence

from aupgate.meters import Meter, Planned, Post, Reading
from aupgate.store import Done, RemoteStore, Store
from aupgate.store.memory import MemoryStore
from tests.gateway.store.contract import NOON, quota


def test_the_memory_store_is_a_store_that_answers_at_once() -> None:
    store: Store = MemoryStore()
    assert store.take([[Meter(quota(3), "k")]], NOON)[0][0].remaining == 2


class Distant:
    """A store behind a connection, as far as its users can tell."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    async def take(self, groups: Sequence[Sequence[Meter]], now: float) -> list[Sequence[Reading]]:
        return self.store.take(groups, now)

    def submit(self, groups: Sequence[Sequence[Meter]], now: float, done: Done) -> None:
        done(self.store.take(groups, now))

    def post(self, posts: Sequence[Post | Planned], now: float) -> None:
        self.store.post(posts, now)

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_remote_store_is_asked_in_the_same_words() -> None:
    store: RemoteStore = Distant()
    assert (await store.take([[Meter(quota(3), "k")]], NOON))[0][0].remaining == 2
