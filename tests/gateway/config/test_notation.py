import json
from ipaddress import ip_network
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from aupgate.config import Duration, Later, Network, Notation, OneOrMore, Percent, Rate, Size

Even = Annotated[int, Notation(r"^[0-9]+$", "expected an even number", ("2",), parse=lambda text: _even(int(text)))]
Numbers = Annotated[int, Notation(r"^[0-9]+$", "expected a number", ("2",), parse=int, numbers=True)]
Texts = Annotated[tuple[str, ...], OneOrMore()]
Colour = Annotated[Literal["red"], Later("blue", "blue is not part of this version")]


def _even(number: int) -> int:
    if number % 2:
        raise ValueError(number)
    return number


@pytest.mark.parametrize(
    ("annotated", "given", "value"),
    [
        pytest.param(Even, "12", 12, id="text"),
        pytest.param(Numbers, 5, 5, id="number"),
        pytest.param(Texts, "a", ("a",), id="one for a list"),
        pytest.param(Texts, ["a", "b"], ("a", "b"), id="list"),
        pytest.param(Colour, "red", "red", id="part of this version"),
    ],
)
def test_a_value_is_taken_as_its_annotation_says(annotated: Any, given: object, value: object) -> None:
    assert TypeAdapter(annotated).validate_json(json.dumps(given), strict=True) == value


@pytest.mark.parametrize(
    ("annotated", "given", "message"),
    [
        pytest.param(Even, "x", "expected an even number", id="another form"),
        pytest.param(Even, "3", "expected an even number", id="a form that makes no value"),
        pytest.param(Even, 2, "expected an even number", id="a number where none is written"),
        pytest.param(Colour, "blue", "blue is not part of this version", id="later"),
        pytest.param(Colour, "green", "Input should be 'red'", id="never"),
        pytest.param(Texts, 5, "Input should be a valid array", id="neither one nor a list"),
    ],
)
def test_another_value_is_refused_in_the_words_of_the_annotation(annotated: Any, given: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(annotated).validate_json(json.dumps(given), strict=True)


def test_settings_made_in_python_may_hold_what_the_notation_stands_for() -> None:
    network = ip_network("10.0.0.0/8")
    assert TypeAdapter[Any](Network).validate_python(network) is network


def test_editors_are_told_the_form_and_examples() -> None:
    assert TypeAdapter[int](Even).json_schema() == {"type": "string", "pattern": "^[0-9]+$", "examples": ["2"]}
    assert TypeAdapter[int](Numbers).json_schema()["type"] == ["string", "integer"]
    one, many = TypeAdapter[tuple[str, ...]](Texts).json_schema()["anyOf"]
    assert (one["type"], many["type"]) == ("string", "array")


@given(
    st.text() | st.from_regex(r"[0-9]{1,20} ?[a-zA-Z%/]{0,6}"),
    st.sampled_from([Duration, Size, Percent, Network, Rate]),
)
def test_a_notation_takes_any_text_or_refuses_it_in_order(text: str, notation: Any) -> None:
    assert kinds_of_errors(notation, text) <= {"expectation"}


def kinds_of_errors(notation: Any, text: str) -> set[str]:
    try:
        TypeAdapter(notation).validate_python(text)
    except ValidationError as error:
        return {detail["type"] for detail in error.errors()}
    return set()
