"""What a quota says of itself once, so that no request has to work it out."""

import pytest

from aupgate.meters import KEEP, NO_VALUE, Admitted, Meter, MeterKind, Plan, Planned, Quota, Reading, Settle, merged


@pytest.mark.parametrize(
    ("kind", "gate", "settle", "announced", "settles"),
    [
        pytest.param(MeterKind.RATE, True, KEEP, True, False, id="a rate that stands in the way"),
        pytest.param(MeterKind.RATE, False, KEEP, False, False, id="a tally"),
        pytest.param(MeterKind.RATE, True, Settle(measured=lambda _: 1.0), True, True, id="measured at the end"),
        pytest.param(MeterKind.LEASE, True, KEEP, False, True, id="a lease is released"),
        pytest.param(MeterKind.DISTINCT, True, KEEP, False, False, id="distinct values"),
    ],
)
def test_a_quota_knows_whether_it_is_announced_and_whether_its_charges_are_settled(
    kind: MeterKind, gate: bool, settle: Settle, announced: bool, settles: bool
) -> None:
    quota = Quota("limits.api", "api", 10, 60.0, kind, gate=gate, settle=settle)
    assert (quota.announced, quota.settles) == (announced, settles)


RATE, LEASE = Quota("limits.api", "api", 10, 60.0), Quota("limits.open", "open", 5, 60.0, MeterKind.LEASE)
PLAN = Plan((LEASE, RATE, RATE), (0, 1, 0), (1, 2, 1), (2, NO_VALUE, NO_VALUE))
PLANNED = Planned(PLAN, ["client", "account", "id"])


def test_a_plan_knows_what_is_announced_and_what_is_settled() -> None:
    assert (PLAN.announced, PLAN.leases, PLAN.settles) == ((1, 2), (0,), ())


def test_merged_plans_count_what_each_counts() -> None:
    pages = Quota("other.pages", "pages", 10, 60.0, MeterKind.DISTINCT)
    other = Planned(Plan((pages,), (0,), (1,), (1,)), ["network", "/page"])
    both = Planned(merged([PLAN, other.plan]), [*PLANNED.words, *other.words])
    assert list(both) == [*PLANNED, *other]


def test_planned_meters_are_a_sequence_of_meters() -> None:
    meters = [Meter(LEASE, "client", 1, "id"), Meter(RATE, "account", 2), Meter(RATE, "client", 1)]
    assert list(PLANNED) == meters
    assert (len(PLANNED), PLANNED[1], PLANNED[1:]) == (3, meters[1], meters[1:])


def test_admitted_readings_are_a_sequence_of_readings() -> None:
    admitted = Admitted(PLANNED, [(4, 60.0), (8, 30.0), (9, 0.0)])
    readings = [Reading(meter, True, *left) for meter, left in zip(PLANNED, admitted.left, strict=True)]
    assert list(admitted) == readings
    assert (len(admitted), admitted[1], admitted[1:]) == (3, readings[1], readings[1:])
