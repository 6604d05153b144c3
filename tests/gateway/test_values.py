"""Values are slotted and compared by their fields; unique ones only by themselves."""

import pytest

from aupgate.values import unique, value


@value
class Point:
    x: int
    y: int = 0


@unique
class Only:
    name: str


def test_values_are_equal_when_their_fields_are() -> None:
    assert Point(1) == Point(1, 0)
    assert len({Point(1), Point(1), Point(2)}) == 2


def test_a_unique_value_equals_only_itself() -> None:
    one, other = Only("a"), Only("a")
    assert one != other
    assert len({one, other, one}) == 2


@pytest.mark.parametrize("made", [Point(1), Only("a")], ids=["value", "unique"])
def test_a_misspelt_field_cannot_be_set(made: object) -> None:
    with pytest.raises(AttributeError):
        made.z = 1  # type: ignore[attr-defined]
