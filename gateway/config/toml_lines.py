"""Where in a TOML file a key is written, which tomllib does not tell.

The scanner reads files that tomllib has accepted: it knows just enough of the grammar (TOML 1.0) to find keys, elements
of arrays and tables, and leaves every value alone. It keeps its own stack, so it cannot run out of Python's.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

KeyPath = tuple[str | int, ...]
"""Keys and, for elements of arrays, indexes from 0."""

# Long strings come first, or their quotes would be read as empty short ones. Two more quotes may precede the end.
_TOKEN: Final = re.compile(
    r'''
    (?P<string> """ (?: \\. | "{1,2}(?!") | [^"\\] )*+ """ "{0,2}
              | \'\'\' (?: \'{1,2}(?!\') | [^\'] )*+ \'\'\' \'{0,2}
              | " (?: \\. | [^"\\\n] )*+ "
              | \' [^\'\n]*+ \' )
    | (?P<comment> \#[^\n]* )
    | (?P<newline> \n )
    | (?P<mark> [\[\]{},=.] )
    | (?P<bare> [^\s\[\]{},=.\#"\']+ )
    ''',
    re.VERBOSE | re.DOTALL,
)
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


class _Container:
    """An array or inline table that is open while its elements are read."""

    __slots__ = ("index", "path")

    def __init__(self, path: KeyPath, index: int | None) -> None:
        self.path = path
        self.index = index
        """The element being read; None in an inline table."""

    @property
    def element(self) -> KeyPath:
        return self.path if self.index is None else (*self.path, self.index)


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, of every key, table and array element of `text`, which tomllib must have accepted."""
    scanner = _Scanner()
    for token in _tokens(text):
        scanner.read(token)
    return scanner.lines


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """Return the line of `path`, or of the nearest thing around it that is written; None when nothing is."""
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)


def dotted(path: KeyPath) -> str:
    """Return `path` as people write it: `policies.rate_limits.limits[0].rate`."""
    return "".join(map(_step, path)).removeprefix(".")


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _BARE_KEY.fullmatch(part) else f".{json.dumps(part, ensure_ascii=False)}"


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        yield _Token(match.lastgroup or "", match[0], line)
        line += match[0].count("\n")


def _key_text(token: _Token) -> str:
    if token.kind == "string":
        return next(iter(tomllib.loads(f"{token.text} = 0")))
    return token.text


class _Scanner:
    """Reads one token at a time; `_read` is what the next token belongs to: a key, a header or a value."""

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._table: KeyPath = ()
        self._lengths: dict[KeyPath, int] = {}
        self._open: list[_Container] = []
        self._parts: list[str] = []
        self._value: KeyPath = ()
        self._doubled = False
        self._read = self._read_key

    def read(self, token: _Token) -> None:
        """Take note of what `token` says."""
        if token.kind == "comment":
            return
        if token.kind != "newline":
            self._read(token)
        elif not self._open:
            self._parts.clear()
            self._read = self._read_key

    def _read_key(self, token: _Token) -> None:
        if token.text == "=":
            self._begin_value(token)
        elif token.text == "}":
            self._close()
        elif token.text == "[":
            self._doubled = False
            self._read = self._read_header
        elif token.kind != "mark":
            self._parts.append(_key_text(token))

    def _read_header(self, token: _Token) -> None:
        if token.text == "[":
            self._doubled = True
        elif token.text == "]" and self._parts:
            self._begin_table(token)
        elif token.kind != "mark":
            self._parts.append(_key_text(token))

    def _read_value(self, token: _Token) -> None:
        inside = self._open[-1] if self._open else None
        if token.text == "," and inside:
            self._next_element(inside)
        elif token.text in {"]", "}"} and token.kind == "mark":
            self._close()
        else:
            self._begin_element(inside, token)

    def _begin_value(self, token: _Token) -> None:
        path = self._open[-1].path if self._open else self._table
        for part in self._parts:
            path = (*path, part)
            self.lines.setdefault(path, token.line)
        self._parts.clear()
        self._value = path
        self._read = self._read_value

    def _begin_table(self, token: _Token) -> None:
        path: KeyPath = ()
        for part in self._parts[:-1]:
            path = self._last_element((*path, part))
            self.lines.setdefault(path, token.line)
        path = (*path, self._parts[-1])
        self._table = self._append(path, token.line) if self._doubled else self._last_element(path)
        self.lines[self._table] = token.line
        self._parts.clear()

    def _append(self, path: KeyPath, line: int) -> KeyPath:
        self._lengths[path] = self._lengths.get(path, 0) + 1
        self.lines.setdefault(path, line)
        return self._last_element(path)

    def _last_element(self, path: KeyPath) -> KeyPath:
        return (*path, self._lengths[path] - 1) if path in self._lengths else path

    def _begin_element(self, inside: _Container | None, token: _Token) -> None:
        if inside and inside.index is not None:
            self._value = inside.element
            self.lines.setdefault(self._value, token.line)
        if token.kind == "mark" and token.text == "[":
            self._open.append(_Container(self._value, 0))
        elif token.kind == "mark" and token.text == "{":
            self._open.append(_Container(self._value, None))
            self._read = self._read_key

    def _next_element(self, inside: _Container) -> None:
        if inside.index is None:
            self._read = self._read_key
        else:
            inside.index += 1

    def _close(self) -> None:
        self._open.pop()
        self._read = self._read_value
