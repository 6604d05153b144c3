import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aupgate.config import json_schema, load
from tests.gateway.config.samples import loaded, settings_classes

DOCS = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_unset_proxies_and_no_proxies_are_told_apart() -> None:
    assert loaded({}).config.client.trusted_proxies is None
    assert loaded({"client": {"trusted_proxies": []}}).config.client.trusted_proxies == ()


def documented_examples() -> list[Any]:
    fences = re.findall(r"^```toml\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    documents = [(text.strip().partition("\n")[0], tomllib.loads(text)) for text in fences]
    return [pytest.param(document, id=title) for title, document in documents if "keys" not in document]


@pytest.mark.parametrize("example", documented_examples())
def test_the_examples_of_the_documentation_load(example: Mapping[str, Any]) -> None:
    load(example, policies=settings_classes(), environ={})


def documented_defaults() -> dict[str, Mapping[str, str]]:
    """Read the tables of the documentation: by table, each key with what the column of defaults says."""
    sections = re.split(r"^#+ \[+([\w.*]+)\]+$", DOCS.read_text(), flags=re.MULTILINE)[1:]
    rows = r"^\| `(\w+)` \| [^|]+ \| (`[^|]*`|unset|required) \|"
    return {
        table: dict(re.findall(rows, text, re.MULTILINE))
        for table, text in zip(sections[::2], sections[1::2], strict=True)
    }


def setting_in(schema: Mapping[str, Any], path: list[str]) -> tuple[Mapping[str, Any], bool]:
    """Return the schema of a setting, and whether it is required."""
    node: Any = schema
    required = False
    for part in path:
        while "$ref" in node or "items" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node["items"]
        required = part in node.get("required", ())
        node = next(iter(node["properties"].values())) if part == "*" else node["properties"][part]
    return node, required


def test_the_documentation_names_the_defaults_of_the_code() -> None:
    schema = json_schema(settings_classes())
    for table, keys in documented_defaults().items():
        for key, said in keys.items():
            node, required = setting_in(schema, [*table.split("."), key])
            default = {} if node.get("type") == "object" else node.get("default")
            expected = "required" if required else "unset" if default is None else default
            read = tomllib.loads(f"said = {said.strip('`')}")["said"] if said.startswith("`") else said
            assert (table, key, read) == (table, key, expected)


def test_the_documentation_names_every_rule_of_every_policy() -> None:
    from aupgate.build import REGISTRY, resolve

    text = DOCS.read_text()
    for name, reference in REGISTRY.items():
        section = text.partition(f"## [policies.{name}]\n")[2].partition("\n## [policies.")[0]
        for rule in resolve(reference)(settings_classes()[name]()).rules:
            assert f"`{rule.name.partition('.')[2]}`" in section, rule.name
