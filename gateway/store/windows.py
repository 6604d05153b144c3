"""Window arithmetic as pure functions: how full a window is, and how long until it has room.

Times are seconds. `left` is what remains of the current window, `counted` what it holds, and `carried` what the window
before it held. Windows are aligned: the one that begins with a whole multiple of its length since the epoch is the same
for every key, in every process.
"""

import math
from typing import Final

MOMENT: Final = 1e-6
"""Seconds added to every wait. Present times are stored as floats that are 0.24 microseconds apart, so that a wait to
the very edge could fall on its wrong side."""


def sliding_load(carried: float, counted: float, left: float, window: float) -> float:
    """Return how much of a sliding window is used.

    This is the sliding-window counter of the `limits` package: the window before counts by the share of it that the
    sliding window still covers, rounded down, as if what it held had been spread evenly.
    """
    return counted + carried * left // window


def sliding_wait(carried: float, counted: float, room: float, left: float, window: float) -> float:
    """Return how long until the load of a sliding window is at most `room`; infinite when `room` is negative."""
    if room < 0:
        return math.inf
    if counted > room:  # this window alone holds too much: wait for the next, and until enough of this one has slid out
        return left + max(0.0, window - _share(room, counted) * window) + MOMENT
    if sliding_load(carried, counted, left, window) <= room:
        return 0.0
    return left - _share(room - counted, carried) * window + MOMENT


def _share(room: float, carried: float) -> float:
    """Return the share of `carried` below which what it weighs, rounded down, is at most `room`."""
    return (math.floor(room) + 1) / carried


def sliding_reset(carried: float, counted: float, left: float, window: float) -> float:
    """Return how long until a sliding window holds nothing any more."""
    if counted:
        return left + window - window / counted if counted > 1 else left
    return max(0.0, left - window / carried) if carried else 0.0


def fixed_wait(room: float, left: float) -> float:
    """Return how long until a fixed window that is too full has `room`; infinite when `room` is negative."""
    return left + MOMENT if room >= 0 else math.inf


def gcra_wait(level: float, room: float, pace: float) -> float:
    """Return how long until a bucket at `level` that drains `pace` a second is down to `room`; infinite below 0.

    The generic cell rate algorithm (ITU-T I.371) in its form as a leaky bucket: a limit of n per window is a bucket
    that holds n and drains evenly, n in each window. So a burst of n passes at once, and then one every window / n.
    """
    return max(0.0, level - room) / pace + MOMENT if room >= 0 else math.inf
