"""What is counted: quotas, the meters that requests make of them, what a store reads, and how a charge is settled."""

from abc import ABCMeta
from collections.abc import Callable, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Final, final, overload

from msgspec import Struct, StructMeta

from aupgate.values import unique, value


class MeterKind(StrEnum):
    """What a meter counts: cost in a window, distinct values in a window, holders at one time, or first uses."""

    RATE = "rate"
    DISTINCT = "distinct"
    LEASE = "lease"
    ONCE = "once"


class Window(StrEnum):
    """How a rate forgets: aligned fixed windows, a weighted sliding counter, or the generic cell rate algorithm."""

    FIXED = "fixed"
    SLIDING = "sliding"
    GCRA = "gcra"


class OnFailure(StrEnum):
    """What becomes of meters that the store cannot count."""

    LOCAL = "local"
    ALLOW = "allow"
    REFUSE = "refuse"


class Outcome(Struct, frozen=True, gc=False):
    """How an exchange ended."""

    status: int
    """Status of the response; 0 when none was started."""
    bytes_in: int
    bytes_out: int
    duration: float
    """Seconds from the first byte of the head to the end."""
    aborted: bool
    refused: bool = False
    """True when the gateway itself answered."""
    response_time: float = 0.0
    """Seconds until the head of the application's response; 0 when there was none."""
    headers: Sequence[tuple[bytes, bytes]] = ()
    """Header fields of the application's response, as it sent them."""
    body_start: bytes = b""
    """What the body of the response began with, as much as policies asked for."""


@value
class Settle:
    """How the charge of a meter is settled when the exchange ends. Both absent: it is kept."""

    refund_unless: Callable[[Outcome], bool] | None = None
    measured: Callable[[Outcome], float] | None = None
    """The true cost, known only at the end; the difference to what was charged is posted."""


KEEP: Final = Settle()


@unique
class Quota:
    """The part of a meter that never changes: what is allowed, over how long, for which rule. Made once, at start."""

    rule: str
    name: str
    """The name clients see in `RateLimit-Policy`."""
    limit: int
    window: float
    """Seconds; for a lease its time to live."""
    kind: MeterKind = MeterKind.RATE
    algorithm: Window = Window.SLIDING
    gate: bool = True
    """False: it only tallies and never stands in the way."""
    settle: Settle = KEEP
    announce: bool = True
    """False: clients are not told of it; whoever tests how far they can go should not."""
    settles: bool = field(init=False, default=False)
    """True when a charge must be looked at again once the exchange ends."""
    announced: bool = field(init=False, default=False)
    """True when responses tell clients how much is left: it is a rate, stands in the way, and is no secret."""

    def __post_init__(self) -> None:
        """Work out, once, what every request would ask."""
        object.__setattr__(self, "settles", self.settle is not KEEP or self.kind is MeterKind.LEASE)
        object.__setattr__(self, "announced", self.kind is MeterKind.RATE and self.gate and self.announce)


class Meter(Struct, frozen=True, gc=False):
    """One thing to count for one request. A cost of 0 peeks."""

    quota: Quota
    key: str
    cost: float = 1
    value: str = ""
    """For `distinct` the value counted, for `lease` the holder, for `once` unused."""


class Reading(Struct, frozen=True, gc=False):
    """What the store answered for one meter."""

    meter: Meter
    admitted: bool
    """False when the meter's quota is used up; then nothing of its group was taken."""
    remaining: float
    """What is left of the quota after this take."""
    reset_after: float
    """Seconds until the quota is whole again."""
    retry_after: float = 0.0
    """Seconds until the same take would be admitted; 0 when it was."""


class _SequenceMeta(StructMeta, ABCMeta):
    """Lets a struct be a sequence."""


NO_VALUE: Final = -1
"""Stands for the place of a value where a quota has no use for one."""


