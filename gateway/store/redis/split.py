"""Takes whose meters are on several nodes of a cluster: a part for each, and taking back when one part refuses."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aupgate.meters import Meter, MeterKind, Reading
from aupgate.store import Done
from aupgate.store.redis.commands import Groups, readings

TakePart = Callable[[int, Groups, Done], None]
"""Takes groups on the node of a slot, and hands over the numbers of the reply or an error."""
TakeBack = Callable[[int, Sequence[Meter], float], None]
"""Takes back what meters charged on the node of a slot, at a time in microseconds."""
Place = tuple[int, int]
"""Which group, and where in it."""


class Part:
    """The meters of a take that are in one slot."""

    __slots__ = ("answer", "groups", "places", "slot")

    def __init__(self, slot: int, groups: int) -> None:
        self.slot = slot
        self.groups: list[list[Meter]] = [[] for _ in range(groups)]
        self.places: list[list[int]] = [[] for _ in range(groups)]
        self.answer: Any = None
        """The numbers of the reply, or an error."""


class Split:
    """One take in several parts."""

    def __init__(self, groups: Groups, slots: Sequence[Sequence[int]], take_back: TakeBack, done: Done) -> None:
        self._take_back = take_back
        self._done = done
        self._sizes = [len(group) for group in groups]
        self._parts = _divide(groups, slots)
        self._waiting = len(self._parts)

    def take(self, take_part: TakePart) -> None:
        """Take every part; all are asked before any is answered, so that it is one wait."""
        for part in self._parts:
            take_part(part.slot, part.groups, self._answered(part))

    def _answered(self, part: Part) -> Done:
        def done(answer: Any) -> None:
            part.answer = answer
            self._waiting -= 1
            if not self._waiting:
                self._finish()

        return done

    def _finish(self) -> None:
        error = next((part.answer for part in self._parts if isinstance(part.answer, Exception)), None)
        if error is not None:
            for part in self._parts:
                if not isinstance(part.answer, Exception):
                    self._give_back(part, dict.fromkeys(range(len(self._sizes)), True))
            self._done(error)
            return
        read = self._merge()
        refused = {number: not all(reading.admitted for reading in group) for number, group in enumerate(read)}
        if any(refused.values()):
            for part in self._parts:
                self._give_back(part, refused)
            read = [
                [_unchanged(each) for each in group] if refused[number] else group for number, group in enumerate(read)
            ]
        self._done(read)

    def _merge(self) -> list[Sequence[Reading]]:
        at: dict[Place, Reading] = {}
        for part in self._parts:
            for number, group in enumerate(readings(part.groups, part.answer)):
                at.update({(number, place): each for place, each in zip(part.places[number], group, strict=True)})
        return [[at[number, place] for place in range(size)] for number, size in enumerate(self._sizes)]

    def _give_back(self, part: Part, refused: Mapping[int, bool]) -> None:
        """Take back what a part charged for groups that are refused as a whole, unless it refused them itself."""
        charged: list[Meter] = []
        for number, group in enumerate(readings(part.groups, part.answer)):
            if refused[number] and all(reading.admitted for reading in group):
                charged += [each.meter for each in group if each.meter.quota.gate and each.meter.cost]
        if charged:
            self._take_back(part.slot, charged, part.answer[0])


def _divide(groups: Groups, slots: Sequence[Sequence[int]]) -> list[Part]:
    parts: dict[int, Part] = {}
    for number, (group, of_group) in enumerate(zip(groups, slots, strict=True)):
        for place, (meter, slot) in enumerate(zip(group, of_group, strict=True)):
            part = parts.get(slot)
            if part is None:
                part = parts[slot] = Part(slot, len(groups))
            part.groups[number].append(meter)
            part.places[number].append(place)
    return list(parts.values())


def _unchanged(reading: Reading) -> Reading:
    """Return how a meter stands once its charge is taken back."""
    meter = reading.meter
    if not reading.admitted or not meter.quota.gate or not meter.cost or meter.quota.kind is MeterKind.DISTINCT:
        return reading
    back = meter.cost if meter.quota.kind is MeterKind.RATE else 1
    return Reading(meter, True, reading.remaining + back, reading.reset_after)
