"""Takes in several parts: answered when all parts are, and taken back when one fails."""

from collections.abc import Sequence
from typing import Any

import pytest

from aupgate.errors import StoreError
from aupgate.meters import Meter, Quota
from aupgate.store.redis.split import Split

METERS = [Meter(Quota("tests.split", name, 5, 60.0), name) for name in "abc"]
ADMITTED = [1000, 4, 60.0, -1]
REFUSED = [1000, 0, 60.0, 30.0]


def run(answers: dict[int, Any], slots: Sequence[int]) -> tuple[Any, list[tuple[int, list[Meter], float]]]:
    """Take three meters in `slots`, of which each answers so; return the answer and what was taken back."""
    done: list[Any] = []
    taken_back: list[tuple[int, list[Meter], float]] = []
    split = Split([METERS], [slots], lambda slot, meters, at: taken_back.append((slot, list(meters), at)), done.append)
    split.take(lambda slot, groups, then: then(answers[slot]))
    (answer,) = done
    return answer, taken_back


def test_readings_come_in_the_order_of_the_meters() -> None:
    answer, taken_back = run({1: [*ADMITTED, 2, 60.0, -1], 2: [1000, 3, 60.0, -1]}, [1, 2, 1])
    assert [(reading.meter, reading.remaining) for reading in answer[0]] == list(zip(METERS, [4, 3, 2], strict=True))
    assert taken_back == []


def test_what_others_charged_is_taken_back_at_the_time_of_the_charge() -> None:
    answer, taken_back = run({1: ADMITTED, 2: REFUSED, 3: ADMITTED}, [1, 2, 3])
    assert [(reading.admitted, reading.remaining) for reading in answer[0]] == [(True, 5), (False, 0), (True, 5)]
    assert taken_back == [(1, [METERS[0]], 1000), (3, [METERS[2]], 1000)]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_part_that_fails_takes_the_others_back(failing: int) -> None:
    error = StoreError("away")
    answer, taken_back = run({1: ADMITTED, 2: ADMITTED, 3: ADMITTED} | {failing: error}, [1, 2, 3])
    assert answer is error
    assert [slot for slot, _, _ in taken_back] == [slot for slot in (1, 2, 3) if slot != failing]