@unique
class Plan:
    """What requests of one kind are counted by, worked out once: each of them brings only its words."""

    quotas: tuple[Quota, ...]
    keys: tuple[int, ...]
    """For each quota, which of a request's words is the key it counts by."""
    costs: tuple[float, ...]
    values: tuple[int, ...] = ()
    """For each quota, which of them is its value, or `NO_VALUE`; empty when none has one."""
    announced: tuple[int, ...] = field(init=False, default=())
    """Which of the quotas responses tell of."""
    leases: tuple[int, ...] = field(init=False, default=())
    """Which of them are leases: they end with the exchange, whatever comes of it."""
    settles: tuple[int, ...] = field(init=False, default=())
    """Which of the others must be looked at again once the exchange ends."""
    words: int = field(init=False, default=0)
    """How many words a request brings."""

    def __post_init__(self) -> None:
        """Work out, once, what every request would ask."""
        quotas = tuple(enumerate(self.quotas))
        leases = tuple(place for place, quota in quotas if quota.kind is MeterKind.LEASE)
        settles = tuple(place for place, quota in quotas if quota.settles and place not in leases)
        object.__setattr__(self, "values", self.values or (NO_VALUE,) * len(quotas))
        object.__setattr__(self, "words", 1 + max((*self.keys, *self.values), default=-1))
        object.__setattr__(self, "announced", tuple(place for place, quota in quotas if quota.announced))
        object.__setattr__(self, "leases", leases)
        object.__setattr__(self, "settles", settles)


def merged(plans: Sequence[Plan]) -> Plan:
    """Return the plan that counts what each of `plans` does, of the words of each, one after the other."""
    quotas: list[Quota] = []
    keys: list[int] = []
    costs: list[float] = []
    values: list[int] = []
    words = 0
    for plan in plans:
        quotas += plan.quotas
        keys += [place + words for place in plan.keys]
        costs += plan.costs
        values += [place if place == NO_VALUE else place + words for place in plan.values]
        words += plan.words
    return Plan(tuple(quotas), tuple(keys), tuple(costs), tuple(values))


@final
class Planned(Struct, Sequence[Meter], metaclass=_SequenceMeta, eq=False, gc=False):
    """The meters that a plan makes of one request. Each is made only for who looks at it: most are never seen."""

    plan: Plan
    words: Sequence[str]
    """The keys and values that the plan refers to; none more."""

    def __len__(self) -> int:
        """The number of quotas in the plan."""
        return len(self.plan.quotas)

    @overload
    def __getitem__(self, place: int) -> Meter: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Meter]: ...
    def __getitem__(self, place: int | slice) -> Meter | Sequence[Meter]:
        """Make the meter at `place`."""
        return list(self)[place] if isinstance(place, slice) else self.meter(place)

    def meter(self, place: int) -> Meter:
        """Make the meter at `place`."""
        plan, value = self.plan, self.plan.values[place]
        return Meter(
            plan.quotas[place],
            self.words[plan.keys[place]],
            plan.costs[place],
            "" if value == NO_VALUE else self.words[value],
        )


class Admitted(Struct, Sequence[Reading], metaclass=_SequenceMeta, eq=False, gc=False):
    """The readings of planned meters, all admitted and none overdrawn. Each is made only for who looks at it."""

    meters: Planned
    left: Sequence[tuple[float, float]]
    """For each meter, what is left of the quota, and the seconds until it is whole again."""

    def __len__(self) -> int:
        """The number of meters."""
        return len(self.left)

    @overload
    def __getitem__(self, place: int) -> Reading: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Reading]: ...
    def __getitem__(self, place: int | slice) -> Reading | Sequence[Reading]:
        """Make the reading at `place`."""
        if isinstance(place, slice):
            return list(self)[place]
        remaining, reset_after = self.left[place]
        return Reading(self.meters[place], True, remaining, reset_after)


class PostKind(StrEnum):
    """What a post does to a meter.

    ADD adds to the count of a rate, or with a negative amount takes from it; of a `distinct` meter it counts the value.
    RELEASE ends a lease, RENEW has it last for another window from now.
    """

    ADD = "add"
    RELEASE = "release"
    RENEW = "renew"


class Post(Struct, frozen=True, gc=False):
    """A change to a meter that nobody waits for."""

    meter: Meter
    kind: PostKind = PostKind.ADD
    amount: float = 0
