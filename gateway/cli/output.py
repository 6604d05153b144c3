"""Tables for people: drawn by rich on a terminal, aligned plain text in a pipe.

What is printed may come from a hostile request, so characters that a terminal would obey are printed as escapes.
"""

import sys
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

STYLES: Final = {
    "enforce": "green",
    "enforced": "green",
    "partly enforced": "green",
    "allow": "green",
    "pass": "green",
    "observe": "yellow",
    "observing": "yellow",
    "exempt": "yellow",
    "off": "dim",
    "not built": "dim",
    "refuse": "bold red",
}


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the last column wraps on a terminal and runs on in a pipe."""
    lines = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, lines)
    else:
        _align([columns, *lines])


def say(text: str, style: str = "") -> None:
    """Print one line, styled on a terminal."""
    if sys.stdout.isatty():
        Console(highlight=False, soft_wrap=True).print(Text(printable(text), style=style))
    else:
        print(printable(text))


def printable(text: str) -> str:
    r"""Return `text` with control characters, and all others that are not printed, as escapes such as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns[:-1]:
        drawn.add_column(column, no_wrap=True)
    drawn.add_column(columns[-1], overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    Console(highlight=False).print(drawn)


def _align(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
