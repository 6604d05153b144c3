"""Counters that know what they count: first uses, different values, holders of leases."""

import math
from hashlib import blake2b
from typing import Any

from aupgate.meters import Meter, Reading
from aupgate.store.counters import Counters, Held, Table
from aupgate.store.windows import MOMENT, fixed_wait, sliding_load, sliding_reset, sliding_wait


class Onces(Counters[float]):
    """First uses. A counter is the time of the first use."""

    __slots__ = ()

    def take(self, meter: Meter, now: float) -> Reading:
        """Admit the first use within a window."""
        now = self.turn(now)
        place = hash(meter.key) & self._mask
        first = self.current[place].get(meter.key, self.previous[place].get(meter.key))
        if first is None or now - first >= self.window:
            if not meter.cost:
                return Reading(meter, True, 1, 0.0)
            self._put(self.current[place], meter.key, now)
            return Reading(meter, True, 0, self.window)
        reset = first + self.window - now
        if self.gate:
            return Reading(meter, False, 0, reset, reset + MOMENT)
        return Reading(meter, True, -1 if meter.cost else 0, reset)


def _weigh_nested(shard: Table) -> int:
    return len(shard) + sum(map(len, shard.values()))


class _Nested(Counters[Table]):
    """Counters that are tables of their own, exact up to one more than the limit."""

    __slots__ = ()
    _weigh = staticmethod(_weigh_nested)

    @staticmethod
    def _use(counter: Any) -> float:
        return len(counter)

    def _open(self, shard: Held[Table], key: str) -> Table:
        """Return the table under `key`, made when it is new."""
        table = shard.get(key)
        if table is None:
            table = {}
            self._put(shard, key, table)
        return table


class Distincts(_Nested):
    """Different values, as 64-bit hashes, in fixed windows or a sliding one.

    In the sliding window a value that was seen in the window before, and not again in this, weighs by the share still
    covered.
    """

    __slots__ = ()

    def take(self, meter: Meter, now: float) -> Reading:
        """Admit a value already counted in this window, and another where there is room for it."""
        now = self.turn(now)
        place = hash(meter.key) & self._mask
        value = blake2b(meter.value.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        values: Table = self.current[place].get(meter.key, {})
        before: Table = self.previous[place].get(meter.key, {})
        left = self.end - now
        again = value in before
        if value in values:
            return self._reading(meter, len(values), before, left)
        load = sliding_load(len(before) - again, len(values), left, self.window)
        if self.gate and load + 1 > self.limit:
            return self._refusal(meter, value, values, before, left)
        if not meter.cost or len(values) > self.limit:  # a tally is exact up to one more than the limit
            return self._reading(meter, len(values), before, left)
        values = self._open(self.current[place], meter.key)
        self._put(values, value, 1)
        if again:
            self._drop(before, value)
        return self._reading(meter, len(values), before, left)

    def _reading(self, meter: Meter, counted: int, before: Table, left: float) -> Reading:
        remaining = self.limit - sliding_load(len(before), counted, left, self.window)
        return Reading(
            meter, True, max(0, remaining) if self.gate else remaining, self._reset(len(before), counted, left)
        )

    def _refusal(self, meter: Meter, value: bytes, values: Table, before: Table, left: float) -> Reading:
        carried, counted, room = len(before) - (value in before), len(values), self.limit - 1
        wait = sliding_wait(carried, counted, room, left, self.window) if self._carries else fixed_wait(room, left)
        read = self._reading(meter, counted, before, left)
        return Reading(meter, False, read.remaining, read.reset_after, wait)

    def _reset(self, carried: int, counted: int, left: float) -> float:
        if self._carries:
            return sliding_reset(carried, counted, left, self.window)
        return left if counted else 0.0


class Leases(_Nested):
    """Holders at one time, each until its lease ends or expires. A table has the expiry of each, the soonest first."""

    __slots__ = ()

    def take(self, meter: Meter, now: float) -> Reading:
        """Grant or renew the lease of a holder where there is room for it."""
        if not self.start <= now < self.end:
            now = self.turn(now)
        holders = self._live(meter.key, now)
        known = meter.value in holders
        if self.gate and not known and len(holders) >= self.limit:
            wait = min(holders.values()) - now + MOMENT if holders else math.inf
            return Reading(meter, False, 0, self._reset(holders, now), wait)
        # A tally is exact up to one more than the limit, and needs no room beyond.
        if meter.cost and (known or len(holders) <= self.limit):
            holders = self._open(self.current[hash(meter.key) & self._mask], meter.key)
            if known:
                self._drop(holders, meter.value)  # to stand behind the others again
            self._put(holders, meter.value, now + self.window)
        return Reading(meter, True, self.limit - len(holders), self._reset(holders, now))

    def release(self, meter: Meter) -> None:
        """End the lease of a holder, if it has one."""
        place = hash(meter.key) & self._mask
        for generation in (self.current, self.previous):
            holders = generation[place].get(meter.key)
            if holders is not None and holders.pop(meter.value, None) is not None:
                self._room.held -= 1
                if not holders:
                    del generation[place][meter.key]
                    self._room.held -= 1

    def _live(self, key: str, now: float) -> Table:
        """Return the holders under `key`, in the current generation and without those that expired."""
        place = hash(key) & self._mask
        older = self.previous[place].pop(key, None)
        if older is not None:
            self.current[place][key] = older
        holders: Table | None = self.current[place].get(key)
        if not holders:
            return {}
        expired: list[str] = []
        for holder, until in holders.items():
            # In their order, so that the first that lives ends the search; but all are looked at before any is refused.
            if until <= now:
                expired.append(holder)
            elif len(holders) - len(expired) < self.limit:
                break
        for holder in expired:
            del holders[holder]
        self._room.held -= len(expired)
        return holders

    @staticmethod
    def _reset(holders: Table, now: float) -> float:
        return next(reversed(holders.values())) - now if holders else 0.0
