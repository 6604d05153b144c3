"""What a failing policy becomes."""

import logging

import pytest

from aupgate.enforcement import Enforcement
from aupgate.faults import fault
from aupgate.model import Action, OnError
from tests.gateway.scripted import Judge


@pytest.mark.parametrize(
    ("on_error", "action", "status"), [(OnError.REFUSE, Action.REFUSE, 503), (OnError.ALLOW, Action.NOTE, 0)]
)
def test_a_fault_says_nothing_in_public_and_everything_in_the_log(
    on_error: OnError, action: Action, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "aupgate.engine"):
        finding = fault(Enforcement(Judge("judge"), on_error=on_error), ValueError("secret"))
    assert (finding.action, finding.status) == (action, status)
    assert "secret" not in finding.detail
    assert finding.evidence == {"policy": "judge", "error": "ValueError: secret"}
    assert "policy judge failed" in caplog.text
