"""Times to wait, in words."""

import pytest

from aupgate.durations import amount_of_time, period


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1, "second"),
        (5, "5 seconds"),
        (60, "minute"),
        (90, "90 seconds"),
        (300, "5 minutes"),
        (3600, "hour"),
        (7200.0, "2 hours"),
        (86400, "day"),
        (30 * 86400, "30 days"),
        (0.5, "0.5 seconds"),
    ],
    ids=str,
)
def test_a_window_reads_as_it_follows_per(seconds: float, expected: str) -> None:
    assert period(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "1 second"),
        (0.2, "1 second"),
        (1.000001, "2 seconds"),
        (12, "12 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (150, "3 minutes"),
        (7200, "2 hours"),
        (3 * 86400, "3 days"),
    ],
    ids=str,
)
def test_a_wait_is_rounded_up(seconds: float, expected: str) -> None:
    assert amount_of_time(seconds) == expected
