"""The contract of a store: what every store must do, as a suite that each runs.

A store's test file derives a class from `StoreContract` and says in `open` how to make an empty store. The suite awaits
every take, so that it serves a store behind a connection too; `Immediate` adapts one that answers at once.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aupgate.meters import NO_VALUE, Meter, MeterKind, Plan, Planned, Post, PostKind, Quota, Reading, Window
from aupgate.store import Store

NOON = 1_700_000_000.0 - 1_700_000_000.0 % 3600
"""The start of an hour, so that every window used here begins at it."""


class Opened(Protocol):
    """A store under test. `post` returns when the changes are made."""

    async def take(self, groups: Sequence[Sequence[Meter]], now: float) -> Sequence[Sequence[Reading]]: ...

    async def post(self, posts: Sequence[Post | Planned], now: float) -> None: ...


class Immediate:
    """A store that answers at once, as the suite wants it."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def take(self, groups: Sequence[Sequence[Meter]], now: float) -> Sequence[Sequence[Reading]]:
        return self.store.take(groups, now)

    async def post(self, posts: Sequence[Post | Planned], now: float) -> None:
        self.store.post(posts, now)


def quota(limit: int = 3, window: float = 60.0, name: str = "test", **others: Any) -> Quota:
    return Quota(f"tests.{name}", name, limit, window, **others)


ALGORITHMS = pytest.mark.parametrize("algorithm", list(Window), ids=str)
KINDS = pytest.mark.parametrize("kind", list(MeterKind), ids=str)

SMALL = st.integers(1, 12)
GATING = st.builds(
    Quota,
    st.just("tests.property"),
    st.sampled_from(["a", "b"]),
    SMALL,
    st.sampled_from([1.0, 10.0, 60.0]),
    st.sampled_from(list(MeterKind)),
    st.sampled_from(list(Window)),
)
TALLYING = st.builds(Quota, st.just("tests.tally"), st.just("t"), SMALL, st.just(10.0), gate=st.just(False))
METERS = st.builds(Meter, GATING, st.sampled_from(["k", "l"]), st.sampled_from([1, 1, 2, 0.5]), st.sampled_from("xyz"))
PAUSES = st.sampled_from([0.0, 0.0, 0.125, 0.5, 3.0, 11.0, 61.0, 130.0])
STEPS = st.lists(st.tuples(PAUSES, st.lists(METERS, min_size=1, max_size=4)), min_size=1, max_size=12)
SPENDING = st.lists(st.tuples(PAUSES, st.sampled_from([1, 1, 2, 0.5])), max_size=30)


PROPERTY = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.differing_executors],  # every store runs these, each with its own
)


async def one(store: Opened, meter: Meter, now: float) -> Reading:
    return (await store.take([[meter]], now))[0][0]


async def admitted(store: Opened, meter: Meter, now: float, times: int) -> int:
    return sum([(await one(store, meter, now)).admitted for _ in range(times)])


