"""What is sent to Redis and what it answers: takes and posts as commands, replies as readings.

What never changes of a plan is packed once; a request adds only its keys.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from hashlib import blake2b, sha1
from importlib.resources import files
from typing import Any, Final

import hiredis
import msgspec

from aupgate.errors import StoreError
from aupgate.memory import Memory
from aupgate.meters import Admitted, Meter, MeterKind, Plan, Planned, Post, PostKind, Quota, Reading, Window
from aupgate.store.redis.keys import quota_id, remembered_subjects

SCRIPT: Final = files("aupgate.store.redis").joinpath("take.lua").read_bytes()
SHA: Final = sha1(SCRIPT, usedforsecurity=False).hexdigest().encode()
"""By what name Redis knows the script."""
pack_command: Final[Callable[[tuple[str | int | bytes, ...]], bytes]] = hiredis.pack_command  # type: ignore[assignment]  # its stub knows pairs only
"""Make a command of its words."""
LOAD: Final = pack_command(("SCRIPT", "LOAD", SCRIPT))
MICROSECONDS: Final = 1_000_000

_KINDS: Final[dict[StrEnum, int]] = {
    Window.FIXED: 1,
    Window.SLIDING: 2,
    Window.GCRA: 3,
    MeterKind.LEASE: 6,
    MeterKind.ONCE: 7,
}
_DISTINCT_FIXED: Final = 4
_DISTINCT_SLIDING: Final = 5
_ADD: Final = 10
_RELEASE: Final = 16
_FORGET: Final = 17
_RENEW: Final = 18

_DISTINCT: Final = MeterKind.DISTINCT
_LEASE: Final = MeterKind.LEASE
_ADDABLE: Final = frozenset({MeterKind.RATE, MeterKind.DISTINCT})
_LEASES: Final = frozenset({MeterKind.LEASE})
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[float | int]).decode

Groups = Sequence[Sequence[Meter]]
Row = tuple[int, int, int, int, float]
"""What the script is told of a meter: its kind, limit, window, gate and cost."""


class _Quoted(msgspec.Struct, gc=False):
    """What is known of a quota once and for all."""

    id: bytes
    kind: int
    limit: int
    window: int
    gate: int
    counts_values: bool

    def row(self, cost: float) -> Row:
        return self.kind, self.limit, self.window, self.gate, cost


class _Packed(msgspec.Struct, gc=False):
    """What is known of a plan once and for all."""

    spec: bytes
    keys: tuple[tuple[bytes, int], ...]
    """The end of each meter's key, and which of the request's words it counts by."""
    values: tuple[tuple[int, bool], ...]
    """For each meter with a value which of the words it is, and whether it is hashed."""
    head: tuple[bytes, ...]


def _quoted(quota: Quota) -> _Quoted:
    if quota.kind is MeterKind.RATE:
        kind = _KINDS[quota.algorithm]
    elif quota.kind is _DISTINCT:
        kind = _DISTINCT_FIXED if quota.algorithm is Window.FIXED else _DISTINCT_SLIDING
    else:
        kind = _KINDS[quota.kind]
    window = max(1, round(quota.window * MICROSECONDS))
    return _Quoted(quota_id(quota), kind, quota.limit, window, int(quota.gate), quota.kind in {_DISTINCT, _LEASE})


def _weightless(_: object) -> int:
    return 0


def _value(meter_value: str, hashed: bool) -> bytes:  # noqa: FBT001 - private, and called by position
    text = meter_value.encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=8).digest() if hashed or len(text) > 40 else text


class Commands:
    """Makes the commands of takes and posts, and remembers, within bounds, what they have in common."""

    def __init__(self) -> None:
        self._quoted = Memory(_quoted, longest=0, size=_weightless)
        self._packed = Memory(self._pack, longest=0, size=_weightless)
        self.subjects = remembered_subjects()

    def take(self, groups: Groups, now: bytes) -> bytes:
        """Return the command that takes `groups` at `now`, in microseconds; empty: whatever time the server has."""
        if len(groups) == 1:
            group = groups[0]
            if type(group) is Planned:
                return self._take_planned(group, now)
        quoted, spec, keys, values = self._quoted, [], [], []
        for group in groups:
            rows = []
            for meter in group:
                known = quoted[meter.quota]
                rows.append(known.row(meter.cost))
                keys.append(self.subjects[meter.key] + known.id)
                if known.counts_values:
                    values.append(_value(meter.value, meter.quota.kind is _DISTINCT))
            spec.append(rows)
        return pack_command(("EVALSHA", SHA, len(keys), *keys, _encode(spec), now, *values))

    def key(self, meter: Meter) -> bytes:
        """Return the key of a meter's counter."""
        return self.subjects[meter.key] + self._quoted[meter.quota].id

    def post(self, posts: Sequence[tuple[Post, int]], now: bytes) -> bytes:
        """Return the command that carries out posts at `now`, as for `take`.

        With each comes the time it belongs to, in microseconds: since the epoch, or up to 0 and from the server's now.
        """
        rows, keys, values = [], [], []
        for post, at in posts:
            meter = post.meter
            known = self._quoted[meter.quota]
            keys.append(self.key(meter))
            if post.kind is PostKind.ADD:
                kind = known.kind + _ADD
                if known.counts_values:
                    values.append(_value(meter.value, True))
            else:
                kind = _RELEASE if post.kind is PostKind.RELEASE else _RENEW
                values.append(_value(meter.value, False))
            rows.append((kind, known.limit, known.window, known.gate, post.amount, at))
        return self._evaluate(rows, keys, now, values)

    def take_back(self, meters: Sequence[Meter], at: int) -> bytes:
        """Return the command that takes back what `meters` charged at `at`; different values cannot be."""
        rows, keys, values = [], [], []
        for meter in meters:
            known = self._quoted[meter.quota]
            kind = _FORGET if meter.quota.kind is MeterKind.ONCE else known.kind + _ADD
            if meter.quota.kind is _LEASE:
                kind = _RELEASE
                values.append(_value(meter.value, False))
            keys.append(self.key(meter))
            rows.append((kind, known.limit, known.window, known.gate, -meter.cost, at))
        return self._evaluate(rows, keys, b"%d" % at, values)

    def _take_planned(self, group: Planned, now: bytes) -> bytes:
        packed, subjects, words = self._packed[group.plan], self.subjects, group.words
        if len(packed.keys) == 1:
            ((end, place),) = packed.keys
            names: tuple[bytes, ...] = (subjects[words[place]] + end,)
        else:
            names = tuple([subjects[words[place]] + end for end, place in packed.keys])
        values = [_value(words[place], hashed) for place, hashed in packed.values] if packed.values else ()
        return pack_command((*packed.head, *names, packed.spec, now, *values))

    def _pack(self, plan: Plan) -> _Packed:
        known = [self._quoted[quota] for quota in plan.quotas]
        return _Packed(
            _encode([[each.row(cost) for each, cost in zip(known, plan.costs, strict=True)]]),
            tuple((each.id, place) for each, place in zip(known, plan.keys, strict=True)),
            tuple(
                (place, quota.kind is _DISTINCT)
                for quota, each, place in zip(plan.quotas, known, plan.values, strict=True)
                if each.counts_values
            ),
            (b"EVALSHA", SHA, b"%d" % len(known)),
        )

    @staticmethod
    def _evaluate(rows: Sequence[tuple[Any, ...]], keys: Sequence[bytes], now: bytes, values: Sequence[bytes]) -> bytes:
        return pack_command((b"EVALSHA", SHA, len(keys), *keys, _encode([rows]), now, *values))


