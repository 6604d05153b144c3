"""The quantities that settings hold: durations, sizes, percentages and rates."""

import string
from collections.abc import Mapping
from typing import Annotated, Final

from aupgate.config.notation import Notation, expectation

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# In the order in which a size is tried when it is written.
_BYTES: Final = {
    "TiB": 2**40, "GiB": 2**30, "MiB": 2**20, "KiB": 2**10,
    "TB": 10**12, "GB": 10**9, "MB": 10**6, "KB": 10**3, "B": 1, "": 1,
}  # fmt: skip
# Fifteen digits are what a float holds exactly.
_NUMBER: Final = r"[0-9]{1,15}(\.[0-9]{1,6})?"
_ONE_RATE: Final = r"[0-9]{1,12} ?(/|per) ?([0-9]{1,6} ?)?[A-Za-z]+"


def _quantity(text: str, units: Mapping[str, float]) -> float:
    number = text.rstrip(string.ascii_letters + " ")
    return float(number) * units[text[len(number) :].strip()]


def _duration_text(seconds: float) -> str:
    whole = (unit for unit, length in reversed(_SECONDS.items()) if seconds and (seconds / length).is_integer())
    unit = next(whole, "ms")
    return f"{seconds / _SECONDS[unit]:.6f}".rstrip("0").rstrip(".") + unit


def size_text(size: int) -> str:
    """Return `size`, in bytes, as configurations write it: `64 KiB`."""
    unit = next((unit for unit, length in _BYTES.items() if size and size % length == 0), "B")
    return f"{size // _BYTES[unit]} {unit}"


def _percent(text: str) -> float:
    percent = float(text.rstrip("% "))
    if percent > 100:
        raise ValueError(text)
    return percent


def _rate(text: str) -> str:
    from limits import parse_many  # noqa: PLC0415 - slow to import, and many configurations have no rates

    if any(rate.amount < 1 or rate.get_expiry() < 1 for rate in parse_many(text)):
        raise expectation("expected rates of at least 1; what nobody may use belongs in policies.interfaces.deny")
    return text


Duration = Annotated[
    float,
    Notation(
        rf"^{_NUMBER} ?(ms|s|m|h|d)$",
        'expected a duration with its unit, such as "50ms", "10s", "5m", "2h" or "1d"',
        ("50ms", "10s", "5m"),
        parse=lambda text: _quantity(text, _SECONDS),
        write=_duration_text,
    ),
]
"""Seconds, written as `50ms`, `10s`, `5m`, `2h` or `1d`."""

Size = Annotated[
    int,
    Notation(
        rf"^{_NUMBER} ?(B|[KMGT]B|[KMGT]iB)?$",
        'expected a size in bytes, such as 65536, "64 KiB", "25 MiB" or "10 MB"',
        ("64 KiB", "25 MiB", 65536),
        parse=lambda text: round(_quantity(text, _BYTES)),
        write=size_text,
        numbers=True,
    ),
]
"""Bytes, written as a whole number or as `64 KiB`, `25 MiB`, `1 GiB` (powers of 1024), `10 MB` (powers of 1000)."""

Percent = Annotated[
    float,
    Notation(
        r"^[0-9]{1,3}(\.[0-9]{1,6})? ?%$",
        'expected a percentage from "0%" to "100%", such as "10%"',
        ("10%", "100%"),
        parse=_percent,
        write=lambda percent: f"{percent:g}%",
    ),
]
"""A share from 0 to 100, written as `10%`."""

Rate = Annotated[
    str,
    Notation(
        rf"^{_ONE_RATE}( ?[,;|] ?{_ONE_RATE})*$",
        'expected rates in the notation of the limits package, such as "240/minute" or "60/second;1000 per 2 hours"',
        ("240/minute", "60/second;1000/hour"),
        parse=_rate,
    ),
]
"""Rates in the notation of the limits package, valid for `limits.parse_many`."""
