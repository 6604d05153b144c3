"""Every setting of a schema must be described in the section of its table, wherever in the schema it hides."""

from typing import Any

import pytest

from scripts.check_docs import MAX_DEPTH, Setting, problems, settings, undescribed

TEXT = {"type": "string"}


def table(**properties: object) -> dict[str, Any]:
    """Return the schema of a table with `properties`."""
    return {"type": "object", "properties": properties, "additionalProperties": False}


SCHEMA = {
    "$defs": {"Timeouts": table(header=TEXT, body=TEXT), "Limit": table(name=TEXT, match={"$ref": "#/$defs/Match"}),
              "Match": table(path=TEXT)},
    **table(
        mode=TEXT,
        gateway=table(listen=TEXT, timeouts={"$ref": "#/$defs/Timeouts"}),
        policies=table(
            limits=table(limits={"type": "array", "items": {"$ref": "#/$defs/Limit"}}, rules={"type": "object"}),
        ),
    ),
}  # fmt: skip

DOCUMENT = """\
# Configuration
`mode` is at the top.
## `[gateway]`
| `listen` | where |
### `[gateway.timeouts]`
`header = "10s"` and, less shortly, `gateway.timeouts.body`
## [policies.limits]
`rules` switches single rules
### `[[policies.limits.limits]]`
- `name`
### `[policies.limits.limits.match]`
- `path`
"""


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        pytest.param(table(mode=TEXT), [("", "mode")], id="at the top"),
        pytest.param(table(a=table(b=table(c=TEXT))), [("a.b", "c")], id="in nested tables"),
        pytest.param(table(a={"type": "array", "items": table(b=TEXT)}), [("a", "b")], id="in an array of tables"),
        pytest.param(table(a={"type": "array", "items": TEXT}), [("", "a")], id="an array of texts is a setting"),
        pytest.param(table(a={"anyOf": [table(b=TEXT), {"type": "null"}]}), [("a", "b")], id="in an optional table"),
        pytest.param(
            table(a={"oneOf": [table(b=TEXT), table(c=TEXT, b=TEXT)]}), [("a", "b"), ("a", "c")], id="in either table"
        ),
        pytest.param(table(a={"anyOf": [TEXT, {"type": "null"}]}), [("", "a")], id="an optional text is a setting"),
        pytest.param(
            {
                "$ref": "#/$defs/Root",
                "$defs": {"Root": table(a={"allOf": [{"$ref": "#/$defs/A"}]}), "A": table(b=TEXT)},
            },
            [("a", "b")],
            id="behind references",
        ),
        pytest.param(
            {"$ref": "#/$defs/a~1b", "$defs": {"a/b": table(c=TEXT)}}, [("", "c")], id="behind an escaped reference"
        ),
        pytest.param(
            table(a={"type": "object", "additionalProperties": table(b=TEXT)}),
            [("a.*", "b")],
            id="in tables of any name",
        ),
        pytest.param(
            table(a={"type": "object", "additionalProperties": TEXT}), [("", "a")], id="a map of texts is a setting"
        ),
        pytest.param(
            {
                "$defs": {"Tree": table(name=TEXT, child={"$ref": "#/$defs/Tree"})},
                **table(tree={"$ref": "#/$defs/Tree"}),
            },
            [("tree", "name"), ("tree", "child")],
            id="a schema that refers to itself ends",
        ),
    ],
)
def test_every_setting_is_found_with_its_table(schema: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert settings(schema) == [Setting(*each) for each in found]


def test_tables_nested_beyond_reason_are_an_error() -> None:
    schema = table(a=TEXT)
    for _ in range(MAX_DEPTH + 2):
        schema = table(a=schema)

    with pytest.raises(ValueError, match="nests deeper"):
        settings(schema)


def test_a_document_with_a_section_for_each_table_describes_everything() -> None:
    assert undescribed(SCHEMA, DOCUMENT) == []


def test_an_empty_document_describes_nothing() -> None:
    assert undescribed(SCHEMA, "") == settings(SCHEMA)


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        pytest.param("`mode` is at the top.\n", Setting("", "mode"), id="at the top"),
        pytest.param("| `listen` | where |\n", Setting("gateway", "listen"), id="a row"),
        pytest.param("- `name`\n", Setting("policies.limits.limits", "name"), id="in an array of tables"),
    ],
)
def test_a_setting_without_its_line_is_reported(line: str, lost: Setting) -> None:
    assert undescribed(SCHEMA, DOCUMENT.replace(line, "")) == [lost]


@pytest.mark.parametrize(
    ("document", "described"),
    [
        pytest.param("## [a]\nthe `key` opens", True, id="inline code"),
        pytest.param("## `[a]` and `[b]`\nthe `key` opens", True, id="a heading of two tables"),
        pytest.param("## [*]\nthe `key` opens", True, id="a heading for any table"),
        pytest.param("## [a]\n### Details\nthe `key` opens", True, id="below a lesser heading"),
        pytest.param("## [a]\n~~~toml\n# [b]\n~~~\nthe `key` opens", True, id="after a code block with a comment"),
        pytest.param("## [a]\nthe key opens", False, id="plain words"),
        pytest.param("## [a]\nthe `key_file` opens", False, id="another key"),
        pytest.param("## [a.b]\nthe `key` opens", False, id="another table"),
        pytest.param("## [*.*]\nthe `key` opens", False, id="a pattern of more parts"),
        pytest.param("## [a]\n## Durations\nthe `key` opens", False, id="below the next heading of its level"),
        pytest.param("the `key` opens\n## [a]", False, id="before the heading"),
        pytest.param("## [a]\n```toml\n`key`\n```", False, id="in a code block"),
    ],
)
def test_only_inline_code_in_the_section_of_the_table_describes(document: str, described: bool) -> None:
    assert (undescribed(table(a=table(key=TEXT)), document) == []) is described


def test_a_problem_names_the_key_and_the_heading_it_belongs_below() -> None:
    assert problems(SCHEMA, DOCUMENT.replace("| `listen` |", "| |").replace("`mode`", "mode")) == [
        "docs/configuration.md: does not describe `mode` at the top",
        "docs/configuration.md: does not describe `listen` below a heading `[gateway]`",
    ]


def test_a_schema_without_settings_is_a_problem_and_no_success() -> None:
    assert problems({"type": "object"}, DOCUMENT) == ["aupgate schema: lists no setting"]
