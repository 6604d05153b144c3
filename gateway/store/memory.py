"""The memory store: counters in this process, bounded, and without an await.

It is made for one event loop. It takes no locks and nothing in it suspends, so that nothing else of the loop can run
within a take; it must not be used from several threads.

It holds at most `max_keys` entries (a key is one, and each holder or distinct value under a key one more). When it is
full, what expired goes first. Then the quota with the most keys gives up those that hold least back: a quarter of one
of its shards, the keys with least of their quota used, and of equals the oldest. So a flood of new keys displaces its
own, and a client close to its limit stays close to it. No request does more work for this than to free or thin one
shard, whatever the number of keys.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from aupgate.memory import Memory
from aupgate.meters import Admitted, Meter, MeterKind, Plan, Planned, Post, PostKind, Quota, Reading, Window
from aupgate.store.counters import Counters, Room
from aupgate.store.members import Distincts, Leases, Onces
from aupgate.store.rates import FixedRates, GcraRates, SlidingRates
from aupgate.store.windows import MOMENT

MOST_QUOTAS: Final = 5000
"""Quotas that have counters at one time; the one that was opened first gives way."""
MOST_OBJECTS: Final = 4096
"""Quotas whose counters are known without comparing fields; the table starts anew when it is full."""

_CLASSES: Final[dict[MeterKind | Window, Callable[[Quota, Room], Counters[Any]]]] = {
    Window.FIXED: FixedRates,
    Window.SLIDING: SlidingRates,
    Window.GCRA: GcraRates,
    MeterKind.DISTINCT: Distincts,
    MeterKind.LEASE: Leases,
    MeterKind.ONCE: Onces,
}

_RELEASE: Final = PostKind.RELEASE
_RENEW: Final = PostKind.RENEW

Step = tuple[Callable[[str, float, str, float], tuple[float, float] | None], int, float, int]
"""How to charge one meter of a plan, which of the words is its key, how much, and which of them is its value."""


class MemoryStore:
    """Counts meters in memory. It is a `Store`."""

    def __init__(self, max_keys: int = 200_000) -> None:
        self._room = Room(max_keys)
        self._by_quota = Memory(self._open, longest=0, size=_weightless, most=MOST_OBJECTS)
        self._by_plan = Memory(self._steps, longest=0, size=_weightless, most=MOST_OBJECTS)
        self._leases = Memory(self._lease_ends, longest=0, size=_weightless, most=MOST_OBJECTS)

    def __len__(self) -> int:
        """The number of entries, those that expired and are not yet freed included."""
        return self._room.held

    @property
    def evicted(self) -> int:
        """Entries given up before their time, for want of room, since the start."""
        return self._room.evicted

    def take(self, groups: Sequence[Sequence[Meter]], now: float) -> list[Sequence[Reading]]:
        """Take each group of meters; see `Store.take`."""
        if self._room.trash:
            self._room.sweep()
        if len(groups) == 1:  # as almost always
            admitted = self._take_planned(groups[0], now)
            if admitted is not None:
                return [admitted]
        return [self._take_group(list(group), now) for group in groups]

    def post(self, posts: Sequence[Post | Planned], now: float) -> None:
        """Change meters; see `Store.post`."""
        room, by_quota = self._room, self._by_quota
        if room.held + len(posts) > room.most:
            room.reserve(len(posts), now)
        for post in posts:
            if type(post) is Planned:
                words = post.words
                for end_lease, key, holder in self._leases[post.plan]:
                    end_lease(words[key], words[holder])
                continue
            meter = post.meter
            counters = by_quota[meter.quota]
            if post.kind is _RELEASE:
                counters.release(meter)
            elif post.kind is _RENEW:
                counters.renew(meter, now)
            else:
                counters.add(meter, post.amount, now)

    def _take_planned(self, group: Sequence[Meter], now: float) -> Admitted | None:
        """Take a group that was planned and in which nothing is refused; None, and nothing taken, of any other."""
        if type(group) is not Planned:
            return None
        room, words = self._room, group.words
        steps = self._by_plan[group.plan]
        if not steps:
            return None
        if room.held + 2 * len(steps) > room.most:
            room.reserve(2 * len(steps), now)
        left: list[tuple[float, float]] = []
        try:
            for charge, key, cost, value in steps:
                charged = charge(words[key], cost, words[value], now)
                if charged is None:
                    room.undo()
                    return None
                left.append(charged)
        except BaseException:
            room.undo()
            raise
        room.journal.clear()
        return Admitted(group, left)

    def _steps(self, plan: Plan) -> tuple[Step, ...]:
        """Return how each meter of `plan` is charged; none where some only tally, which nothing takes back."""
        if not all(quota.gate for quota in plan.quotas):
            return ()
        counters = [self._by_quota[quota].charge for quota in plan.quotas]
        # Where a quota has no use for a value its place is -1, and what stands there is not looked at.
        return tuple(zip(counters, plan.keys, plan.costs, plan.values, strict=True))

    def _lease_ends(self, plan: Plan) -> tuple[tuple[Callable[[str, str], None], int, int], ...]:
        """Return how each lease of `plan` is ended, and which of the words are its key and its holder."""
        counters = [(self._by_quota[plan.quotas[place]], place) for place in plan.leases]
        return tuple(
            (each.end_lease, plan.keys[place], plan.values[place])
            for each, place in counters
            if isinstance(each, Leases)
        )

    def _take_group(self, group: Sequence[Meter], now: float) -> list[Reading]:
        room, by_quota = self._room, self._by_quota
        if room.held + 2 * len(group) > room.most:
            room.reserve(2 * len(group), now)
        readings: list[Reading] = []
        refused = False
        try:
            for meter in group:
                reading = by_quota[meter.quota].take(meter, now)
                readings.append(reading)
                if not reading.admitted:
                    refused = True
        except BaseException:
            room.undo()
            raise
        if refused:
            return self._refuse(group, readings, now)
        room.journal.clear()
        return readings

    def _refuse(self, group: Sequence[Meter], readings: list[Reading], now: float) -> list[Reading]:
        """Take back what `group` was charged, and say how its meters stand without it."""
        self._room.undo()
        if len(group) == 1:
            return readings
        return [self._without(group[:place], reading, now) for place, reading in enumerate(readings)]

    def _without(self, before: Sequence[Meter], reading: Reading, now: float) -> Reading:
        meter = reading.meter
        if not meter.quota.gate:
            return reading
        peek = self._by_quota[meter.quota].take(Meter(meter.quota, meter.key, 0, meter.value), now)
        if reading.admitted:
            return Reading(meter, True, peek.remaining, peek.reset_after)
        wait = self._wait(before, reading, peek, now)
        return Reading(meter, False, peek.remaining, peek.reset_after, wait)

    def _wait(self, before: Sequence[Meter], reading: Reading, peek: Reading, now: float) -> float:
        """Return how long a meter that was refused must wait together with those before it on the same counter."""
        meter = reading.meter
        counters = self._by_quota[meter.quota]
        same = [each for each in before if each.key == meter.key and self._by_quota[each.quota] is counters]
        if not same:
            return reading.retry_after
        if meter.quota.kind is not MeterKind.RATE:
            return math.inf if len(same) >= meter.quota.limit else peek.reset_after + MOMENT
        cost = sum(each.cost for each in same) + (meter.cost or 1)
        together = counters.take(Meter(meter.quota, meter.key, cost, meter.value), now)
        self._room.undo()
        return together.retry_after or MOMENT

    def _open(self, quota: Quota) -> Counters[Any]:
        """Return the counters of `quota`, made when they are new."""
        everything = (quota.rule, quota.name, quota.limit, quota.window, quota.kind, quota.algorithm, quota.gate)
        counters = self._room.counters.get(everything)
        if counters is None:
            made = _CLASSES[quota.algorithm if quota.kind is MeterKind.RATE else quota.kind]
            counters = self._room.counters[everything] = made(quota, self._room)
            if len(self._room.counters) > MOST_QUOTAS:
                self._close(next(iter(self._room.counters)))
        return counters

    def _close(self, everything: object) -> None:
        counters = self._room.counters.pop(everything)
        self._room.evicted += counters.size()
        counters.discard()
        self._by_quota.clear()
        self._by_plan.clear()
        self._leases.clear()


def _weightless(_: object) -> int:
    return 0
