"""What a quota says of itself once, so that no request has to work it out."""

import pytest

from aupgate.meters import KEEP, MeterKind, Quota, Settle


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
