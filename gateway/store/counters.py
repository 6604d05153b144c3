"""What all counters have in common: windows that turn, and the room that they share.

Counters stand in two generations: those touched in the current window, and those last touched in the window before.
Whatever is older counts for nothing, whichever the kind, so it goes as a whole when the window turns: expiry needs no
clock per key and no search. A generation is cut into shards by the hash of the key, so that nothing ever has to grow,
be freed or be thinned at once but a shard. Counters are plain numbers in plain dictionaries, which the garbage
collector does not have to visit.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from aupgate.meters import Meter, MeterKind, Quota, Reading, Window

SHARD: Final = 4096
"""Entries a shard holds when the store is full and evenly filled: dropping or thinning one takes less than a
millisecond."""
MOST_SHARDS: Final = 256
SWEEP: Final = 32
"""Expired entries freed in one go, if no shard has more: several times what one request adds."""
STEP_BACK: Final = 3600.0
"""Seconds. A time further back than this means that the clock was set; less, that a request took its time."""

V = TypeVar("V")
Table = dict[Any, Any]
Held = dict[str, V]


class Room:
    """The entries that all counters of a store hold together, and the bound on them."""

    __slots__ = ("counters", "evicted", "held", "journal", "most", "shards", "trash")

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        """Entries: a key is one, and so is each value or holder under a key. Those not yet freed count."""
        self.evicted = 0
        """Entries given up before their time, since the start."""
        self.shards = min(MOST_SHARDS, 1 << max(0, (most // SHARD).bit_length()))
        self.counters: dict[Any, Counters[Any]] = {}
        self.trash: deque[tuple[Table, Callable[[Table], int]]] = deque()
        """Shards that expired, with what tells how many entries they hold."""
        self.journal: list[tuple[Table, Any, Any]] = []
        """What the current group wrote: the table, the key and what was there before (None: nothing)."""

    def reserve(self, entries: int, now: float) -> None:
        """See to it that there is room for as many new `entries`: nothing is given up while a group is being taken."""
        while self.held + entries > self.most and self._make_room(now):
            pass

    def sweep(self) -> int:
        """Free some of what expired, shard by shard; return the number of entries."""
        freed = 0
        while self.trash and freed < SWEEP:
            shard, weigh = self.trash.popleft()
            freed += weigh(shard)
        self.held -= freed
        return freed

    def undo(self) -> None:
        """Take back what the current group wrote."""
        for table, key, before in reversed(self.journal):
            if before is None:
                self.held -= _weigh(table.pop(key, None))
            else:
                self.held += key not in table
                table[key] = before
        self.journal.clear()

    def _make_room(self, now: float) -> int:
        """Free what expired or, where nothing did, thin the quota with the most keys; return the number of entries."""
        if not self.trash:
            for counters in self.counters.values():
                if now >= counters.end:
                    counters.turn(now)
        if self.trash:
            return self.sweep()
        dropped = max(self.counters.values(), key=Counters.size).thin() if self.counters else 0
        self.held -= dropped
        self.evicted += dropped
        return dropped


def _weigh(counter: Any) -> int:
    """Return the number of entries that a counter is, with those in it where it is a table of its own."""
    if counter is None:
        return 0
    return 1 + len(counter) if isinstance(counter, dict) else 1


class Counters(ABC, Generic[V]):
    """The counters of one quota."""

    __slots__ = (
        "_carries", "_hand", "_journal", "_mask", "_room", "current", "end", "gate", "index", "limit", "previous",
        "start", "window",
    )  # fmt: skip

    def __init__(self, quota: Quota, room: Room) -> None:
        self.limit = quota.limit
        self.window = quota.window
        self.gate = quota.gate
        self.index = self.start = self.end = -math.inf  # no time is within it, so the first take turns the window
        self.current = self._empty(room)
        self.previous = self._empty(room)
        self._room = room
        self._journal = room.journal
        self._mask = room.shards - 1
        self._hand = 0
        # Of all kinds only what is counted in fixed windows means nothing in the window after.
        self._carries = quota.algorithm is not Window.FIXED or quota.kind not in {MeterKind.RATE, MeterKind.DISTINCT}

    @staticmethod
    def _empty(room: Room) -> list[Held[V]]:
        return [{} for _ in range(room.shards)]

    def charge(self, key: str, cost: float, value: str, now: float) -> tuple[float, float] | None:  # noqa: ARG002
        """Charge, where there is room and nothing else to it; return what is left, and the seconds until all is.

        None: nothing was charged, and `take` tells what is the matter. Kinds without this short way always say so.
        """
        return None

    @abstractmethod
    def take(self, meter: Meter, now: float) -> Reading:
        """Charge `meter` where it is admitted, and read it."""

    def add(self, meter: Meter, amount: float, now: float) -> None:  # noqa: ARG002 - what rates do with it
        """Add `amount` to a rate, or count a value."""
        raise ValueError(
            f"cannot add to {meter.quota.name!r}, a meter of the kind {meter.quota.kind!s}: only rates and values can"
        )

    def release(self, meter: Meter) -> None:
        """End a lease."""
        raise ValueError(
            f"cannot release {meter.quota.name!r}, a meter of the kind {meter.quota.kind!s}: only leases can"
        )

    def renew(self, meter: Meter, now: float) -> None:  # noqa: ARG002 - what leases do with it
        """Have a lease last for another window."""
        raise ValueError(
            f"cannot renew {meter.quota.name!r}, a meter of the kind {meter.quota.kind!s}: only leases can"
        )

    # -- windows -------------------------------------------------------------------------------------------------------

    def turn(self, now: float) -> float:
        """Make the window of `now` the current one; return the time to count at, which does not lie before it."""
        if self.start <= now < self.end:
            return now
        if self.start - STEP_BACK < now < self.start:
            return self.start
        index = now // self.window
        if index == self.index:  # a window whose length is no binary fraction: rounding put its edge beside `now`
            return min(max(now, self.start), self.end)
        adjacent = self._carries and index == self.index + 1
        self._discard(self.previous)
        if not adjacent:
            self._discard(self.current)
        self.previous = self.current if adjacent else self._empty(self._room)
        self.current = self._empty(self._room)
        self.index, self.start, self.end = index, index * self.window, (index + 1) * self.window
        return now

    def discard(self) -> None:
        """Give up every counter."""
        self._discard(self.previous)
        self._discard(self.current)

    def _discard(self, generation: Sequence[Held[V]]) -> None:
        self._room.trash.extend((shard, self._weigh) for shard in generation if shard)

    # -- room ----------------------------------------------------------------------------------------------------------

    _weigh: Callable[[Table], int] = staticmethod(len)

    def size(self) -> int:
        """Return the number of keys held."""
        return sum(map(len, self.current)) + sum(map(len, self.previous))

    def thin(self) -> int:
        """Drop the quarter of the next shard that holds least back, of equals the oldest; return how many entries."""
        shards = self.previous + self.current
        turn = range(self._hand, self._hand + len(shards))
        place = next((place for place in turn if shards[place % len(shards)]), 0) % len(shards)
        self._hand = place + 1
        shard = shards[place]
        before = self._weigh(shard)
        for key in sorted(shard, key=lambda key: self._use(shard[key]))[: max(1, len(shard) // 4)]:
            del shard[key]
        return before - self._weigh(shard)

    @staticmethod
    def _use(counter: Any) -> float:
        """Return how much a counter holds back: the more of its quota is used, the more."""
        return float(counter)

    def _put(self, table: Table, key: Any, value: Any) -> None:
        before = table.get(key)
        if self.gate:
            self._journal.append((table, key, before))
        self._room.held += before is None
        table[key] = value

    def _drop(self, table: Table, key: Any) -> None:
        before = table.pop(key)
        if self.gate:
            self._journal.append((table, key, before))
        self._room.held -= 1