def leases(group: Sequence[Meter]) -> list[Meter]:
    """Return the meters of `group` that are leases, and are not only looked at."""
    if type(group) is Planned:
        return [group.meter(place) for place in group.plan.leases]
    return [meter for meter in group if meter.quota.kind is _LEASE and meter.cost]


def check_post(post: Post) -> None:
    """Raise `ValueError` for a change that the kind of meter cannot have."""
    quota = post.meter.quota
    wanted = _ADDABLE if post.kind is PostKind.ADD else _LEASES
    if quota.kind not in wanted:
        done, only = ("add to", "rates and values") if wanted is _ADDABLE else (str(post.kind), "leases")
        raise ValueError(f"cannot {done} {quota.name!r}, a meter of the kind {quota.kind!s}: only {only} can")


def numbers(reply: object) -> list[float]:
    """Return the numbers of a reply: the time in microseconds, then three a meter. Raises `StoreError`."""
    try:
        return _decode(reply)  # type: ignore[arg-type]
    except (msgspec.DecodeError, TypeError) as error:
        raise StoreError(f"Redis answered {str(reply)[:80]!r} to a take: is it the server that was meant?") from error


def readings(groups: Groups, replied: Sequence[float]) -> list[Sequence[Reading]]:
    """Return the readings of `groups`."""
    left, reset, wait = replied[1::3], replied[2::3], replied[3::3]
    if len(groups) == 1:
        group = groups[0]
        if type(group) is Planned and max(wait, default=0) < 0 <= min(left):
            return [Admitted(group, list(zip(left, reset, strict=True)))]
    place = 0
    read: list[Sequence[Reading]] = []
    for group in groups:
        each = []
        for meter in group:
            waits = wait[place]
            each.append(Reading(meter, waits < 0, left[place], reset[place], max(0.0, waits)))
            place += 1
        read.append(each)
    return read
