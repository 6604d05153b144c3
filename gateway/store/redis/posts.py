"""Posts that wait to be sent: bounded, and those on one counter added up.

While Redis is away they stay here, as many as there is room for, so that leases end and refunds arrive when it is back.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Final

from msgspec import Struct

from aupgate.meters import Meter, MeterKind, Post, PostKind

MOST_POSTS: Final = 10_000
"""Posts that wait; the oldest gives way."""

_ADD: Final = PostKind.ADD
_RATE: Final = MeterKind.RATE
_Name = tuple[int, str, float, str]


class Queued(Struct, gc=False):
    """A post and the time it belongs to, in seconds since the epoch."""

    post: Post
    at: float


def adds_up(post: Post) -> bool:
    """Tell whether it matters how often a post is carried out."""
    return post.kind is _ADD and post.meter.quota.kind is _RATE


class Posts:
    """A queue of posts."""

    def __init__(self, most: int = MOST_POSTS) -> None:
        self._most = most
        self._queued: dict[_Name, Queued] = {}
        self.dropped = 0
        """Posts given up for want of room."""

    def __len__(self) -> int:
        """The number of posts that wait."""
        return len(self._queued)

    def add(self, post: Post, at: float) -> None:
        """Queue a post that belongs to the time `at`."""
        meter = post.meter
        # Amounts may be added up where they belong to one window: what is counted is then the same. Of all else the
        # last to come says how it is.
        whole = not adds_up(post)
        name = (id(meter.quota), meter.key, 0.0 if whole else at // meter.quota.window, meter.value if whole else "")
        found = self._queued.get(name)
        if found is not None and not whole:
            amount = found.post.amount + post.amount
            found.post = Post(Meter(meter.quota, meter.key), post.kind, amount)
            return
        if found is None and len(self._queued) >= self._most:
            del self._queued[next(iter(self._queued))]
            self.dropped += 1
        self._queued[name] = Queued(post, at)

    def pop(self, most: int) -> Sequence[Queued]:
        """Take up to `most` off the queue, the oldest first."""
        names = list(islice(self._queued, most))
        return [self._queued.pop(name) for name in names]
