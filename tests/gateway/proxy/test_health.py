"""Passive health: what failures and successes make of an upstream, with the clock given."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.proxy.errors import UpstreamUnreachable
from aupgate.proxy.health import EJECT_AFTER, FIRST_PAUSE, LONGEST_PAUSE, Health

REFUSED = UpstreamUnreachable("refused")


def ejected(now: float = 100.0) -> Health:
    health = Health("http://app:8000")
    for _ in range(EJECT_AFTER):
        health.failed(now, REFUSED)
    return health


def test_an_upstream_is_healthy_until_it_has_failed_several_times_in_a_row() -> None:
    health = Health("http://app:8000")
    for _ in range(EJECT_AFTER - 1):
        health.failed(100.0, REFUSED)
    assert health.up
    health.failed(100.0, REFUSED)
    assert (health.up, health.back_at) == (False, 100.0 + FIRST_PAUSE)


def test_a_success_in_between_begins_the_row_anew() -> None:
    health = Health("http://app:8000")
    for _ in range(10):
        for _ in range(EJECT_AFTER - 1):
            health.failed(100.0, REFUSED)
        health.succeeded()
    assert (health.up, health.failing, health.failures) == (True, 0, 10 * (EJECT_AFTER - 1))


def test_many_failures_at_the_same_time_are_one_reason_to_pause() -> None:
    health = ejected()
    for _ in range(1000):
        health.failed(100.5, REFUSED)
    assert (health.back_at, health.failures) == (101.0, 1000 + EJECT_AFTER)


def test_each_try_without_a_success_doubles_the_pause_up_to_the_longest() -> None:
    health, pauses = ejected(), []
    for _ in range(10):
        now = health.back_at
        health.tried(now)
        health.failed(now, REFUSED)
        pauses.append(health.back_at - now)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60, 60, 60]


def test_after_a_success_the_next_pause_is_short_again() -> None:
    health = ejected()
    for _ in range(5):
        health.tried(health.back_at)
    health.succeeded()
    assert health.up
    for _ in range(EJECT_AFTER):
        health.failed(500.0, REFUSED)
    assert health.back_at == 500.0 + FIRST_PAUSE


def test_the_log_says_once_that_it_is_down_and_once_that_it_is_up_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aupgate.proxy")
    health = ejected()
    health.failed(100.0, REFUSED)
    health.succeeded()
    health.succeeded()
    assert caplog.messages == [
        'upstream "http://app:8000" is down after 3 failures in a row: refused',
        'upstream "http://app:8000" is up again',
    ]


@given(st.lists(st.tuples(st.sampled_from(["failed", "succeeded", "tried"]), st.floats(0, 100))))
def test_whatever_happens_an_upstream_can_be_tried_within_the_longest_pause(events: list[tuple[str, float]]) -> None:
    health, now = Health("http://app:8000"), 1000.0
    for event, later in events:
        now += later
        if event == "failed":
            health.failed(now, REFUSED)
        elif event == "succeeded":
            health.succeeded()
        elif not health.up:
            health.tried(now)
        assert health.back_at <= now + LONGEST_PAUSE
        assert health.up or health.failing >= EJECT_AFTER
