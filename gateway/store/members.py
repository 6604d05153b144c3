"""Counters that know what they count: first uses, different values, holders of leases."""

import math
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

    The hash is Python's own, keyed anew in each process. In the sliding window a value that was seen in the window
    before, and not again in this, weighs by the share still covered.
    """

    __slots__ = ()

    def charge(self, key: str, cost: float, value: str, now: float) -> tuple[float, float] | None:
        """Count a value, where there is room; see `Counters.charge`."""
        if now >= self.end or now < self.start:
            now = self.turn(now)
        place = hash(key) & self._mask
        values = self.current[place].get(key)
        if values is None or not cost or key in self.previous[place]:
            return None
        counted, digest = len(values), hash(value)
        if digest not in values:
            if counted >= self.limit:
                return None
            values[digest] = 1
            counted += 1
            self._room.held += 1
            if self.gate:
                self._journal.append((values, digest, None))
        return self.limit - counted, self._reset(0, counted, self.end - now)

    def add(self, meter: Meter, amount: float, now: float) -> None:  # noqa: ARG002 - what rates do with it
        """Count a value, whether there is room for it or not, up to one more than the limit."""
        self.turn(now)
        place, digest = hash(meter.key) & self._mask, hash(meter.value)
        shard = self.current[place]
        values = shard.get(meter.key)
        if values is None:
            values = shard[meter.key] = {}
            self._room.held += 1
        if digest not in values and len(values) <= self.limit:
            values[digest] = 1
            before = self.previous[place].get(meter.key)
            if before is None or before.pop(digest, None) is None:
                self._room.held += 1

    def take(self, meter: Meter, now: float) -> Reading:
        """Admit a value already counted in this window, and another where there is room for it."""
        now = self.turn(now)
        place = hash(meter.key) & self._mask
        value = hash(meter.value)
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

    def _refusal(self, meter: Meter, value: int, values: Table, before: Table, left: float) -> Reading:
        carried, counted, room = len(before) - (value in before), len(values), self.limit - 1
        wait = sliding_wait(carried, counted, room, left, self.window) if self._carries else fixed_wait(room, left)
        read = self._reading(meter, counted, before, left)
        return Reading(meter, False, read.remaining, read.reset_after, wait)

    def _reset(self, carried: int, counted: int, left: float) -> float:
        if self._carries:
            return sliding_reset(carried, counted, left, self.window)
        return left if counted else 0.0


class Leases(_Nested):
    """Holders at one time, each until its lease ends or expires. A table has the expiry of each.

    A holder stands in the generation in which its lease was granted or renewed. So nothing in the current one can have
    expired, and what is left in the one before expires first.
    """

    __slots__ = ()

    def charge(self, key: str, cost: float, value: str, now: float) -> tuple[float, float] | None:
        """Grant a new lease to the holder `value`, where there is room; see `Counters.charge`."""
        if now >= self.end or now < self.start:
            now = self.turn(now)
        place = hash(key) & self._mask
        shard = self.current[place]
        holders = shard.get(key)
        held = 0 if holders is None else len(holders)
        if held >= self.limit or not cost or key in self.previous[place]:
            return None
        if holders is None:
            shard[key] = {value: now + self.window}
            self._room.held += 2
            if self.gate:
                self._journal.append((shard, key, None))
        elif value in holders:
            return None
        else:
            holders[value] = now + self.window
            self._room.held += 1
            if self.gate:
                self._journal.append((holders, value, None))
        return self.limit - held - 1, self.window

    def take(self, meter: Meter, now: float) -> Reading:
        """Grant or renew the lease of a holder where there is room for it."""
        charged = self.charge(meter.key, meter.cost, meter.value, now)
        if charged is not None:
            return Reading(meter, True, *charged)
        now = self.turn(now)
        place = hash(meter.key) & self._mask
        holder, before = meter.value, self._alive(meter.key, place, now)
        holders: Table = self.current[place].get(meter.key, {})
        held = len(before) + len(holders)
        known = holder in holders or holder in before
        if self.gate and not known and held >= self.limit:
            wait = min((before or holders).values()) - now + MOMENT if held else math.inf
            return Reading(meter, False, 0, self._reset(holders or before, now), wait)
        # A tally is exact up to one more than the limit, and needs no room beyond.
        if meter.cost and (known or held <= self.limit):
            holders = self._open(self.current[place], meter.key)
            if known:
                self._drop(holders if holder in holders else before, holder)  # to stand behind the others again
            self._put(holders, holder, now + self.window)
            held += not known
        return Reading(meter, True, self.limit - held, self._reset(holders or before, now))

    def release(self, meter: Meter) -> None:
        """End the lease of a holder, if it has one."""
        self.end_lease(meter.key, meter.value)

    def renew(self, meter: Meter, now: float) -> None:
        """Have the lease of a holder last for another window; one that expired meanwhile is granted anew."""
        self.turn(now)
        self.end_lease(meter.key, meter.value)
        holders = self.current[hash(meter.key) & self._mask].setdefault(meter.key, {})
        self._room.held += 1 + (not holders)
        holders[meter.value] = now + self.window

    def end_lease(self, key: str, holder: str) -> None:
        """End the lease of `holder`, if it has one."""
        place = hash(key) & self._mask
        for generation in (self.current, self.previous):
            holders = generation[place].get(key)
            if holders is not None and holders.pop(holder, None) is not None:
                self._room.held -= 1
                if not holders:
                    del generation[place][key]
                    self._room.held -= 1
                return

    def _alive(self, key: str, place: int, now: float) -> Table:
        """Return the holders under `key` whose leases were granted in the window before, without those that expired."""
        holders: Table | None = self.previous[place].get(key)
        if not holders:
            return {}
        expired: list[str] = []
        room = self.limit - len(self.current[place].get(key, ()))
        for holder, until in holders.items():
            # In their order, so that the first that lives ends the search; but all are looked at before any is refused.
            if until <= now:
                expired.append(holder)
            elif len(holders) - len(expired) < room:
                break
        for holder in expired:
            del holders[holder]
        self._room.held -= len(expired)
        return holders

    @staticmethod
    def _reset(holders: Table, now: float) -> float:
        return next(reversed(holders.values())) - now if holders else 0.0
