"""Rates decide as the limits package does, and with windows of any length."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

from aupgate.meters import Meter, Quota, Window
from aupgate.store.memory import MemoryStore
from tests.gateway.store.contract import NOON, quota


def take(store: MemoryStore, meter: Meter, now: float) -> bool:
    return store.take([[meter]], now)[0][0].admitted


class Oracle:
    """What the limits package decides. It reads the clock as `time.time`, which the test sets."""

    def __init__(self, algorithm: Window, item: RateLimitItem) -> None:
        storage = MemoryStorage()
        self.item = item
        self.sliding = algorithm is Window.SLIDING
        self.limiter = (SlidingWindowCounterRateLimiter if self.sliding else FixedWindowRateLimiter)(storage)

    def hit(self, key: str, cost: int, now: float) -> bool:
        # Its fixed windows begin with a key's first hit, ours with a multiple of their length: a key for each of ours
        # makes them agree. It burns what it refuses, so it is asked first.
        key = key if self.sliding else f"{key} {now // self.item.get_expiry()}"
        return self.limiter.test(self.item, key, cost=cost) and self.limiter.hit(self.item, key, cost=cost)


@pytest.mark.parametrize("algorithm", [Window.FIXED, Window.SLIDING], ids=str)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(1, 20),
    # Where times are multiples of an eighth and windows powers of two, neither side rounds. Otherwise the offset keeps
    # what is rounded away from whole numbers.
    frame=st.sampled_from([(1, 0.0), (4, 0.0), (64, 0.0), (60, 0.0371), (3600, 0.0371)]),
    steps=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.0, 0.125, 0.5, 1.0, 3.0, 17.0, 64.0, 129.0]),
            st.sampled_from("kl"),
            st.integers(1, 3),
        ),
        max_size=80,
    ),
)
def test_decides_as_the_limits_package_does(
    algorithm: Window,
    limit: int,
    frame: tuple[int, float],
    steps: Sequence[tuple[float, str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    window, offset = frame
    store, oracle, now = MemoryStore(), Oracle(algorithm, RateLimitItemPerSecond(limit, window)), NOON + offset
    monkeypatch.setattr("time.time", lambda: now)
    for pause, key, cost in steps:
        now += pause
        meter = Meter(quota(limit, float(window), algorithm=algorithm), key, cost)
        assert take(store, meter, now) is oracle.hit(key, cost, now)


@pytest.mark.parametrize("window", [0.1, 0.7, 1 / 3, 59.94])
@pytest.mark.parametrize("algorithm", list(Window), ids=str)
def test_windows_may_have_any_length(algorithm: Window, window: float) -> None:
    store = MemoryStore()
    rate = Quota("tests.any", "any", 3, window, algorithm=algorithm)
    passed = sum(take(store, Meter(rate, "k"), NOON + step * window / 10) for step in range(1000))
    assert 290 <= passed <= 310
