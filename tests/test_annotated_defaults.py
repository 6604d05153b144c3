"""`config.toml` at the root is the defaults: it equals those in the code, and leaves no setting out."""

import re
from pathlib import Path

import pytest

from aupgate.build import REGISTRY, build, default_mode, read, settings_classes
from aupgate.config import Loaded, json_schema
from scripts.check_docs import Setting, settings

FILE = Path(__file__).resolve().parent.parent / "config.toml"
TEXT = FILE.read_text(encoding="utf-8")

HEADING = re.compile(r"#?\[\[?([\w.]+)\]\]?")
KEY = re.compile(r"#?(\w+) = ")
COMMENTED_OUT = re.compile(r"^#(?=[\[a-z])", re.MULTILINE)


def sections() -> dict[str, list[str]]:
    """Return the lines of each table, by its name; the lines in a comment before a heading belong to what follows."""
    found: dict[str, list[str]] = {"": []}
    table = ""
    for line in TEXT.splitlines():
        if heading := HEADING.fullmatch(line):
            table = heading[1]
        found.setdefault(table, []).append(line)
    return found


def mentions(setting: Setting) -> bool:
    """Return whether the file has the setting, in its table or in an example of the table around it."""
    table = re.sub(r"policies\.\w+\.exempt", "policies.protocol", setting.table)  # explained with the first policy
    while table:
        if re.search(rf"(?<![\w-]){re.escape(setting.key)} = ", "\n".join(sections().get(table, []))):
            return True
        table = table.rpartition(".")[0]
    return False


def schema_settings() -> list[Setting]:
    # `*` stands for names that the operator chooses; the table that holds them is the setting.
    return [each for each in settings(json_schema(settings_classes())) if "*" not in each.table]


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return read(FILE, environ={})


def test_the_root_is_the_default_of_the_code(loaded: Loaded) -> None:
    default = read(None, environ={}).config

    names = type(default).model_fields.keys() - {"policies"}  # these are the tables as they are written
    assert {name: getattr(loaded.config, name) for name in names} == {name: getattr(default, name) for name in names}


@pytest.mark.parametrize("policy", REGISTRY)
def test_every_policy_is_the_default_of_the_code(policy: str, loaded: Loaded) -> None:
    assert loaded.policies[policy] == read(None, environ={}).policies[policy]
    assert loaded.policies[policy].model_dump() == settings_classes()[policy]().model_dump()


def test_the_gateway_that_it_makes_has_the_same_rules_as_without_it(loaded: Loaded) -> None:
    rules = [rule for each in build(loaded).engine.enforcements for rule in each.policy.rules]

    assert rules == [rule for each in build(read(None, environ={})).engine.enforcements for rule in each.policy.rules]


@pytest.mark.parametrize("setting", schema_settings(), ids=lambda each: f"{each.table}.{each.key}")
def test_every_setting_is_mentioned(setting: Setting) -> None:
    assert mentions(setting)


def test_tables_stand_in_the_order_of_the_contract() -> None:
    order = ["gateway", "admin", "aup", "client", "account", "store", "spool", "log"]
    order += [f"policies.{name}" for name in REGISTRY]

    assert [table for table in sections() if table in order] == order


def test_every_setting_has_a_comment_of_its_own() -> None:
    everyones = {"mode", "rules", "exempt", "share", "on_error"}  # explained with the first policy
    lines = TEXT.splitlines()

    bare = [
        (number, line)
        for number, line in enumerate(lines, 1)
        if (key := KEY.match(line)) and not lines[number - 2].startswith("# ") and key[1] not in everyones
    ]

    assert [line for _, line in bare] == ['#cert = "tls/fullchain.pem"', '#key = "tls/privkey.pem"']


def test_what_is_unset_can_be_set_as_it_stands_there(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(COMMENTED_OUT.sub("", TEXT), encoding="utf-8")

    loaded = read(config, environ={"AUPGATE_ACCOUNT__SOURCES": '["jwt:sub", "key:x-api-key"]'})

    assert loaded.config.gateway.tls is not None
    assert loaded.config.client.trusted_proxies is not None
    assert {name: each.mode for name, each in loaded.policies.items()} == {
        name: default_mode(name) for name in REGISTRY
    }
