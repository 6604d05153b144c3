import pytest

from bench.figures import Cell, Goal, Table


def a_table() -> Table:
    table = Table("peak", "Peak", {"rate": "req/s", "p50": "ms"}, reference="nginx")
    for nginx, own in ((10, 5), (20, 60), (30, 45)):
        table.add("nginx", "rate", nginx)
        table.add("own", "rate", own)
    return table


def test_a_figure_is_the_median_of_its_rounds_with_their_spread() -> None:
    figure = a_table().figure("own", "rate")
    assert figure is not None
    assert (figure.median, figure.lowest, figure.highest, figure.unit) == (45, 5, 60, "req/s")


def test_ratios_refer_to_the_reference_row() -> None:
    table = a_table()
    assert table.ratio("own", "rate") == 2.25
    assert table.ratio("nginx", "rate") is None
    assert table.ratio("own", "p50") is None


@pytest.mark.parametrize(
    ("limit", "at_most", "reached"),
    [(2.25, True, True), (2.2, True, False), (2.25, False, True), (2.3, False, False)],
    ids=["at most, within", "at most, beyond", "at least, within", "at least, short of it"],
)
def test_a_goal_compares_two_figures(limit: float, at_most: bool, reached: bool) -> None:
    goal = Goal("faster", Cell("peak", "own", "rate"), Cell("peak", "nginx", "rate"), limit, at_most=at_most)
    assert goal.value({"peak": a_table()}) == 2.25
    assert goal.reached(2.25) is reached


def test_a_goal_whose_figures_were_not_measured_has_no_value() -> None:
    goal = Goal("faster", Cell("peak", "own", "rate"), Cell("other", "nginx", "rate"), 1)
    assert goal.value({"peak": a_table()}) is None
    assert goal.value({}) is None


def test_a_goal_may_be_about_one_figure() -> None:
    assert Goal("fast", Cell("peak", "own", "rate"), None, 40).value({"peak": a_table()}) == 45
