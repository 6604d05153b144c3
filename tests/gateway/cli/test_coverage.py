import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aupgate.build import read
from aupgate.cli.coverage import BEST_FIRST, coverage_of
from tests.gateway.cli.running import aupgate, on_a_terminal

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "saas" / "config.toml"

PACK = """
id = "acme"
name = "Acme"

[[clauses]]
id = "acme.hosts"
title = "Hosts"
summary = "A host that is ours."
controls = ["headers.host"]

[[clauses]]
id = "acme.headers"
title = "Headers"
summary = "No header is forged."
controls = ["headers"]

[[clauses]]
id = "acme.orders"
title = "Orders"
summary = "Few orders at a time."
controls = ["rate_limits.orders"]

[[clauses]]
id = "acme.patience"
title = "Patience"
summary = "Nobody shouts."
controls = ["patience.shouting", "headers.loudness"]

[[clauses]]
id = "acme.both"
title = "Both"
summary = "No forged header, and nobody shouts."
controls = ["headers.spoofed", "patience"]

[[clauses]]
id = "acme.kindness"
title = "Kindness"
summary = "Be kind."
person = "A person judges what is kind."
"""


def states(tmp_path: Path, **policies: Any) -> dict[str, str]:
    """Return the state of each clause of `PACK`, by the id without the pack's."""
    (tmp_path / "acme.toml").write_text(PACK, encoding="utf-8")
    loaded = read({"aup": {"packs": [str(tmp_path / "acme.toml")]}, "policies": policies}, environ={})
    return {each.id.removeprefix("acme."): each.state for each in coverage_of(loaded)}


def test_both_shipped_policies_are_covered_clause_by_clause() -> None:
    result = aupgate("coverage", "--config", EXAMPLE, "--json")

    covered = json.loads(result.out)
    assert result.code == 0
    assert Counter(each["id"].partition(".")[0] for each in covered) == {"infince": 21, "cimcon": 28}
    assert {each["state"] for each in covered} <= set(BEST_FIRST)
    assert all(each["controls"] or each["person"] for each in covered)


def test_the_table_has_a_line_for_each_clause_and_counts_the_states() -> None:
    result = aupgate("coverage", "--config", EXAMPLE)

    covered = coverage_of(read(EXAMPLE, environ={}))
    lines = result.out.splitlines()
    assert result.code == 0
    assert [line.split()[0] for line in lines[1:-1]] == [each.id for each in covered]
    assert [line.startswith(each.id) and each.state in line for line, each in zip(lines[1:-1], covered, strict=True)]
    counts = Counter(each.state for each in covered)
    said = ", ".join(f"{counts[state]} {state}" for state in BEST_FIRST if counts[state])
    assert lines[-1] == f"49 clauses: {said}"
    assert "\x1b" not in result.out


def test_without_configuration_the_default_pack_is_covered() -> None:
    result = aupgate("coverage", "--json")

    assert {each["id"].partition(".")[0] for each in json.loads(result.out)} == {"default"}


def test_a_clause_is_enforced_when_all_of_its_controls_are(tmp_path: Path) -> None:
    found = states(tmp_path)

    assert (found["hosts"], found["headers"]) == ("enforced", "enforced")


def test_a_clause_of_which_one_control_is_missing_is_only_partly_enforced(tmp_path: Path) -> None:
    assert states(tmp_path)["both"] == "partly enforced"


def test_what_is_not_built_is_said_plainly(tmp_path: Path) -> None:
    assert states(tmp_path)["patience"] == "not built"


def test_a_clause_without_controls_is_a_persons_work(tmp_path: Path) -> None:
    assert states(tmp_path)["kindness"] == "a person's work"


def test_a_limit_that_the_operator_has_not_set_is_not_configured(tmp_path: Path) -> None:
    orders = {"limits": [{"name": "orders", "rate": "10/minute"}]}

    assert states(tmp_path)["orders"] == "not configured"
    assert states(tmp_path, rate_limits=orders)["orders"] == "observing"
    assert states(tmp_path, rate_limits={"mode": "enforce", **orders})["orders"] == "enforced"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({"mode": "observe"}, ("observing", "observing", "observing"), id="the policy observes"),
        pytest.param({"mode": "off"}, ("off", "off", "off"), id="the policy is off"),
        pytest.param(
            {"rules": {"host": "observe"}}, ("observing", "partly enforced", "partly enforced"), id="one rule"
        ),
        pytest.param({"rules": {"spoofed": "off"}}, ("enforced", "partly enforced", "off"), id="another rule"),
        pytest.param({"share": "10%"}, ("partly enforced",) * 3, id="for a share of the clients"),
    ],
)
def test_modes_of_policies_and_rules_show(headers: dict[str, Any], expected: tuple[str, ...], tmp_path: Path) -> None:
    found = states(tmp_path, headers=headers)

    assert (found["hosts"], found["headers"], found["both"]) == expected


def test_a_policy_that_is_off_still_knows_what_it_has_not_built(tmp_path: Path) -> None:
    assert states(tmp_path, headers={"mode": "off"})["patience"] == "not built"


def test_controls_are_listed_with_their_states_and_the_persons_work(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(PACK, encoding="utf-8")
    (tmp_path / "config.toml").write_text('[aup]\npacks = ["acme.toml"]\n', encoding="utf-8")

    rows = aupgate("coverage", "-c", tmp_path / "config.toml").rows

    assert rows["acme.both"] == ["partly enforced", "headers.spoofed (enforced), patience (not built)"]
    assert rows["acme.kindness"] == ["a person's work", "person: A person judges what is kind."]


def test_a_pack_that_does_not_exist_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[aup]\npacks = ["acme.toml", "nope"]\n', encoding="utf-8")

    result = aupgate("coverage", "-c", tmp_path / "config.toml")

    assert (result.code, result.out) == (2, "")
    assert [line.partition(":2: ")[2].partition(" = ")[0] for line in result.err.splitlines()[:2]] == [
        "aup.packs[0]",
        "aup.packs[1]",
    ]


def test_on_a_terminal_states_are_coloured() -> None:
    code, shown = on_a_terminal("coverage")

    assert code == 0
    assert "\x1b[32menforced " in shown
