"""Mistakes: what validation finds wrong, and in words what would be accepted."""

import difflib
import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from pydantic.json_schema import JsonSchemaValue
from pydantic_core import ErrorDetails

from aupgate.config.document import Raw, written
from aupgate.config.schema import Schema
from aupgate.config.toml_lines import KeyPath

_KINDS: Final = {
    "string": ("a string", "strings"),
    "integer": ("a whole number", "whole numbers"),
    "number": ("a number", "numbers"),
    "boolean": ("true or false", "booleans"),
    "array": ("a list", "lists"),
    "object": ("a table", "tables"),
}
_RANGES: Final = {
    "minimum": " of at least {}", "maximum": " of at most {}", "exclusiveMinimum": " above {}",
    "exclusiveMaximum": " below {}", "minLength": " of {} or more characters", "maxLength": " of up to {} characters",
    "pattern": " that matches {}", "minItems": "{} or more ", "maxItems": "up to {} ",
}  # fmt: skip
_SAID_BY_THE_VALIDATOR: Final = frozenset({"expectation", "value_error"})


class Mistake(NamedTuple):
    """One thing that is wrong in the tables."""

    path: KeyPath
    kind: str
    """Pydantic's type of the error."""
    text: str
    """What the validator said."""
    judged: KeyPath
    """What the validator judged; `path` may name one key of it."""

    def expectation(self, schema: Schema) -> str:
        """Say what would be accepted."""
        if self.kind == "extra_forbidden":
            return _unknown(self.path, schema.keys(self.path[:-1]))
        if self.kind in _SAID_BY_THE_VALIDATOR:
            return self.text
        expected = expected_at(self.path, schema) or self.text
        return f"missing, {expected}" if self.kind == "missing" else expected


def mistake_of(detail: ErrorDetails, table: Raw, prefix: KeyPath) -> Mistake:
    """Return the mistake that pydantic found in `table`, which stands at `prefix`."""
    context = detail.get("ctx", {})
    judged = path = prefix + written(table, detail["loc"])
    if detail["type"] == "missing":
        path = (*path, detail["loc"][-1])
    if context.get("at"):
        path = (*path, *context["at"].split("."))
    return Mistake(path, detail["type"], str(context.get("error", detail["msg"])), judged)


def expected_at(path: KeyPath, schema: Schema) -> str:
    """Say what is expected at `path`; empty when the schema does not tell."""
    said = " or ".join(filter(None, (_said(branch, schema) for branch in schema.at(path))))
    return f"expected {said}" if said else ""


def _unknown(path: KeyPath, known: Sequence[str]) -> str:
    noun = "policy" if path[:-1] == ("policies",) else "key"
    nearest = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.6)
    if nearest:
        return f"unknown {noun}, did you mean `{nearest[0]}`?"
    return f"unknown {noun}, expected one of " + ", ".join(f"`{key}`" for key in known)


def _said(node: JsonSchemaValue, schema: Schema) -> str:
    choices = [node["const"]] if "const" in node else node.get("enum")
    if choices:
        return _one_of(choices)
    if node.get("type") == "array":
        return f"a list of {_range(node)}" + " or ".join(map(_of_many, schema.branches(node.get("items", {}))))
    if node.get("format") == "date":
        return "a date, such as 2026-01-31"
    return f"{_kind(node, 0)}{_such_as(node) or _range(node)}"


def _one_of(choices: Sequence[Any]) -> str:
    quoted = ", ".join(f'"{choice}"' for choice in choices)
    return f"one of {quoted}" if len(choices) > 1 else quoted


def _of_many(node: JsonSchemaValue) -> str:
    if "enum" in node:
        return _one_of(node["enum"])
    examples = f", such as {json.dumps(node['examples'][:2])}" if "examples" in node else ""
    return f"{_kind(node, 1) or 'values'}{examples}"


def _kind(node: JsonSchemaValue, number: int) -> str:
    """Return the word for one (0) or several (1) of what `node` describes; empty when the schema does not tell."""
    kinds = node.get("type", [])
    return " or ".join(_KINDS[kind][number] for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _range(node: JsonSchemaValue) -> str:
    if "minimum" in node and "maximum" in node:
        return f" from {node['minimum']} to {node['maximum']}"
    return "".join(phrase.format(node[key]) for key, phrase in _RANGES.items() if key in node)


def _such_as(node: JsonSchemaValue) -> str:
    return f", such as {json.dumps(node['examples'][0])}" if node.get("examples") else ""
