"""Writing a run down: as text for the terminal, as Markdown for the documentation, and as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from bench.figures import Figure, Goal, Row, Table

_NOTHING: Final = "-"


def number(value: float) -> str:
    """Return a number with three significant digits, as people read it."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def spread(figure: Figure) -> str:
    """Return a figure as its median, with the lowest and highest sample where there are several."""
    middle = number(figure.median)
    if len(figure.samples) == 1:
        return middle
    return f"{middle} ({number(figure.lowest)} to {number(figure.highest)})"


def lines(table: Table) -> list[list[str]]:
    """Return the cells of a table: a heading, then a line for each case."""
    heading = [""]
    for column, unit in table.columns.items():
        heading += [f"{column} {unit}", *(["ratio"] if table.compares(column) else [])]
    return [heading, *(_line(table, case, row) for case, row in table.rows.items())]


def _line(table: Table, case: str, row: Row) -> list[str]:
    if row.missing and not row.figures:
        return [case, f"not measured: {row.missing}"]
    cells = [case]
    for column in table.columns:
        figure = row.figures.get(column)
        cells.append(spread(figure) if figure else _NOTHING)
        if table.compares(column):
            cells.append(_ratio(table, case, column))
    return [*cells, f"broke off: {row.missing}"] if row.missing else cells


def _ratio(table: Table, case: str, column: str) -> str:
    if case == table.reference and table.figure(case, column):
        return "1"
    ratio = table.ratio(case, column)
    return _NOTHING if ratio is None else number(ratio)


def goal_lines(goals: Iterable[Goal], tables: dict[str, Table]) -> list[list[str]]:
    """Return the cells of the table of goals, those of parts that were not run left out."""
    found = [["", "wanted", "measured", ""]]
    for goal in goals:
        if goal.of.table not in tables:
            continue
        value = goal.value(tables)
        wanted = f"{'≤' if goal.at_most else '≥'} {number(goal.limit)}"
        if value is None:
            found.append([goal.text, wanted, "not measured", ""])
        else:
            found.append([goal.text, wanted, number(value), "reached" if goal.reached(value) else "missed"])
    return found


def as_text(cells: Sequence[Sequence[str]]) -> str:
    """Return a table in columns; what stands alone behind the first column does not widen the second."""
    widths: dict[int, int] = {}
    for line in cells:
        if len(line) != 2:
            for place, cell in enumerate(line):
                widths[place] = max(widths.get(place, 0), len(cell))
    widths[0] = max(len(line[0]) for line in cells)
    return "\n".join(_text_line(line, widths) for line in cells)


def _text_line(line: Sequence[str], widths: Mapping[int, int]) -> str:
    if len(line) == 2:
        return f"{line[0]:<{widths[0]}}  {line[1]}"
    first, *rest = line
    padded = (f"{cell:>{widths[place]}}" for place, cell in enumerate(rest, 1))
    return "  ".join([f"{first:<{widths[0]}}", *padded]).rstrip()


def as_markdown(cells: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    width = len(cells[0])
    filled = [[*line, *[""] * (width - len(line))][:width] for line in cells]
    heading, *rest = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in filled)
    return "\n".join([heading, "|---" + "|---:" * (width - 1) + "|", *rest])


def text(tables: dict[str, Table], goals: Iterable[Goal]) -> str:
    """Return the whole report for a terminal."""
    parts = [f"{table.title}\n\n{as_text(lines(table))}" for table in tables.values()]
    wanted = goal_lines(goals, tables)
    if len(wanted) > 1:
        parts.append(f"Ratios\n\n{as_text(wanted)}")
    return "\n\n\n".join(parts)


def markdown(tables: dict[str, Table], goals: Iterable[Goal], facts: Mapping[str, str]) -> str:
    """Return the measured part of the documentation."""
    parts = [as_markdown([["measured on", ""], *([name, fact] for name, fact in facts.items())])]
    parts.append(f"## What it is built to reach\n\n{as_markdown(goal_lines(goals, tables))}")
    for table in tables.values():
        notes = "\n\n".join(table.notes)
        parts.append(f"## {table.title}\n\n{as_markdown(lines(table))}\n\n{notes}".rstrip())
    return "\n\n".join(parts) + "\n"


def as_json(tables: dict[str, Table], goals: Iterable[Goal], facts: Mapping[str, str]) -> dict[str, Any]:
    """Return the whole run, every sample included."""
    return {
        "machine": dict(facts),
        "tables": {name: {**asdict(table), "rows": _rows(table)} for name, table in tables.items()},
        "goals": [_goal(goal, value) for goal in goals if (value := goal.value(tables)) is not None],
    }


def _goal(goal: Goal, value: float) -> dict[str, Any]:
    return {
        "text": goal.text,
        "limit": goal.limit,
        "at_most": goal.at_most,
        "value": value,
        "reached": goal.reached(value),
    }


def _rows(table: Table) -> dict[str, Any]:
    return {
        case: {
            "missing": row.missing,
            "figures": {
                column: {"unit": figure.unit, "median": figure.median, "samples": figure.samples}
                for column, figure in row.figures.items()
            },
        }
        for case, row in table.rows.items()
    }
