"""Lengths of time in words, for people who are told to wait."""

import math
from typing import Final

_UNITS: Final = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def period(seconds: float) -> str:
    """Return the length of a window as it follows "per": `minute`, `5 minutes`, `1.5 seconds`."""
    length, unit = next(((length, unit) for length, unit in _UNITS if seconds % length == 0), _UNITS[-1])
    return unit if seconds == length else f"{seconds / length:g} {unit}s"


def amount_of_time(seconds: float) -> str:
    """Return a time to wait, rounded up, in the largest unit that makes two or more of it: `12 seconds`, `3 hours`."""
    length, unit = next(((length, unit) for length, unit in _UNITS if seconds >= 2 * length), _UNITS[-1])
    number = max(1, math.ceil(seconds / length))
    return f"{number} {unit}{'s' if number != 1 else ''}"
