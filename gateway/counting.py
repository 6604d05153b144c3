"""Arranging the meters of one request into the groups that a store takes, and handing each policy its readings back.

The gating meters of enforced rules form one group, which is taken whole or not at all. A meter of an observed rule, and
a tally, stand apart in groups of their own, so that they change no outcome and no outcome changes them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aupgate.enforcement import Enforcement
from aupgate.meters import Meter, MeterKind, Outcome, Post, PostKind, Reading
from aupgate.model import Finding, Mode, Request

OnReadings = Callable[[Request, Sequence[Reading]], Sequence[Finding]]


@dataclass(slots=True)
class Asked:
    """What one policy asked to count."""

    enforcement: Enforcement
    on_readings: OnReadings
    places: Sequence[int]
    """Where its meters went: an index into the gating group, or its complement into the groups apart."""
    together: slice | None = None
    """The part of the gating group, where all of its meters went there."""


class Counting:
    """The meters of one request."""

    __slots__ = ("_apart", "_gate", "asked")

    def __init__(self) -> None:
        self._gate: list[Meter] = []
        self._apart: list[list[Meter]] = []
        self.asked: list[Asked] = []

    def ask(self, enforcement: Enforcement, meters: Sequence[Meter], on_readings: OnReadings, request: Request) -> None:
        """Arrange `meters`; those of rules that are off are left out."""
        whole = enforcement.mode(request) if enforcement.uniform else None
        if whole is Mode.ENFORCE and not any([not meter.quota.gate for meter in meters]):  # noqa: C419 - a list is faster
            start = len(self._gate)
            self._gate += meters
            self.asked.append(Asked(enforcement, on_readings, (), slice(start, len(self._gate))))
            return
        places = [self._place(meter, whole or enforcement.mode_of(meter.quota.rule, request)) for meter in meters]
        self.asked.append(Asked(enforcement, on_readings, [place for place in places if place is not None]))

    def _place(self, meter: Meter, mode: Mode) -> int | None:
        if mode is Mode.OFF:
            return None
        if mode is Mode.ENFORCE and meter.quota.gate:
            self._gate.append(meter)
            return len(self._gate) - 1
        self._apart.append([meter])
        return ~(len(self._apart) - 1)

    @property
    def groups(self) -> list[list[Meter]]:
        """The groups to take, the gating one first."""
        return [self._gate, *self._apart]

    @staticmethod
    def readings_of(asked: Asked, answered: Sequence[Sequence[Reading]]) -> Sequence[Reading]:
        """Return the readings of one policy's meters from what the store answered."""
        gate = answered[0]
        if asked.together is not None:
            return gate[asked.together]
        return [gate[place] if place >= 0 else answered[1 + ~place][0] for place in asked.places]


def to_settle(answered: Sequence[Sequence[Reading]]) -> list[Meter]:
    """Return the meters that were charged and must be looked at again when the exchange ends."""
    unsettled = []
    for group in answered:
        settling = [reading for reading in group if reading.meter.quota.settles]
        if settling and all(reading.admitted for reading in group):
            unsettled += [reading.meter for reading in settling]
    return unsettled


def settle(meter: Meter, outcome: Outcome) -> list[Post]:
    """Return the posts that settle a charged meter once the outcome is known."""
    if meter.quota.kind is MeterKind.LEASE:
        return [Post(meter, PostKind.RELEASE)]
    refund_unless, measured = (
        meter.quota.settle.refund_unless,
        meter.quota.settle.measured,
    )
    if refund_unless is not None and not refund_unless(outcome):
        return [Post(meter, PostKind.ADD, -meter.cost)]
    if measured is not None and (difference := measured(outcome) - meter.cost):
        return [Post(meter, PostKind.ADD, difference)]
    return []
