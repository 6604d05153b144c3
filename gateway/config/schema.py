"""The JSON Schema of the configuration: for editors, and for messages that say what is expected."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from aupgate.config.document import MAX_NESTING
from aupgate.config.tables import Config, PolicySettings
from aupgate.config.toml_lines import KeyPath

Policies = Mapping[str, type[PolicySettings]]
"""The settings class of each policy, by the policy's name."""


class _TomlSchema(GenerateJsonSchema):
    """TOML has no null: what may be None may be left out. The defaults of a table stand with its keys."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        if described.get("default") is None or isinstance(described["default"], dict):
            described.pop("default", None)
        return described


def json_schema(policies: Policies) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a whole configuration file, for editors."""
    models: list[tuple[type[BaseModel], Literal["serialization"]]] = [(Config, "serialization")]
    models += [(model, "serialization") for model in policies.values()]
    references, shared = models_json_schema(models, schema_generator=_TomlSchema)
    definitions = shared["$defs"]
    root = definitions.pop(references[Config, "serialization"]["$ref"].rpartition("/")[2])
    root["properties"]["policies"] = {
        "type": "object",
        "description": root["properties"]["policies"]["description"],
        "properties": {name: references[model, "serialization"] for name, model in policies.items()},
        "additionalProperties": False,
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:aupgate:config"}
    return {**head, **root, "title": "aupgate configuration", "$defs": definitions}


class Schema:
    """The schema as messages need it: which keys there are, and what may stand at a path."""

    def __init__(self, policies: Policies) -> None:
        self._root = json_schema(policies)

    def at(self, path: KeyPath) -> list[JsonSchemaValue]:
        """Return the schema of each kind of value that `path` may have; none when there is no such setting."""
        nodes = [self._root]
        for part in path:
            nodes = [branch for node in nodes if (below := _below(node, part)) for branch in self.branches(below)]
        return nodes

    def branches(self, node: JsonSchemaValue) -> list[JsonSchemaValue]:
        """Return the alternatives that `node` offers."""
        if "$ref" in node:
            return self.branches(self._root["$defs"][node["$ref"].rpartition("/")[2]])
        choices = node.get("anyOf") or node.get("oneOf")
        return [branch for each in choices for branch in self.branches(each)] if choices else [node]

    def keys(self, path: KeyPath) -> list[str]:
        """Return the keys that the table at `path` may have."""
        return [key for branch in self.at(path) for key in branch.get("properties", ())]

    def settings(self, path: KeyPath = ()) -> Iterator[KeyPath]:
        """Yield the path of every setting that an environment variable can name."""
        keys = self.keys(path) if len(path) < MAX_NESTING else []
        for key in keys:
            yield from self.settings((*path, key))
        if path and not keys:
            yield path


def _below(node: JsonSchemaValue, part: str | int) -> JsonSchemaValue | None:
    if isinstance(part, int):
        return node.get("items")
    below = node.get("properties", {}).get(part) or node.get("additionalProperties")
    return below if isinstance(below, dict) else None
