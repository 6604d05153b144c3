"""Window arithmetic: how full, and how long until there is room."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aupgate.store.windows import MOMENT, fixed_wait, gcra_wait, sliding_load, sliding_reset, sliding_wait

WINDOW = 60.0
COUNTS = st.integers(0, 1000)
LEFT = st.floats(0, WINDOW, exclude_min=True)


@pytest.mark.parametrize(
    ("carried", "counted", "left", "expected"),
    [
        (0, 0, 60, 0),
        (0, 7, 1, 7),
        (10, 0, 60, 10),
        (10, 0, 59, 9),
        (10, 3, 30, 8),
        (10, 3, 0.001, 3),
        (1, 0, 59.9, 0),
        (10, 0.5, 30, 5.5),
    ],
    ids=str,
)
def test_the_window_before_weighs_by_the_share_still_covered(
    carried: float, counted: float, left: float, expected: float
) -> None:
    assert sliding_load(carried, counted, left, WINDOW) == expected


@pytest.mark.parametrize(
    ("carried", "counted", "room", "left", "expected"),
    [
        (0, 0, 0, 60, 0),
        (10, 0, 9, 60, 0),
        (10, 0, 4, 60, 30),
        (10, 3, 4, 60, 48),
        (10, 9, 4, 10, 10 + 60 - 60 * 5 / 9),
        (0, 10, 9, 10, 10),
        (0, 10, 0, 10, 10 + 54),
        (0, 1.5, 1, 10, 10),
        (0, 0, -1, 60, math.inf),
    ],
    ids=str,
)
def test_a_sliding_window_has_room_after(
    carried: float, counted: float, room: float, left: float, expected: float
) -> None:
    if carried == 10 and room == 9:
        expected = MOMENT  # ten that weigh exactly ten weigh nine a moment later
    assert sliding_wait(carried, counted, room, left, WINDOW) == pytest.approx(expected, abs=2 * MOMENT)


def load_after(carried: int, counted: int, left: float, wait: float) -> float:
    """The load when nobody takes anything for `wait` seconds."""
    if wait <= left:
        return sliding_load(carried, counted, left - wait, WINDOW)
    if wait <= left + WINDOW:
        return sliding_load(counted, 0, left + WINDOW - wait, WINDOW)
    return 0


@given(COUNTS, COUNTS, COUNTS, LEFT)
def test_a_sliding_window_has_room_after_the_wait_and_not_before(
    carried: int, counted: int, room: int, left: float
) -> None:
    wait = sliding_wait(carried, counted, room, left, WINDOW)
    assert load_after(carried, counted, left, wait) <= room
    if wait > 0.001:
        assert load_after(carried, counted, left, wait - 0.001) > room


@given(COUNTS, COUNTS, LEFT)
def test_a_sliding_window_is_whole_after_its_reset_and_not_before(carried: int, counted: int, left: float) -> None:
    reset = sliding_reset(carried, counted, left, WINDOW)
    assert load_after(carried, counted, left, reset + MOMENT) == 0
    assume(reset > 0.001)
    assert load_after(carried, counted, left, reset - 0.001) > 0


def test_a_fixed_window_has_room_when_it_ends() -> None:
    assert fixed_wait(0, 12.5) == 12.5 + MOMENT
    assert fixed_wait(-1, 12.5) == math.inf


def test_a_bucket_has_room_when_enough_has_drained() -> None:
    assert gcra_wait(10, 4, 2) == 3 + MOMENT
    assert gcra_wait(10, -0.5, 2) == math.inf
