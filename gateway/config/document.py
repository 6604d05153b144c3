"""What was written, and where: raw tables, with the lines and variables that their values come from."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import date, time
from pathlib import Path
from typing import Any, Final, Self, cast

from aupgate.config.quantities import size_text
from aupgate.config.toml_lines import KeyPath, dotted, key_lines, line_of
from aupgate.errors import ConfigError, Problem

Raw = dict[str, Any]
"""Tables as TOML holds them, before anything is judged."""

ABSENT: Final = object()
"""Stands for the value of a key that is not written."""

MAX_NESTING: Final = 16
"""Most levels of tables and lists in one another."""

_MAX_FILE: Final = 2**20
_MAX_SHOWN: Final = 60
_MAPPING: Final = "<mapping>"
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s\"]*(?=@)")


class Document:
    """The tables of a file or of a mapping of the same shape."""

    def __init__(self, raw: Raw, source: str, base: Path, lines: Mapping[KeyPath, int]) -> None:
        self.raw = raw
        self.base = base
        """Directory that relative file names start from."""
        self._source = source
        self._lines = lines
        self._overridden: dict[KeyPath, str] = {}

    @classmethod
    def of(cls, config: Path | Mapping[str, Any] | None) -> Self:
        """Read `config`. Raises `ConfigError` when it is no TOML."""
        if not isinstance(config, Path):
            return cls(_plain(config or {}), _MAPPING, Path.cwd(), {})
        text = _text(config)
        raw = _parsed(text, str(config))
        lines = key_lines(text)
        _check_nesting(lines, str(config))
        return cls(raw, str(config), config.absolute().parent, lines)

    def override(self, path: KeyPath, source: str, raw: Raw) -> None:
        """Take `raw` instead of what was written; its value at `path` comes from `source`."""
        self._overridden[path] = source
        self.raw = raw

    def overridden_by(self, path: KeyPath) -> str | None:
        """Return what overrode exactly the value at `path`."""
        return self._overridden.get(path)

    def problem(self, path: KeyPath, expected: str) -> Problem:
        """Say what is wrong at `path`, with the value written there."""
        around = (path[:end] for end in range(len(path), 0, -1))
        source = next((self._overridden[outer] for outer in around if outer in self._overridden), None)
        line = None if source else line_of(self._lines, path)
        return Problem(source or self._source, line, dotted(path), _shown(found(self.raw, path)), expected)


def found(node: Any, path: KeyPath) -> Any:
    """Return what is written at `path` below `node`, or `ABSENT`."""
    for part in path:
        keyed = isinstance(node, dict) and part in node
        indexed = isinstance(node, list) and isinstance(part, int) and part < len(node)
        if not (keyed or indexed):
            return ABSENT
        node = node[part]
    return node


def written(node: Any, path: Sequence[str | int]) -> KeyPath:
    """Return the parts of `path` that lead through what is written; pydantic adds tags for the branches of unions."""
    parts: list[str | int] = []
    for part in path:
        below = found(node, (part,))
        if below is not ABSENT:
            parts.append(part)
            node = below
    return tuple(parts)


def with_value(raw: Raw, path: KeyPath, value: object) -> Raw:
    """Return a copy of `raw` with `value` at `path`; unchanged where something else than a table is in the way."""
    tables = deepcopy(raw)
    node: Any = tables
    for part in path[:-1]:
        node = node.setdefault(part, {}) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node[path[-1]] = value
    return tables


def _shown(value: object) -> str:
    """Return `value` as TOML writes it, shortened and without credentials; nothing for tables and what is not there."""
    if value is ABSENT or isinstance(value, dict) or (isinstance(value, list) and dict in map(type, value)):
        return ""
    text = str(value) if isinstance(value, date | time) else json.dumps(value, ensure_ascii=False, default=str)
    text = _CREDENTIALS.sub("***", "".join(map(_visible, text)))
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def _visible(character: str) -> str:
    return character if character.isprintable() else f"\\u{ord(character):04x}"


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise _broken(str(path), None, f"cannot be read: {error.strerror}") from None
    if len(content) > _MAX_FILE:
        raise _broken(str(path), None, f"expected no more than {size_text(_MAX_FILE)}")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise _broken(str(path), content.count(b"\n", 0, error.start) + 1, "expected text in UTF-8") from None


def _parsed(text: str, source: str) -> Raw:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        line = int(at[1] or text.count("\n") + 1) if at else None
        message = str(error)[: at.start() if at else None]
        raise _broken(source, line, f"not TOML: {message[:1].lower()}{message[1:]}") from None
    except RecursionError:
        raise _broken(source, None, "nested too deeply") from None


def _check_nesting(lines: Mapping[KeyPath, int], source: str) -> None:
    deepest = max(lines, key=len, default=())
    if len(deepest) > MAX_NESTING:
        raise _broken(source, lines[deepest], f"nested too deeply: expected no more than {MAX_NESTING} levels")


def _plain(config: Mapping[str, Any]) -> Raw:
    """Return `config` in the plain types that TOML has."""
    try:
        text = json.dumps(config, default=_plain_value, ensure_ascii=False)
        text.encode()
        return cast("Raw", json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise _broken(_MAPPING, None, f"expected what TOML can hold: {error}") from None


def _plain_value(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, set | frozenset) else str(value)


def _broken(source: str, line: int | None, expected: str) -> ConfigError:
    return ConfigError([Problem(source, line, "", "", expected)])
