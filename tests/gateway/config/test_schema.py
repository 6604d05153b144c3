import json
import re
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from aupgate.config import PolicySettings, json_schema
from tests.gateway.config.samples import GOOD, POLICIES, Limits, settings_classes


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_editors_find_no_fault_with_a_good_configuration(path: Path) -> None:
    document = json.loads(json.dumps(tomllib.loads(path.read_text()), default=str))
    Draft202012Validator(json_schema(settings_classes())).validate(document)


def test_the_schema_is_valid_and_describes_every_setting() -> None:
    schema = json_schema(POLICIES)
    Draft202012Validator.check_schema(schema)
    tables = [
        schema,
        *(table for name, table in schema["$defs"].items() if name not in {"Limit", "Match", "Concurrency"}),
    ]
    own = set(Limits.model_fields) - set(PolicySettings.model_fields)
    for table in tables:
        for key, setting in table.get("properties", {}).items():
            assert key in own or "description" in setting or "$ref" in setting, key


def test_the_schema_shows_notations_defaults_and_policies() -> None:
    schema = json_schema(POLICIES)
    assert (schema["$id"], schema["$schema"]) == (
        "urn:aupgate:config",
        "https://json-schema.org/draft/2020-12/schema",
    )
    assert list(schema["properties"]["policies"]["properties"]) == ["limits", "plain"]
    idle = schema["$defs"]["Timeouts"]["properties"]["idle"]
    assert (idle["type"], idle["default"]) == ("string", "1m")
    assert re.search(idle["pattern"], "10s")
    assert not re.search(idle["pattern"], "10")


def test_the_schema_knows_no_null_because_toml_has_none() -> None:
    assert "null" not in json.dumps(json_schema(POLICIES))
