"""What a measurement yields: figures with their samples, rows of them, tables, and ratios between figures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


class NotMeasuredError(Exception):
    """A case cannot be measured here; the message says why, and the report repeats it."""


@dataclass(slots=True)
class Figure:
    """One measured quantity: a sample from each round, and its unit."""

    unit: str
    samples: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(self.samples)

    @property
    def lowest(self) -> float:
        return min(self.samples)

    @property
    def highest(self) -> float:
        return max(self.samples)


@dataclass(slots=True)
class Row:
    """One case: its figures by column, or why it was not measured."""

    figures: dict[str, Figure] = field(default_factory=dict)
    missing: str = ""


@dataclass(slots=True)
class Table:
    """The cases of one part of the benchmark, side by side."""

    name: str
    title: str
    columns: dict[str, str]
    """The unit of each column."""
    reference: str = ""
    """The row that the ratios of the others refer to."""
    compared: Sequence[str] = ()
    """The columns that ratios are given for; empty: the first."""
    notes: list[str] = field(default_factory=list)
    rows: dict[str, Row] = field(default_factory=dict)

    def expect(self, cases: Iterable[str]) -> None:
        """Give the cases their places, in this order."""
        for case in cases:
            self.rows.setdefault(case, Row())

    def compares(self, column: str) -> bool:
        """Return whether the ratios of `column` are of interest."""
        return bool(self.reference) and column in (self.compared or list(self.columns)[:1])

    def add(self, case: str, column: str, sample: float) -> None:
        """Add the sample of one round."""
        figures = self.rows.setdefault(case, Row()).figures
        figures.setdefault(column, Figure(self.columns[column])).samples.append(sample)

    def add_all(self, case: str, samples: Mapping[str, float]) -> None:
        """Add the samples of one round, by column."""
        for column, sample in samples.items():
            self.add(case, column, sample)

    def miss(self, case: str, reason: str) -> None:
        """Say that `case` is not measured."""
        self.rows.setdefault(case, Row()).missing = reason

    def figure(self, case: str, column: str) -> Figure | None:
        """Return a figure, or None where it was not measured."""
        row = self.rows.get(case)
        return row.figures.get(column) if row else None

    def ratio(self, case: str, column: str) -> float | None:
        """Return how a case compares with the reference row; None without both figures, or for the reference itself."""
        own, reference = self.figure(case, column), self.figure(self.reference, column)
        if own is None or reference is None or own is reference or reference.median <= 0:
            return None
        return own.median / reference.median


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a figure stands."""

    table: str
    row: str
    column: str

    def find(self, tables: dict[str, Table]) -> Figure | None:
        """Return the figure, or None where it was not measured."""
        table = tables.get(self.table)
        return table.figure(self.row, self.column) if table else None


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure, or a figure divided by another, is to be at most or at least."""

    text: str
    of: Cell
    to: Cell | None
    limit: float
    at_most: bool = True

    def value(self, tables: dict[str, Table]) -> float | None:
        """Return the figure or the ratio; None where one is not measured."""
        of = self.of.find(tables)
        if of is None or self.to is None:
            return of.median if of else None
        to = self.to.find(tables)
        return None if to is None or to.median <= 0 else of.median / to.median

    def reached(self, value: float) -> bool:
        """Return whether `value` is within the limit."""
        return value <= self.limit if self.at_most else value >= self.limit
