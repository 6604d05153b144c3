"""Arranging meters into groups."""

import pytest

from aupgate.counting import Take, readings_at, settle, settling, settling_of_some
from aupgate.enforcement import Enforcement
from aupgate.meters import NO_VALUE, Admitted, Meter, MeterKind, Outcome, Plan, Planned, Post, Quota, Reading, Settle
from aupgate.model import Mode
from tests.gateway.scripted import Judge, a_request


def a_meter(rule: str, **parts: object) -> Meter:
    return Meter(Quota(rule, rule, 1, 60.0, **parts), rule)  # type: ignore[arg-type]


def test_meters_of_enforced_rules_are_one_group_and_others_stand_apart() -> None:
    take = Take([[]])
    enforcement = Enforcement(Judge("p"), rules={"second": Mode.OBSERVE, "third": Mode.OFF})
    gate, tally = a_meter("p.first"), a_meter("p.first", gate=False)
    observed, off = a_meter("p.second"), a_meter("p.third")
    take.ask(enforcement, [gate, observed, off, tally], lambda *_: (), a_request())
    assert take.groups == [[gate, tally], [observed]]


def test_policies_get_their_readings_in_the_order_of_their_meters() -> None:
    take = Take([[]])
    enforcement = Enforcement(Judge("p"), rules={"second": Mode.OBSERVE})
    meters = [[a_meter("p.second"), a_meter("p.first"), a_meter("p.second")], [a_meter("p.first")]]
    for each in meters:
        take.ask(enforcement, each, lambda *_: (), a_request())
    answered = [[Reading(meter, True, 1, 0.0) for meter in group] for group in take.groups]
    assert [[reading.meter for reading in readings_at(where, answered)] for _, _, where in take.asked] == meters


LEASE, TALLY, PLAIN = (
    a_meter("p.first", kind=MeterKind.LEASE),
    a_meter("p.second", gate=False, settle=Settle(measured=lambda _: 2.0)),
    a_meter("p.third"),
)


def test_what_was_charged_is_settled_where_its_quota_says_so() -> None:
    assert settling([[Reading(LEASE, True, 0, 0.0), Reading(PLAIN, True, 0, 0.0)], [Reading(TALLY, True, 0, 0.0)]]) == [
        LEASE,
        TALLY,
    ]


@pytest.mark.parametrize("over", [Reading(PLAIN, False, 0, 0.0), Reading(TALLY, True, -1, 0.0)], ids=["gate", "tally"])
def test_what_is_refused_or_overdrawn_is_to_be_looked_at(over: Reading) -> None:
    assert settling([[Reading(LEASE, True, 0, 0.0), over]]) is None


def test_of_a_refused_group_only_tallies_are_settled() -> None:
    lease, tally, refused = Reading(LEASE, True, 0, 0.0), Reading(TALLY, True, -1, 0.0), Reading(PLAIN, False, 0, 0.0)
    assert settling_of_some([[lease, tally, refused], [lease]]) == [TALLY, LEASE]


def test_a_measured_cost_posts_the_difference() -> None:
    quota = Quota("p.first", "first", 10, 60.0, settle=Settle(measured=lambda outcome: outcome.duration))
    [post] = settle(Meter(quota, "k", cost=1), Outcome(200, 0, 0, 2.5, aborted=False))
    assert isinstance(post, Post)
    assert post.amount == 1.5


def test_of_a_planned_group_only_what_is_settled_is_made_a_meter_of() -> None:
    refunded = Quota("p.second", "second", 10, 60.0, settle=Settle(refund_unless=lambda outcome: outcome.status < 400))
    plan = Plan((LEASE.quota, PLAIN.quota, refunded), (0, 0, 0), (1, 1, 1), (1, NO_VALUE, NO_VALUE))
    planned = Planned(plan, ["k", "id"])
    assert settling([Admitted(planned, [(1, 60.0)] * 3)]) == [planned, planned[2]]
