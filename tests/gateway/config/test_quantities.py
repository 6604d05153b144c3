import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from aupgate.config import Duration, Percent, Rate, Size


@pytest.mark.parametrize(
    ("notation", "written", "value"),
    [
        pytest.param(Duration, "50ms", 0.05, id="milliseconds"),
        pytest.param(Duration, "10s", 10.0, id="seconds"),
        pytest.param(Duration, "1.5 m", 90.0, id="minutes, with a fraction and a space"),
        pytest.param(Duration, "2h", 7200.0, id="hours"),
        pytest.param(Duration, "1d", 86400.0, id="days"),
        pytest.param(Duration, "0s", 0.0, id="no time at all"),
        pytest.param(Size, "64 KiB", 65536, id="kibibytes"),
        pytest.param(Size, "25MiB", 25 * 2**20, id="mebibytes"),
        pytest.param(Size, "1.5 GiB", 3 * 2**29, id="gibibytes"),
        pytest.param(Size, "10 MB", 10**7, id="megabytes"),
        pytest.param(Size, "3 KB", 3000, id="kilobytes"),
        pytest.param(Size, "512 B", 512, id="bytes"),
        pytest.param(Size, "100", 100, id="bytes without unit"),
        pytest.param(Size, 65536, 65536, id="bytes as a number"),
        pytest.param(Size, 0, 0, id="nothing"),
        pytest.param(Percent, "10%", 10.0, id="per cent"),
        pytest.param(Percent, "0.5 %", 0.5, id="half of one per cent"),
        pytest.param(Percent, "100%", 100.0, id="all"),
        pytest.param(Rate, "240/minute;60/second", "240/minute;60/second", id="two rates"),
        pytest.param(Rate, "1000 per 2 hours", "1000 per 2 hours", id="rate in words"),
    ],
)
def test_a_notation_is_understood(notation: Any, written: str | int, value: object) -> None:
    assert TypeAdapter(notation).validate_json(json.dumps(written), strict=True) == value


@pytest.mark.parametrize(
    ("notation", "written", "expected"),
    [
        pytest.param(Duration, 10, 'such as "50ms"', id="duration as a number"),
        pytest.param(Duration, "10", 'such as "50ms"', id="duration without unit"),
        pytest.param(Duration, "-1s", 'such as "50ms"', id="negative duration"),
        pytest.param(Duration, "1m30s", 'such as "50ms"', id="two units"),
        pytest.param(Duration, "10s\n", 'such as "50ms"', id="duration with a line end"),
        pytest.param(Duration, "٣s", 'such as "50ms"', id="digits of another script"),
        pytest.param(Duration, "9" * 400 + "d", 'such as "50ms"', id="endless duration"),
        pytest.param(Size, "64 Kib", '"64 KiB"', id="bits"),
        pytest.param(Size, -1, '"64 KiB"', id="negative size"),
        pytest.param(Size, True, '"64 KiB"', id="a truth value is no size"),
        pytest.param(Size, 1.5, '"64 KiB"', id="fraction of a byte"),
        pytest.param(Percent, 10, '"10%"', id="share as a number"),
        pytest.param(Percent, "101%", '"10%"', id="more than all"),
        pytest.param(Rate, "240", '"240/minute"', id="rate without time"),
        pytest.param(Rate, "240/fortnight", '"240/minute"', id="rate over an unknown time"),
        pytest.param(Rate, "240/minute and more", '"240/minute"', id="rate with an end that is none"),
        pytest.param(Rate, "0/minute", "at least 1", id="rate of nothing"),
    ],
)
def test_what_is_not_in_the_notation_is_refused_with_an_example(notation: Any, written: object, expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(notation).validate_json(json.dumps(written), strict=True)
    assert expected in caught.value.errors()[0]["msg"]


@given(st.integers(0, 10**12))
def test_a_size_is_written_so_that_it_can_be_read_again(size: int) -> None:
    adapter = TypeAdapter[int](Size)
    assert adapter.validate_python(adapter.dump_python(size, mode="json")) == size


@given(st.integers(0, 10**9))
def test_a_duration_is_written_so_that_it_can_be_read_again(milliseconds: int) -> None:
    adapter = TypeAdapter[float](Duration)
    read = adapter.validate_python(adapter.dump_python(milliseconds / 1000, mode="json"))
    assert read == pytest.approx(milliseconds / 1000)
