"""Check that docs/configuration.md describes every setting, as the JSON Schema of the configuration lists them.

A setting is described where the section of its table names it as inline code: `header` below a heading with
`[gateway.timeouts]`. Arrays of tables have headings such as `[[policies.rate_limits.limits]]`; a `*` in a heading
stands for any one part of the name, so `[policies.*]` describes what all policies have; a heading may name several
tables. A section ends at the next heading of its level. What stands before the first table describes the settings
outside of any table.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

MAX_DEPTH = 16
"""How deep tables may nest. A schema that refers to itself ends where it meets itself, long before that."""

_HEADING = re.compile(r"(#{1,6})\s")
_TABLE_NAME = re.compile(r"\[\[?([\w.*<>-]+)\]\]?")
_INLINE_CODE = re.compile(r"(`+)(.+?)\1")
_FENCE = re.compile(r"\s*(```|~~~)")
_KEY = re.compile(r"(?:[\w-]+\.)*([\w-]+)(?:\s*=.*)?")

_CHOICES = ("anyOf", "oneOf", "allOf", "prefixItems")

Schema = Mapping[str, Any]

_Table = tuple[Schema, str, frozenset[str]]


class Setting(NamedTuple):
    """One setting: the dotted name of its table, empty at the top, and its key."""

    table: str
    key: str


def settings(schema: Schema) -> list[Setting]:
    """Return every setting that `schema` allows, in its order. Tables are no settings, what they hold is."""
    tables = _tables(schema, schema, "", frozenset())
    return list(dict.fromkeys(setting for table in tables for setting in _walk(schema, *table, 0)))


def _walk(schema: Schema, node: Schema, path: str, above: frozenset[str], depth: int) -> Iterator[Setting]:
    if depth > MAX_DEPTH:
        raise ValueError(f"table {path!r} nests deeper than {MAX_DEPTH}, flatten it or raise MAX_DEPTH")
    for key, value in node["properties"].items():
        tables = list(_tables(schema, value, f"{path}.{key}" if path else key, above))
        if not tables:
            yield Setting(path, key)
        for table in tables:
            yield from _walk(schema, *table, depth + 1)


def _tables(schema: Schema, node: object, path: str, above: frozenset[str]) -> Iterator[_Table]:
    """Yield the tables that the value at `path` may be or list, each with the references that led to it."""
    if not isinstance(node, Mapping):
        return
    if node.get("properties"):
        yield node, path, above
    reference = node.get("$ref")
    if reference is not None and reference not in above:
        yield from _tables(schema, resolve(schema, reference), path, above | {reference})
    for each in (node.get("items"), *(inner for choice in _CHOICES for inner in node.get(choice, ()))):
        yield from _tables(schema, each, path, above)
    yield from _tables(schema, node.get("additionalProperties"), f"{path}.*", above)


def resolve(schema: Schema, reference: str) -> Schema:
    """Return what a `$ref` such as `#/$defs/Timeouts` points at (RFC 6901)."""
    node: Any = schema
    for part in reference.removeprefix("#").split("/")[1:]:
        node = node[part.replace("~1", "/").replace("~0", "~")]
    return dict(node)


def described(markdown: str) -> dict[str, set[str]]:
    """Return the keys that `markdown` names as inline code, by the table whose section they stand in."""
    found: dict[str, set[str]] = {}
    tables, level = [""], 0
    for line in _text_lines(markdown):
        if heading := _HEADING.match(line):
            named = _TABLE_NAME.findall(line)
            if named or len(heading[1]) <= level:
                tables, level = named, len(heading[1]) if named else level
        keys = {match[1] for _, code in _INLINE_CODE.findall(line) if (match := _KEY.fullmatch(code.strip()))}
        for table in tables:
            found.setdefault(table, set()).update(keys)
    return found


def _text_lines(markdown: str) -> Iterator[str]:
    """Yield the lines outside of code blocks, where a `#` begins a comment and no heading."""
    fence = ""
    for line in markdown.splitlines():
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1] == fence):
            fence = "" if fence else mark[1]
        elif not fence:
            yield line


def _stands_for(heading: str, table: str) -> bool:
    named, parts = heading.split("."), table.split(".")
    return len(named) == len(parts) and all(
        "*" in pair or len(set(pair)) == 1 for pair in zip(named, parts, strict=True)
    )


def undescribed(schema: Schema, markdown: str) -> list[Setting]:
    """Return the settings of `schema` that `markdown` does not describe in the section of their table."""
    sections = described(markdown)
    return [
        setting
        for setting in settings(schema)
        if not any(setting.key in keys for heading, keys in sections.items() if _stands_for(heading, setting.table))
    ]


def problems(schema: Schema, markdown: str) -> list[str]:
    """Return what is wrong with `markdown`, one line for each setting of `schema` it leaves out."""
    if not settings(schema):
        return ["aupgate schema: lists no setting"]
    return [
        f"docs/configuration.md: does not describe `{key}` {f'below a heading `[{table}]`' if table else 'at the top'}"
        for table, key in undescribed(schema, markdown)
    ]


def main(root: Path) -> int:
    """Print every setting that the documentation below `root` does not describe; return the exit code."""
    printed = subprocess.run([sys.executable, "-m", "aupgate", "schema"], stdout=subprocess.PIPE, text=True, check=True)
    page = root / "docs" / "configuration.md"
    found = problems(json.loads(printed.stdout), page.read_text(encoding="utf-8") if page.is_file() else "")
    print("\n".join(found) or "check_docs: every setting is described")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