class StoreContract:
    """Derive from it, and override `open`."""

    def open(self) -> Opened:
        raise NotImplementedError

    # -- groups --------------------------------------------------------------------------------------------------------

    async def test_no_groups_have_no_readings(self) -> None:
        assert await self.open().take([], NOON) == []
        assert await self.open().take([[], []], NOON) == [[], []]

    async def test_readings_come_in_the_order_of_the_meters(self) -> None:
        first, second, third = (Meter(quota(limit=n, name=f"q{n}"), "k") for n in (1, 2, 3))
        readings = await self.open().take([[first, second], [third]], NOON)
        assert [[reading.meter for reading in group] for group in readings] == [[first, second], [third]]

    @KINDS
    @ALGORITHMS
    async def test_a_refused_group_burns_nothing_of_any_meter(self, kind: MeterKind, algorithm: Window) -> None:
        store = self.open()
        full, open_ = (
            Meter(quota(1, name="full"), "k"),
            Meter(quota(5, name="open", kind=kind, algorithm=algorithm), "k"),
        )
        open_ = Meter(open_.quota, "k", 1, "v")
        await one(store, full, NOON)
        before = await one(store, Meter(open_.quota, "k", 0, "v"), NOON)
        for group in ([full, open_], [open_, full]):
            readings = {reading.meter.quota.name: reading for reading in (await store.take([group], NOON))[0]}
            assert not readings["full"].admitted
            assert readings["open"].admitted
            assert readings["open"].remaining == before.remaining
            assert readings["open"].retry_after == 0
        assert await one(store, Meter(open_.quota, "k", 0, "v"), NOON) == before

    async def test_every_meter_that_refuses_says_so_and_how_long_to_wait(self) -> None:
        store = self.open()
        short, long = (Meter(quota(1, window, "w", algorithm=Window.FIXED), "k") for window in (10.0, 60.0))
        await store.take([[short, long]], NOON)
        readings = (await store.take([[short, long]], NOON + 4))[0]
        assert [reading.admitted for reading in readings] == [False, False]
        assert [round(reading.retry_after) for reading in readings] == [6, 56]

    @PROPERTY
    @given(
        quotas=st.lists(GATING | TALLYING, min_size=1, max_size=4, unique_by=lambda quota: (quota.name, quota.kind)),
        steps=st.lists(st.tuples(PAUSES, st.sampled_from("kl"), st.sampled_from("xyz")), max_size=20),
    )
    async def test_a_planned_group_is_taken_as_its_meters_are(
        self, quotas: list[Quota], steps: list[tuple[float, str, str]]
    ) -> None:
        many = range(len(quotas))
        # Of three words two are keys and one is the value.
        values = tuple(NO_VALUE if each.kind is MeterKind.RATE else 2 for each in quotas)
        plan = Plan(tuple(quotas), tuple(n % 2 for n in many), tuple(1 + n % 2 for n in many), values)
        planned, one_by_one, now = self.open(), self.open(), NOON
        for pause, key, value in steps:
            now += pause
            meters = Planned(plan, [key, "k", value])
            expected = (await one_by_one.take([list(meters)], now))[0]
            assert list((await planned.take([meters], now))[0]) == expected

    async def test_groups_know_nothing_of_each_other(self) -> None:
        store = self.open()
        full, open_ = Meter(quota(1, name="full"), "k"), Meter(quota(5, name="open"), "k")
        await one(store, full, NOON)
        refused, charged = await store.take([[full], [open_]], NOON)
        assert not refused[0].admitted
        assert charged[0].remaining == 4

    @ALGORITHMS
    async def test_two_meters_on_one_key_are_accounted_together(self, algorithm: Window) -> None:
        store = self.open()
        meter = Meter(quota(2, algorithm=algorithm), "k")
        assert (await one(store, meter, NOON)).admitted
        readings = (await store.take([[meter, meter]], NOON))[0]
        assert [reading.admitted for reading in readings] == [True, False]
        assert [reading.remaining for reading in readings] == [1, 1]
        assert (await one(store, meter, NOON)).admitted

    @ALGORITHMS
    async def test_two_meters_on_one_key_wait_until_both_fit(self, algorithm: Window) -> None:
        store = self.open()
        meter = Meter(quota(7, algorithm=algorithm), "k")
        await admitted(store, meter, NOON, 6)
        refused = (await store.take([[meter, meter]], NOON + 7))[0][1]
        assert all(
            reading.admitted for reading in (await store.take([[meter, meter]], NOON + 7 + refused.retry_after))[0]
        )

    @ALGORITHMS
    async def test_what_never_fits_waits_for_ever(self, algorithm: Window) -> None:
        store = self.open()
        meter = Meter(quota(2, algorithm=algorithm), "k")
        assert (await one(store, Meter(meter.quota, "k", 3), NOON)).retry_after == math.inf
        assert (await store.take([[meter] * 3], NOON))[0][2].retry_after == math.inf
        assert (await one(store, Meter(quota(0, algorithm=algorithm), "k"), NOON)).retry_after == math.inf

    async def test_quotas_of_one_key_are_never_mixed_up(self) -> None:
        store = self.open()
        alike = [
            quota(1),
            quota(1, 10.0),
            quota(2),
            quota(1, name="other"),
            quota(1, algorithm=Window.FIXED),
            quota(1, algorithm=Window.GCRA),
            quota(1, kind=MeterKind.ONCE),
            quota(1, gate=False),
        ]
        for each in alike:
            reading = await one(store, Meter(each, "k"), NOON)
            assert (reading.admitted, reading.remaining) == (True, each.limit - 1)

    async def test_equal_quotas_share_their_counters(self) -> None:
        store = self.open()
        assert (await one(store, Meter(quota(1), "k"), NOON)).admitted
        assert not (await one(store, Meter(quota(1), "k"), NOON)).admitted

    @PROPERTY
    @given(steps=STEPS)
    async def test_take_is_all_or_nothing(self, steps: Sequence[tuple[float, list[Meter]]]) -> None:
        store, now = self.open(), NOON
        for pause, group in steps:
            now += pause
            peeks = [[Meter(meter.quota, meter.key, 0, meter.value)] for meter in group]
            before = await store.take(peeks, now)
            readings = (await store.take([group], now))[0]
            after = await store.take(peeks, now)
            if all(reading.admitted for reading in readings):
                assert all(now[0].remaining <= then[0].remaining for then, now in zip(before, after, strict=True))
            else:
                assert after == before
                assert [reading.remaining for reading in readings] == [reading[0].remaining for reading in before]

    # -- gates and peeks -----------------------------------------------------------------------------------------------

    @KINDS
    async def test_a_tally_refuses_nobody_and_says_how_far_it_is_over(self, kind: MeterKind) -> None:
        store = self.open()
        tally = quota(1, kind=kind, gate=False)
        readings = [await one(store, Meter(tally, "k", 1, value), NOON) for value in ("a", "b")]
        assert [reading.admitted for reading in readings] == [True, True]
        assert [reading.remaining for reading in readings] == [0, -1]

    async def test_a_tally_counts_what_its_group_refuses(self) -> None:
        store = self.open()
        full, tally = Meter(quota(1, name="full"), "k"), Meter(quota(9, name="tally", gate=False), "k")
        await one(store, full, NOON)
        assert [reading.admitted for reading in (await store.take([[full, tally]], NOON))[0]] == [False, True]
        assert (await one(store, Meter(tally.quota, "k", 0), NOON)).remaining == 8

    @ALGORITHMS
    async def test_a_tally_never_fills_the_gate_of_the_same_limit(self, algorithm: Window) -> None:
        store = self.open()
        await admitted(store, Meter(quota(1, algorithm=algorithm, gate=False), "k"), NOON, 5)
        assert (await one(store, Meter(quota(1, algorithm=algorithm), "k"), NOON)).admitted

    @KINDS
    async def test_a_peek_charges_nothing_and_tells_whether_one_is_left(self, kind: MeterKind) -> None:
        store = self.open()
        each = quota(1, kind=kind)
        for _ in range(3):
            assert (await one(store, Meter(each, "k", 0, "a"), NOON)).admitted
        assert (await one(store, Meter(each, "k", 1, "b"), NOON)).admitted
        peek = await one(store, Meter(each, "k", 0, "a"), NOON)
        assert not peek.admitted
        assert peek.retry_after > 0

    async def test_a_peek_may_refuse_its_group(self) -> None:
        store = self.open()
        failures, rate = quota(1, name="failures"), Meter(quota(5, name="rate"), "k")
        await one(store, Meter(failures, "k"), NOON)
        assert not (await store.take([[Meter(failures, "k", 0), rate]], NOON))[0][0].admitted
        assert (await one(store, rate, NOON)).remaining == 4

    # -- rates ---------------------------------------------------------------------------------------------------------

    @ALGORITHMS
    async def test_a_rate_admits_as_many_as_its_limit_at_once(self, algorithm: Window) -> None:
        store = self.open()
        assert await admitted(store, Meter(quota(100, algorithm=algorithm), "k"), NOON + 13.37, 150) == 100

    @ALGORITHMS
    async def test_keys_have_counters_of_their_own(self, algorithm: Window) -> None:
        store = self.open()
        await admitted(store, Meter(quota(algorithm=algorithm), "k"), NOON, 5)
        assert (await one(store, Meter(quota(algorithm=algorithm), "l"), NOON)).remaining == 2

    @pytest.mark.parametrize(
        ("algorithm", "at", "expected"),
        [
            (Window.FIXED, 59.9, 0),
            (Window.FIXED, 60.0, 60),
            (Window.SLIDING, 60.0, 0),
            (Window.SLIDING, 61.5, 2),  # what came at 30 slides out evenly from 60 on, as if it had come from 0 to 60
            (Window.SLIDING, 90.0, 30),
            (Window.SLIDING, 120.0, 60),
            (Window.GCRA, 29.0, 0),
            (Window.GCRA, 30.0, 0),
            (Window.GCRA, 31.0, 1),
            (Window.GCRA, 60.0, 30),
            (Window.GCRA, 90.0, 60),
            (Window.GCRA, 500.0, 60),
        ],
        ids=str,
    )
    async def test_a_full_window_makes_room_as_its_algorithm_says(
        self, algorithm: Window, at: float, expected: int
    ) -> None:
        store = self.open()
        meter = Meter(quota(60, algorithm=algorithm), "k")
        assert await admitted(store, meter, NOON + 30, 60) == 60
        assert await admitted(store, meter, NOON + at, 70) == expected

    @ALGORITHMS
    async def test_costs_may_be_fractions(self, algorithm: Window) -> None:
        store = self.open()
        meter = Meter(quota(2, algorithm=algorithm), "k", 0.5)
        assert await admitted(store, meter, NOON, 9) == 4

    @ALGORITHMS
    async def test_remaining_falls_by_the_cost_and_reset_after_makes_it_whole(self, algorithm: Window) -> None:
        store = self.open()
        meter = Meter(quota(9, algorithm=algorithm), "k", 2)
        readings = [await one(store, meter, NOON + 7) for _ in range(3)]
        assert [reading.remaining for reading in readings] == [7, 5, 3]
        later = NOON + 7 + readings[-1].reset_after + 0.001
        assert (await one(store, Meter(meter.quota, "k", 0), later)).remaining == pytest.approx(9)

    @ALGORITHMS
    @PROPERTY
    @given(
        limit=SMALL,
        window=st.sampled_from([1.0, 7.0, 60.0, 86400.0]),
        spent=SPENDING,
        cost=st.sampled_from([1, 2, 0.5]),
    )
    async def test_retry_after_is_true(
        self, algorithm: Window, limit: int, window: float, spent: Sequence[tuple[float, float]], cost: float
    ) -> None:
        store, now = self.open(), NOON
        rate = quota(limit, window, algorithm=algorithm)
        for pause, amount in spent:
            now += pause
            await one(store, Meter(rate, "k", amount), now)
        refused = await one(store, Meter(rate, "k", cost), now)
        if refused.admitted:
            assert refused.retry_after == 0
        elif cost > limit:
            assert refused.retry_after == math.inf
        else:
            early = await one(store, Meter(rate, "k", cost), now + refused.retry_after - 0.001)
            assert not early.admitted or refused.retry_after <= 0.001
            assert early.admitted or (await one(store, Meter(rate, "k", cost), now + refused.retry_after)).admitted

    @PROPERTY
    @given(limit=SMALL, spent=SPENDING)
    async def test_gcra_admits_no_more_than_its_limit_at_once_and_evenly_after(
        self, limit: int, spent: Sequence[tuple[float, float]]
    ) -> None:
        store, now, charged = self.open(), NOON, 0.0
        for pause, amount in spent:
            now += pause
            meter = Meter(quota(limit, algorithm=Window.GCRA), "k", amount)
            charged += amount * (await one(store, meter, now)).admitted
            assert charged <= limit + (now - NOON) * limit / 60 + 1e-6

    # -- posts ---------------------------------------------------------------------------------------------------------

    @ALGORITHMS
    async def test_a_refund_gives_back_what_was_charged(self, algorithm: Window) -> None:
        store = self.open()
        meter = Meter(quota(2, algorithm=algorithm), "k", 2)
        await one(store, meter, NOON + 1)
        await store.post([Post(meter, PostKind.ADD, -2)], NOON + 1)
        again = await one(store, meter, NOON + 1)
        assert (again.admitted, again.remaining) == (True, 0)

    @ALGORITHMS
    async def test_a_refund_never_makes_more_room_than_the_limit(self, algorithm: Window) -> None:
        store = self.open()
        meter = Meter(quota(3, algorithm=algorithm), "k")
        await one(store, meter, NOON)
        await store.post([Post(meter, PostKind.ADD, -5), Post(Meter(meter.quota, "new"), PostKind.ADD, -5)], NOON)
        assert [await admitted(store, Meter(meter.quota, key), NOON, 9) for key in ("k", "new")] == [3, 3]

    @ALGORITHMS
    async def test_what_was_measured_later_is_charged_without_asking(self, algorithm: Window) -> None:
        store = self.open()
        meter = Meter(quota(10, algorithm=algorithm), "k")
        await one(store, meter, NOON)
        await store.post([Post(meter, PostKind.ADD, 8.5)], NOON)
        assert (await one(store, Meter(meter.quota, "k", 0), NOON)).remaining == pytest.approx(0.5)
        await store.post([Post(meter, PostKind.ADD, 100)], NOON)
        assert not (await one(store, meter, NOON + 1)).admitted

    async def test_a_refund_belongs_to_the_window_of_its_charge(self) -> None:
        store = self.open()
        fixed, sliding = (Meter(quota(4, algorithm=algorithm), "k") for algorithm in (Window.FIXED, Window.SLIDING))
        for meter in (fixed, sliding):
            await admitted(store, meter, NOON + 50, 4)
            await one(store, meter, NOON + 75)
            await store.post([Post(meter, PostKind.ADD, -4)], NOON + 50)
        assert (await one(store, Meter(fixed.quota, "k", 0), NOON + 75)).remaining == 3
        assert (await one(store, Meter(sliding.quota, "k", 0), NOON + 75)).remaining == 3

    async def test_a_change_that_a_kind_of_meter_cannot_have_is_an_error(self) -> None:
        store = self.open()
        with pytest.raises(ValueError, match="only rates and values can"):
            await store.post([Post(Meter(quota(kind=MeterKind.ONCE), "k"), PostKind.ADD, 1)], NOON)
        with pytest.raises(ValueError, match="only leases can"):
            await store.post([Post(Meter(quota(), "k"), PostKind.RELEASE)], NOON)

    # -- distinct values -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("algorithm", [Window.FIXED, Window.SLIDING], ids=str)
    async def test_a_value_already_seen_passes_and_one_too_many_does_not(self, algorithm: Window) -> None:
        store = self.open()
        pages = quota(2, kind=MeterKind.DISTINCT, algorithm=algorithm)
        passed = [(await one(store, Meter(pages, "k", 1, value), NOON)).admitted for value in "aabcabc"]
        assert passed == [True, True, True, False, True, True, False]

    async def test_distinct_values_are_forgotten_when_a_fixed_window_ends(self) -> None:
        store = self.open()
        pages = quota(1, kind=MeterKind.DISTINCT, algorithm=Window.FIXED)
        assert (await one(store, Meter(pages, "k", 1, "a"), NOON)).admitted
        refused = await one(store, Meter(pages, "k", 1, "b"), NOON + 20)
        assert refused.retry_after == pytest.approx(40)
        assert (await one(store, Meter(pages, "k", 1, "b"), NOON + 20 + refused.retry_after)).admitted

    async def test_distinct_values_slide_out_evenly(self) -> None:
        store = self.open()
        pages = quota(4, kind=MeterKind.DISTINCT)
        for value in "abcd":
            await one(store, Meter(pages, "k", 1, value), NOON)
        assert not (await one(store, Meter(pages, "k", 1, "e"), NOON + 60)).admitted
        assert (await one(store, Meter(pages, "k", 1, "a"), NOON + 60)).remaining == 0  # known, and counted once
        assert (await one(store, Meter(pages, "k", 1, "e"), NOON + 90)).remaining == 1  # a and e, and half of b, c, d
        assert (await one(store, Meter(pages, "k", 0, "z"), NOON + 180)).remaining == 4

    @PROPERTY
    @given(limit=SMALL, seen=st.lists(st.tuples(PAUSES, st.text("abcdefghij", min_size=1, max_size=2)), max_size=40))
    async def test_waiting_makes_room_for_another_value(self, limit: int, seen: Sequence[tuple[float, str]]) -> None:
        store, now = self.open(), NOON
        pages = quota(limit, kind=MeterKind.DISTINCT)
        for pause, value in seen:
            now += pause
            refused = await one(store, Meter(pages, "k", 1, value), now)
            if not refused.admitted:
                now += refused.retry_after
                assert (await one(store, Meter(pages, "k", 1, value), now)).admitted

    @pytest.mark.parametrize("algorithm", [Window.FIXED, Window.SLIDING], ids=str)
    async def test_a_value_that_is_posted_counts_once_and_is_refused_nothing(self, algorithm: Window) -> None:
        store = self.open()
        missing = quota(2, kind=MeterKind.DISTINCT, algorithm=algorithm)
        for value in "aab":
            assert (await one(store, Meter(missing, "k", 0), NOON)).admitted
            await store.post([Post(Meter(missing, "k", 1, value), amount=1)], NOON)
        assert not (await one(store, Meter(missing, "k", 0), NOON)).admitted
        await store.post([Post(Meter(missing, "k", 1, "c"), amount=1)], NOON)
        assert not (await one(store, Meter(missing, "k", 0), NOON)).admitted

    async def test_a_value_that_is_posted_again_in_the_next_window_is_one_value(self) -> None:
        store = self.open()
        missing = quota(4, kind=MeterKind.DISTINCT)
        for value in "abcd":
            await store.post([Post(Meter(missing, "k", 1, value), amount=1)], NOON)
        await store.post([Post(Meter(missing, "k", 1, "a"), amount=1)], NOON + 60)
        assert (await one(store, Meter(missing, "k", 0), NOON + 90)).remaining == 2  # a, and half of b, c and d

    # -- leases --------------------------------------------------------------------------------------------------------

    async def test_as_many_hold_a_lease_as_the_limit_says(self) -> None:
        store = self.open()
        places = quota(2, kind=MeterKind.LEASE)
        passed = [(await one(store, Meter(places, "k", 1, holder), NOON)).admitted for holder in "abc"]
        assert passed == [True, True, False]

    async def test_a_released_lease_makes_room_once(self) -> None:
        store = self.open()
        places = quota(2, kind=MeterKind.LEASE)
        for holder in "ab":
            await one(store, Meter(places, "k", 1, holder), NOON)
        for _ in range(2):
            await store.post([Post(Meter(places, "k", 1, "a"), PostKind.RELEASE)], NOON + 1)
        passed = [(await one(store, Meter(places, "k", 1, holder), NOON + 1)).admitted for holder in "cd"]
        assert passed == [True, False]

    async def test_the_leases_of_a_plan_end_together_and_its_rates_stay_charged(self) -> None:
        store = self.open()
        plan = Plan((quota(1, kind=MeterKind.LEASE), quota(3, name="rate")), (0, 1), (1, 1), (2, NO_VALUE))
        taken = Planned(plan, ["k", "r", "a"])
        await store.take([taken], NOON)
        await store.post([taken], NOON)
        again = (await store.take([Planned(plan, ["k", "r", "b"])], NOON))[0]
        assert [reading.admitted for reading in again] == [True, True]
        assert again[1].remaining == 1

    async def test_a_lease_that_nobody_ends_expires(self) -> None:
        store = self.open()
        places = quota(1, kind=MeterKind.LEASE)
        await one(store, Meter(places, "k", 1, "a"), NOON + 50)
        refused = await one(store, Meter(places, "k", 1, "b"), NOON + 70)
        assert refused.retry_after == pytest.approx(40)
        assert not (await one(store, Meter(places, "k", 1, "b"), NOON + 109.9)).admitted
        assert (await one(store, Meter(places, "k", 1, "b"), NOON + 70 + refused.retry_after)).admitted

    async def test_its_holder_renews_a_lease_without_taking_another(self) -> None:
        store = self.open()
        places = quota(1, kind=MeterKind.LEASE)
        for at in (0, 50, 100, 150):
            assert (await one(store, Meter(places, "k", 1, "a"), NOON + at)).admitted
        assert not (await one(store, Meter(places, "k", 1, "b"), NOON + 190)).admitted
        assert (await one(store, Meter(places, "k", 1, "b"), NOON + 211)).admitted

    async def test_a_renewed_lease_lasts_for_another_window(self) -> None:
        store = self.open()
        places = quota(1, kind=MeterKind.LEASE)
        held = Meter(places, "k", 1, "a")
        await one(store, held, NOON)
        for at in (50, 100):
            await store.post([Post(held, PostKind.RENEW)], NOON + at)
        assert not (await one(store, Meter(places, "k", 1, "b"), NOON + 155)).admitted
        await store.post([Post(held, PostKind.RELEASE)], NOON + 155)
        assert (await one(store, Meter(places, "k", 1, "b"), NOON + 155)).admitted

    async def test_a_lease_that_expired_and_is_renewed_counts_whether_there_is_room_or_not(self) -> None:
        store = self.open()
        places = quota(1, kind=MeterKind.LEASE)
        first, second = Meter(places, "k", 1, "a"), Meter(places, "k", 1, "b")
        for held, at in ((first, 0), (second, 61)):
            assert (await one(store, held, NOON + at)).admitted
        await store.post([Post(first, PostKind.RENEW)], NOON + 62)
        await store.post([Post(second, PostKind.RELEASE)], NOON + 63)
        assert not (await one(store, Meter(places, "k", 1, "c"), NOON + 64)).admitted

    async def test_releasing_what_nobody_holds_changes_nothing(self) -> None:
        store = self.open()
        places = quota(1, kind=MeterKind.LEASE)
        await store.post([Post(Meter(places, "k", 1, "a"), PostKind.RELEASE)], NOON)
        passed = [(await one(store, Meter(places, "k", 1, holder), NOON)).admitted for holder in "ab"]
        assert passed == [True, False]

    # -- first uses ----------------------------------------------------------------------------------------------------

    async def test_a_nonce_is_used_once_until_its_window_has_passed(self) -> None:
        store = self.open()
        nonce = Meter(quota(1, kind=MeterKind.ONCE), "nonce")
        assert (await one(store, nonce, NOON + 50)).admitted
        refused = await one(store, nonce, NOON + 70)
        assert refused.retry_after == pytest.approx(40)
        assert not (await one(store, nonce, NOON + 109.9)).admitted
        assert (await one(store, nonce, NOON + 70 + refused.retry_after)).admitted

    # -- time ----------------------------------------------------------------------------------------------------------

    @KINDS
    @ALGORITHMS
    async def test_a_request_that_took_its_time_is_counted_now(self, kind: MeterKind, algorithm: Window) -> None:
        store = self.open()
        each = quota(2, 10.0, kind=kind, algorithm=algorithm)
        for value in "ab":
            await one(store, Meter(each, "k", 1, value), NOON + 40)
        assert not (await one(store, Meter(each, "k", 1, "c" if kind is not MeterKind.ONCE else "a"), NOON)).admitted
