"""Counters of rates: cost in a fixed window, in a sliding one, or in a bucket that drains.

The common case is written out in each `charge` rather than shared, because it is run for every request.
"""

import math
from typing import Final

from aupgate.meters import Meter, Quota, Reading
from aupgate.store.counters import Counters, Room
from aupgate.store.windows import fixed_wait, gcra_wait, sliding_load, sliding_reset, sliding_wait

SLACK: Final = 1e-9
"""The part of a bucket by which rounding may make it look too full."""


class _Rates(Counters[float]):
    __slots__ = ()

    def add(self, meter: Meter, amount: float, now: float) -> None:
        """Add `amount` in the window of `now`, where it still counts."""
        if now >= self.end:
            self.turn(now)
        if now >= self.start:
            generation = self.current
        elif self._carries and now >= self.start - self.window:
            generation = self.previous
        else:
            return
        shard = generation[hash(meter.key) & self._mask]
        found = shard.get(meter.key)
        if found is not None or amount > 0:
            self._room.held += found is None
            shard[meter.key] = max(0, (found or 0) + amount)


class FixedRates(_Rates):
    """Cost in aligned windows that begin empty."""

    __slots__ = ()

    def charge(self, key: str, cost: float, value: str, now: float) -> tuple[float, float] | None:  # noqa: ARG002
        """Charge, where there is room; see `Counters.charge`."""
        if now >= self.end or now < self.start:
            now = self.turn(now)
        shard = self.current[hash(key) & self._mask]
        found = shard.get(key)
        counted = cost if found is None else found + cost
        if counted > self.limit or not cost:
            return None
        if found is None:
            self._room.held += 1
        if self.gate:
            self._journal.append((shard, key, found))
        shard[key] = counted
        return self.limit - counted, self.end - now

    def take(self, meter: Meter, now: float) -> Reading:
        """Charge `meter` where the window has room for it."""
        charged = self.charge(meter.key, meter.cost, "", now)
        if charged is not None:
            return Reading(meter, True, *charged)
        now = self.turn(now)
        cost, limit, left = meter.cost, self.limit, self.end - now
        shard = self.current[hash(meter.key) & self._mask]
        counted = shard.get(meter.key, 0)
        if self.gate and counted + (cost or 1) > limit:
            return Reading(meter, False, max(0, limit - counted), left, fixed_wait(limit - (cost or 1), left))
        if cost:  # a tally
            self._put(shard, meter.key, counted + cost)
        return Reading(meter, True, limit - counted - cost, left if counted + cost else 0.0)


class SlidingRates(_Rates):
    """Cost in a window that slides: two aligned windows, of which the older weighs by the share still covered."""

    __slots__ = ()

    def charge(self, key: str, cost: float, value: str, now: float) -> tuple[float, float] | None:  # noqa: ARG002
        """Charge, where there is room; see `Counters.charge`."""
        if now >= self.end or now < self.start:
            now = self.turn(now)
        place = hash(key) & self._mask
        shard = self.current[place]
        found = shard.get(key)
        carried = self.previous[place].get(key)
        left, window = self.end - now, self.window
        load = counted = cost if found is None else found + cost
        if carried:
            load += carried * left // window  # as sliding_load
        if load > self.limit or not cost:
            return None
        if found is None:
            self._room.held += 1
        if self.gate:
            self._journal.append((shard, key, found))
        shard[key] = counted
        # As sliding_reset.
        return self.limit - load, left + window - window / counted if counted > 1 else left

    def take(self, meter: Meter, now: float) -> Reading:
        """Charge `meter` where the window has room for it."""
        charged = self.charge(meter.key, meter.cost, "", now)
        if charged is not None:
            return Reading(meter, True, *charged)
        now = self.turn(now)
        cost, limit, window, left = meter.cost, self.limit, self.window, self.end - now
        place = hash(meter.key) & self._mask
        shard, carried = self.current[place], self.previous[place].get(meter.key, 0)
        counted = shard.get(meter.key, 0)
        load = sliding_load(carried, counted, left, window)
        if self.gate and load + (cost or 1) > limit:
            wait = sliding_wait(carried, counted, limit - (cost or 1), left, window)
            return Reading(meter, False, max(0, limit - load), sliding_reset(carried, counted, left, window), wait)
        if cost:  # a tally
            self._put(shard, meter.key, counted + cost)
        return Reading(meter, True, limit - load - cost, sliding_reset(carried, counted + cost, left, window))


class GcraRates(Counters[float]):
    """Cost in a bucket that drains evenly.

    A counter is the time at which the bucket will be empty, counted from the start of the generation in units of what
    drains: so whole costs at one time add up without rounding, and carrying it over to the next window means to
    subtract the limit.
    """

    __slots__ = ("_pace",)

    def __init__(self, quota: Quota, room: Room) -> None:
        super().__init__(quota, room)
        self._pace = (quota.limit or 1) / quota.window  # a limit of 0 admits nothing, whatever drains

    def charge(self, key: str, cost: float, value: str, now: float) -> tuple[float, float] | None:  # noqa: ARG002
        """Charge, where there is room; see `Counters.charge`."""
        if now >= self.end or now < self.start:
            now = self.turn(now)
        limit, pace = self.limit, self._pace
        drained = (now - self.start) * pace
        place = hash(key) & self._mask
        empty_at = max(self._empty_at(place, key), drained)
        level = empty_at - drained + cost
        if level > limit * (1 + SLACK) or not cost:
            return None
        # No more than full: a generation that is two windows old is gone, and a tally must not outlive it.
        self._put(self.current[place], key, min(empty_at + cost, drained + limit))
        return max(0.0, limit - level), level / pace

    def take(self, meter: Meter, now: float) -> Reading:
        """Charge `meter` where the bucket has room for it."""
        charged = self.charge(meter.key, meter.cost, "", now)
        if charged is not None:
            return Reading(meter, True, *charged)
        now = self.turn(now)
        cost, limit, pace = meter.cost, self.limit, self._pace
        drained = (now - self.start) * pace
        place = hash(meter.key) & self._mask
        level = max(self._empty_at(place, meter.key), drained) - drained
        if self.gate and level + (cost or 1) > limit * (1 + SLACK):
            wait = gcra_wait(level, limit - (cost or 1), pace)
            return Reading(meter, False, max(0.0, limit - level), level / pace, wait)
        if cost:  # a tally, of which no more is kept than a full bucket
            self._put(self.current[place], meter.key, drained + limit)
        remaining = limit - level - cost
        return Reading(meter, True, max(0.0, remaining) if self.gate else remaining, (level + cost) / pace)

    def add(self, meter: Meter, amount: float, now: float) -> None:
        """Add `amount` at `now`; the bucket is never below empty or above full."""
        if now >= self.end:
            self.turn(now)
        drained = max(0.0, now - self.start) * self._pace
        place = hash(meter.key) & self._mask
        shard = self.current[place]
        found = self._empty_at(place, meter.key)
        if amount > 0 or found > drained:
            empty_at = max(found, drained) + amount
            self._room.held += meter.key not in shard
            shard[meter.key] = min(max(empty_at, drained), drained + self.limit)

    def _empty_at(self, place: int, key: str) -> float:
        found = self.current[place].get(key)
        if found is not None:
            return found
        found = self.previous[place].get(key)
        return -math.inf if found is None else found - self.limit
