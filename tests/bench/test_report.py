import pytest

from bench.figures import Cell, Goal, Table
from bench.report import as_json, as_markdown, as_text, goal_lines, lines, number


def a_table() -> Table:
    table = Table("peak", "Peak", {"rate": "req/s", "p50": "ms"}, reference="nginx")
    table.expect(["own", "nginx", "other"])
    table.add_all("nginx", {"rate": 1_000, "p50": 2})
    for sample in (12_000, 10_000, 11_000):
        table.add("own", "rate", sample)
    table.miss("other", "it is not installed")
    return table


def test_a_line_shows_median_spread_and_ratio_and_what_is_missing() -> None:
    assert lines(a_table()) == [
        ["", "rate req/s", "ratio", "p50 ms"],
        ["own", "11,000 (10,000 to 12,000)", "11.0", "-"],
        ["nginx", "1,000", "1", "2.00"],
        ["other", "not measured: it is not installed"],
    ]


def test_columns_stand_below_each_other() -> None:
    assert as_text(
        [["", "rate"], ["own", "5"], ["other", "not measured: gone"], ["nginx", "12", "x"]]
    ).splitlines() == [
        "       rate",
        "own    5",
        "other  not measured: gone",
        "nginx  12  x",
    ]


def test_markdown_has_the_same_number_of_cells_in_every_line() -> None:
    written = as_markdown(lines(a_table())).splitlines()
    assert written[1] == "|---|---:|---:|---:|"
    assert {line.count("|") for line in written} == {5}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00119, "0.00119"), (1.5, "1.50"), (45.25, "45.2"), (999.6, "1,000"), (90_123.4, "90,123")],
)
def test_numbers_have_about_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_goals_of_parts_that_did_not_run_are_left_out() -> None:
    own, nginx = Cell("peak", "own", "rate"), Cell("peak", "nginx", "rate")
    goals = [
        Goal("fast", own, nginx, 12, at_most=False),
        Goal("quick", Cell("peak", "own", "p50"), None, 1),
        Goal("small", Cell("memory", "own", "at rest"), None, 1),
    ]
    assert goal_lines(goals, {"peak": a_table()})[1:] == [
        ["fast", "≥ 12.0", "11.0", "missed"],
        ["quick", "≤ 1.00", "not measured", ""],
    ]


def test_json_keeps_every_sample() -> None:
    written = as_json({"peak": a_table()}, [], {"CPU": "a fast one"})
    assert written["machine"] == {"CPU": "a fast one"}
    assert written["tables"]["peak"]["rows"]["own"]["figures"]["rate"]["samples"] == [12_000, 10_000, 11_000]
