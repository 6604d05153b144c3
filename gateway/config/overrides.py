"""Overrides: settings from environment variables and from the command line."""

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aupgate.config.document import Document, Raw, found, with_value
from aupgate.config.judging import judge
from aupgate.config.schema import Policies, Schema
from aupgate.config.toml_lines import KeyPath, dotted
from aupgate.errors import Problem

PREFIX: Final = "AUPGATE_"
"""Environment variables that begin so override settings: `AUPGATE_STORE__URL` is `store.url`."""

RESERVED: Final = frozenset({"AUPGATE_CONFIG", "AUPGATE_REQUIRE_SERVICES"})
"""Environment variables that begin with the prefix and are no settings."""

_COMMAND_LINE: Final = "command line"


class Override(NamedTuple):
    """A setting as text, and where it comes from."""

    source: str
    """The variable's name, or that it is the command line."""
    path: KeyPath
    text: str

    def refusal(self, document: Document, schema: Schema) -> Problem | None:
        """Return what is wrong with it before its value is judged, if anything is."""
        if not schema.at(self.path):
            names = [self._name_of(path) for path in schema.settings()]
            return Problem(self.source, None, "", "", _suggested("names no setting", self._name_of(self.path), names))
        if any("\ud800" <= character <= "\udfff" for character in self.text):
            return Problem(self.source, None, dotted(self.path), "", "expected text in UTF-8")
        other = document.overridden_by(self.path)
        if other and self.source != _COMMAND_LINE:
            return Problem(self.source, None, dotted(self.path), "", f"expected one variable, {other} names it too")
        return None

    def _name_of(self, path: KeyPath) -> str:
        """Return how an override of this kind names the setting at `path`."""
        return dotted(path) if self.source == _COMMAND_LINE else PREFIX + "__".join(map(str, path)).upper()


def variables(environ: Mapping[str, str]) -> list[Override]:
    """Return the overrides among environment variables."""
    return [
        Override(name, tuple(name[len(PREFIX) :].lower().split("__")), text)
        for name, text in sorted(environ.items())
        if name.upper().startswith(PREFIX) and name.upper() not in RESERVED
    ]


def options(given: Mapping[str, str]) -> list[Override]:
    """Return the overrides of the command line: dotted keys with their text."""
    return [Override(_COMMAND_LINE, tuple(key.split(".")), text) for key, text in given.items()]


def override(document: Document, overrides: Sequence[Override], policies: Policies) -> list[Problem]:
    """Put each override in its place in `document`; return what is wrong with those that have none."""
    if not overrides:
        return []
    schema = Schema(policies)
    problems = []
    for each in overrides:
        problem = each.refusal(document, schema)
        if problem:
            problems.append(problem)
        else:
            document.override(each.path, each.source, _best(document.raw, each, policies))
    return problems


def _suggested(text: str, name: str, names: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    return f"{text}, nearest: " + ", ".join(f"`{each}`" for each in nearest) if nearest else text


def _best(raw: Raw, override: Override, policies: Policies) -> Raw:
    """Return `raw` with the first reading of the override that is accepted; if none is, with the one that says most."""
    tries = [with_value(raw, override.path, value) for value in _readings(override.text)]
    for tables in tries:
        # What does not fit together with other settings may still be the right reading.
        judged = [mistake.judged for mistake in judge(tables, policies).mistakes]
        if not any(path[: len(override.path)] == override.path for path in judged):
            return tables
    return tries[-1] if isinstance(found(tries[-1], override.path), list | dict) else tries[0]


def _readings(text: str) -> Iterator[Any]:
    """Yield what the text of an override may stand for: itself, else a value as TOML or as JSON writes it."""
    yield text
    try:
        yield tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        try:
            yield json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            return
