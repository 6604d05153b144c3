"""Errors as operators read them."""

import pytest

from aupgate.errors import ConfigError, Problem


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            Problem("a.toml", 3, "gateway.listen", "'x'", "expected host:port"),
            "a.toml:3: gateway.listen = 'x': expected host:port",
        ),
        (Problem("a.toml", 3, "gateway.listen", "", "unknown key"), "a.toml:3: gateway.listen: unknown key"),
        (Problem("AUPGATE_X", None, "x", "", "no such setting"), "AUPGATE_X: x: no such setting"),
        (Problem("a.toml", 7, "", "", "not TOML"), "a.toml:7: not TOML"),
    ],
)
def test_a_problem_is_one_line_with_place_key_value_and_expectation(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_an_error_holds_every_problem() -> None:
    problems = [Problem("a.toml", line, "k", "", "wrong") for line in (1, 2)]
    assert str(ConfigError(problems)) == "a.toml:1: k: wrong\na.toml:2: k: wrong"
