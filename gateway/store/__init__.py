"""What a store is: it counts meters, and takes those of one request together or not at all.

Meters come in groups. Of the meters of one group whose quota gates, either every one is admitted and every one is
charged, or none is; a meter that only tallies is charged whatever happens and stands in nobody's way. Groups know
nothing of each other. Several meters of a group may share a key: each sees what those before it took.

A counter belongs to a quota and a key. Quotas that are equal in everything but `settle` share their counters; a quota
that gates and its twin that tallies do not, so that what is only observed never fills what is enforced.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from aupgate.meters import Meter, Planned, Post, Reading

Done = Callable[[Any], None]
"""Is called once with the readings of a take, or with the `ServiceError` that comes in their place; must not raise."""


class _Posts(Protocol):
    def post(self, posts: Sequence[Post | Planned], now: float) -> None:
        """Change meters without waiting for it.

        `now` is the time the change belongs to, which for a refund is that of the charge: a window that no longer
        counts is left alone. ADD changes a rate, which never falls below 0, or counts a value, now; RELEASE ends a
        lease, and does nothing when there is none; RENEW has one last for another window; planned meters among the
        posts end all their leases. Raises `ValueError` for a change that the
        kind of meter cannot have.
        """


class Store(_Posts, Protocol):
    """A store within the process: it answers at once."""

    def take(self, groups: Sequence[Sequence[Meter]], now: float) -> list[Sequence[Reading]]:
        """Take each group at the time `now`, in seconds since the epoch; return a reading for each meter, in order.

        When a group is refused, the readings say which meters refused it and how long to wait, and the others report
        what is left unchanged. A meter that tallies is always admitted; below 0, its reading's `remaining` is how far
        it is over.

        A cost of 0 peeks: it charges nothing, and is admitted while at least 1 is left. Raises `ServiceError` when the
        store cannot answer.
        """


class RemoteStore(_Posts, Protocol):
    """A store behind a connection: its answer must be awaited."""

    async def take(self, groups: Sequence[Sequence[Meter]], now: float) -> list[Sequence[Reading]]:
        """Do as `Store.take` does."""

    def submit(self, groups: Sequence[Sequence[Meter]], now: float, done: Done) -> None:
        """Do as `take` does without a task: call `done` with the readings or the error, later or before returning."""

    async def close(self) -> None:
        """Send what waits, and end the connections."""


async def submitted(store: RemoteStore, groups: Sequence[Sequence[Meter]], now: float) -> list[Sequence[Reading]]:
    """Do as `RemoteStore.take` does, by `store.submit`."""
    answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    store.submit(groups, now, lambda answer: None if answered.done() else answered.set_result(answer))
    answer = await answered
    if isinstance(answer, Exception):
        raise answer
    return answer  # type: ignore[no-any-return]
