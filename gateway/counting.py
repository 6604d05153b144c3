"""Arranging the meters of one request into the groups that a store takes, and handing each policy its readings back.

The meters of enforced rules form one group; of those, what gates is taken whole or not at all, and what only tallies
stands in nobody's way. A meter of an observed rule stands apart in a group of its own, so that it changes no outcome
and no outcome changes it.
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from aupgate.enforcement import Enforcement
from aupgate.memory import Memory
from aupgate.meters import Admitted, Meter, MeterKind, Outcome, Plan, Planned, Post, PostKind, Reading, merged
from aupgate.model import Finding, Mode, Request

OnReadings = Callable[[Request, Sequence[Reading]], Sequence[Finding]]
Readings = Sequence[Sequence[Reading]]
"""What a store answers to a take: a reading for each meter of each group."""
Places = Sequence[int] | None
"""Where the meters of one policy went: for each an index into the first group, or the complement of an index into the
groups; None when they are the first group."""
Counting = tuple[Enforcement, OnReadings]
"""A policy that counts, and where it looks at what was counted."""
Asked = tuple[Enforcement, OnReadings, Places]

_LEASE: Final = MeterKind.LEASE
_RELEASE: Final = PostKind.RELEASE


def _merge(counted: Sequence[tuple[Counting, Plan]]) -> tuple[Plan, tuple[Asked, ...]]:
    """Return one plan for what several policies count, and who wants to see which of its readings."""
    asked: list[Asked] = []
    start = 0
    for (enforcement, on_readings), plan in counted:
        end = start + len(plan.quotas)
        asked.append((enforcement, on_readings, range(start, end)))
        start = end
    return merged([plan for _, plan in counted]), tuple(asked)


def merging() -> Memory[tuple[tuple[Counting, Plan], ...], tuple[Plan, tuple[Asked, ...]]]:
    """Make a memory of merged plans. A site has few plans, and few combinations of them."""
    return Memory(_merge, longest=64)


class Take(Struct, gc=False):
    """The meters of one request. The engine yields it to have them taken, and is sent the readings group by group."""

    groups: list[Sequence[Meter]]
    """The groups to take. The first is of the rules that are enforced."""
    asked: tuple[Asked, ...] = ()
    """Who wants to see the readings of which meters."""

    def ask(self, enforcement: Enforcement, meters: Sequence[Meter], on_readings: OnReadings, request: Request) -> None:
        """Arrange `meters`; those of rules that are off are left out."""
        whole = enforcement.mode(request) if enforcement.uniform else None
        places = [self._place(meter, whole or enforcement.mode_of(meter.quota.rule, request)) for meter in meters]
        self.asked += ((enforcement, on_readings, [place for place in places if place is not None]),)

    def _place(self, meter: Meter, mode: Mode) -> int | None:
        if mode is Mode.OFF:
            return None
        if mode is Mode.ENFORCE:
            self.groups[0] = [*self.groups[0], meter]
            return len(self.groups[0]) - 1
        self.groups.append([meter])
        return ~(len(self.groups) - 1)


def readings_at(places: Places, answered: Readings) -> Sequence[Reading]:
    """Return the readings of one policy's meters from what the store answered."""
    first = answered[0]
    if places is None:
        return first
    return [first[place] if place >= 0 else answered[~place][0] for place in places]


def settling(answered: Readings) -> list[Meter | Planned] | None:
    """Return the meters to look at again when the exchange ends, or None where a meter is refused or overdrawn.

    Planned meters among them stand for all their leases.
    """
    charged: list[Meter | Planned] = []
    for group in answered:
        if type(group) is Admitted:
            meters = group.meters
            plan = meters.plan
            if plan.leases:
                charged.append(meters)
            for place in plan.settles:
                charged.append(meters.meter(place))  # noqa: PERF401 - a comprehension is a call
            continue
        for reading in group:
            if not reading.admitted or reading.remaining < 0:
                return None
            meter = reading.meter
            if meter.quota.settles:
                charged.append(meter)
    return charged


def settling_of_some(answered: Readings) -> list[Meter]:
    """Return the meters to look at again of groups of which some were refused: there, only tallies were charged."""
    charged: list[Meter] = []
    for group in answered:
        refused = not all(reading.admitted for reading in group)
        meters = [reading.meter for reading in group]
        charged += [meter for meter in meters if meter.quota.settles and not (refused and meter.quota.gate)]
    return charged


def settle(meter: Meter | Planned, outcome: Outcome) -> Sequence[Post | Planned]:
    """Return the posts that settle a charged meter once the outcome is known."""
    if type(meter) is Planned:
        return (meter,)
    if meter.quota.kind is _LEASE:
        return (Post(meter, _RELEASE),)
    refund_unless, measured = meter.quota.settle.refund_unless, meter.quota.settle.measured
    if refund_unless is not None and not refund_unless(outcome):
        return (Post(meter, PostKind.ADD, -meter.cost),)
    if measured is not None and (difference := measured(outcome) - meter.cost):
        return (Post(meter, PostKind.ADD, difference),)
    return ()
