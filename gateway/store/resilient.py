"""A store that goes on when the store behind a connection is away: limits say how.

- `local`: what cannot be counted there is counted in this process, so that limits hold for each process alone.
- `allow`: what cannot be counted is admitted.
- `refuse`: what cannot be counted is refused, by an error that becomes 503.

Meters of one group may differ in it. What was counted here is settled here, and what was not counted is not settled:
the meters of such readings are `LocalMeter`s and `UncountedMeter`s, which is how `post` knows them again. What was
counted there is settled there, if need be once it is back; the store keeps such posts, within a bound. So a lease that
was granted before Redis went away ends when its request does, or at the latest when it expires.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from aupgate.errors import ServiceError, StoreError
from aupgate.meters import Meter, OnFailure, Planned, Post, PostKind, Quota, Reading
from aupgate.metrics import Family
from aupgate.store import Done, RemoteStore, Store, submitted

Groups = Sequence[Sequence[Meter]]


class LocalMeter(Meter, frozen=True, gc=False):
    """A meter that was counted in this process."""


class UncountedMeter(Meter, frozen=True, gc=False):
    """A meter that was admitted without being counted."""


_ADD: Final = PostKind.ADD
_LOCAL: Final = OnFailure.LOCAL
_REFUSE: Final = OnFailure.REFUSE


class ResilientStore:
    """Asks `remote`, and when it fails does as `on_failure` says. It is a `RemoteStore`.

    `by_rule` says otherwise for the limits of some rules.
    """

    def __init__(
        self,
        remote: RemoteStore,
        local: Store,
        on_failure: OnFailure = OnFailure.LOCAL,
        by_rule: Mapping[str, OnFailure] | None = None,
    ) -> None:
        self._remote = remote
        self._local = local
        self._on_failure = on_failure
        self._by_rule = dict(by_rule or {})
        self._uniform = on_failure is _LOCAL and all(each is _LOCAL for each in self._by_rule.values())
        self._away = False
        self.fallbacks: Counter[OnFailure] = Counter()
        """Takes that the remote store did not answer, by what became of them."""

    def families(self) -> Iterator[Family]:
        """Tell of the takes that fell back, for `Metrics.show`."""
        samples = [((str(each),), float(self.fallbacks[each])) for each in OnFailure]
        yield Family(
            "counter", "aupgate_store_fallbacks", "Takes that the store could not answer", ("on_failure",), samples
        )

    async def take(self, groups: Groups, now: float) -> list[Sequence[Reading]]:
        """Take each group of meters; see `RemoteStore.take`."""
        return await submitted(self, groups, now)

    def submit(self, groups: Groups, now: float, done: Done) -> None:
        """Take each group of meters; see `RemoteStore.submit`."""

        def answered(answer: Any) -> None:
            self._away = isinstance(answer, StoreError)
            done(self._fall_back(groups, now, answer) if self._away else answer)

        self._remote.submit(groups, now, answered)

    def post(self, posts: Sequence[Post | Planned], now: float) -> None:
        """Change meters where they were counted; see `RemoteStore.post`."""
        remote: list[Post | Planned] = []
        local: list[Post | Planned] = []
        for post in posts:
            counted_as = Meter if type(post) is Planned else type(post.meter)  # what fell back is never left planned
            if counted_as is Meter:
                remote.append(post)
                if self._away and type(post) is Post and post.kind is _ADD and post.amount > 0:
                    local.append(post)  # what is counted only at the end counts here too, as long as we count here
            elif counted_as is LocalMeter:
                local.append(post)
        if local:
            self._local.post(local, now)
        if remote:
            self._remote.post(remote, now)

    async def close(self) -> None:
        """Close the store that is asked; see `RemoteStore.close`."""
        await self._remote.close()

    # -- when the store is away ----------------------------------------------------------------------------------------

    def _fall_back(self, groups: Groups, now: float, error: StoreError) -> Any:
        meters = () if self._uniform else [meter for group in groups for meter in group]
        decisions = {self._decision(meter.quota) for meter in meters} or {_LOCAL}
        if _REFUSE in decisions:
            self.fallbacks[_REFUSE] += 1
            return error
        self.fallbacks[_LOCAL if _LOCAL in decisions else OnFailure.ALLOW] += 1
        try:
            return [self._take_local(group, now) for group in groups]
        except ServiceError as failure:
            return failure

    def _decision(self, quota: Quota) -> OnFailure:
        return self._by_rule.get(quota.rule, self._on_failure)

    def _take_local(self, group: Sequence[Meter], now: float) -> Sequence[Reading]:
        counted = [meter for meter in group if self._uniform or self._decision(meter.quota) is _LOCAL]
        answers = iter(self._local.take([counted], now)[0])
        return [
            _as(LocalMeter, next(answers))
            if self._uniform or self._decision(meter.quota) is _LOCAL
            else _uncounted(meter)
            for meter in group
        ]


def _as(made: Callable[..., Meter], reading: Reading) -> Reading:
    meter = reading.meter
    made_of = made(meter.quota, meter.key, meter.cost, meter.value)
    return Reading(made_of, reading.admitted, reading.remaining, reading.reset_after, reading.retry_after)


def _uncounted(meter: Meter) -> Reading:
    limit = meter.quota.limit
    return Reading(
        UncountedMeter(meter.quota, meter.key, meter.cost, meter.value), True, max(0, math.floor(limit)), 0.0
    )
