"""Arranging meters into groups."""

from aupgate.counting import Counting, settle, to_settle
from aupgate.enforcement import Enforcement
from aupgate.meters import Meter, MeterKind, Outcome, Quota, Reading, Settle
from aupgate.model import Mode
from tests.gateway.scripted import Judge, a_request


def a_meter(rule: str, **parts: object) -> Meter:
    return Meter(Quota(rule, rule, 1, 60.0, **parts), rule)  # type: ignore[arg-type]


def test_gating_meters_of_enforced_rules_are_one_group_and_others_stand_apart() -> None:
    counting = Counting()
    enforcement = Enforcement(Judge("p"), rules={"second": Mode.OBSERVE, "third": Mode.OFF})
    gate, tally = a_meter("p.first"), a_meter("p.first", gate=False)
    observed, off = a_meter("p.second"), a_meter("p.third")
    counting.ask(enforcement, [gate, observed, off, tally], lambda *_: (), a_request())
    assert counting.groups == [[gate], [observed], [tally]]


def test_a_policy_gets_its_readings_in_the_order_of_its_meters() -> None:
    counting = Counting()
    enforcement = Enforcement(Judge("p"), rules={"second": Mode.OBSERVE})
    meters = [a_meter("p.second"), a_meter("p.first"), a_meter("p.second")]
    counting.ask(enforcement, meters, lambda *_: (), a_request())
    answered = [[Reading(meter, True, 1, 0.0) for meter in group] for group in counting.groups]
    assert [reading.meter for reading in counting.readings_of(counting.asked[0], answered)] == meters


def test_only_what_was_charged_is_settled() -> None:
    lease = a_meter("p.first", kind=MeterKind.LEASE)
    plain = a_meter("p.second")
    taken, refused = Reading(lease, True, 0, 0.0), Reading(plain, False, 0, 0.0)
    assert to_settle([[taken, Reading(plain, True, 0, 0.0)]]) == [lease]
    assert to_settle([[taken, refused]]) == []


def test_a_measured_cost_posts_the_difference() -> None:
    meter = Meter(
        Quota("p.first", "first", 10, 60.0, settle=Settle(measured=lambda outcome: outcome.duration)), "k", cost=1
    )
    [post] = settle(meter, Outcome(200, 0, 0, 2.5, aborted=False))
    assert post.amount == 1.5
