from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aupgate.config import Config
from aupgate.errors import ConfigError
from tests.gateway.config.samples import file, loaded, problems


def test_all_problems_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
[policies.limits]
lowest = 10
pause = 5
[gateway]
workers = 2
lisen = "x"
[spool]
memory = "2 GiB"
budget = "1 GiB"
"""
    found = problems(file(tmp_path, text), AUPGATE_STOR__URL="x")
    assert [(problem.line, problem.key or problem.source) for problem in found] == [
        (2, "policies.limits.lowest"),
        (3, "policies.limits.pause"),
        (5, "gateway.workers"),
        (6, "gateway.lisen"),
        (8, "spool.memory"),
        (None, "AUPGATE_STOR__URL"),
    ]


def test_a_wrong_value_causes_no_second_problem_about_its_absence() -> None:
    found = problems({"policies": {"plain": {"exempt": [{"client": "x"}]}, "limits": {"limits": [{"rate": "x"}]}}})
    assert [problem.key for problem in found] == [
        "policies.limits.limits[0].name",
        "policies.limits.limits[0].rate",
        "policies.plain.exempt[0].client",
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["10s", "enforce"]),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=8,
)


tables = st.sampled_from([*Config.model_fields, "x"])


known = st.sampled_from(
    ["listen", "upstream", "tls", "timeouts", "packs", "effective", "limits", "plain", "keys", "mode"]
)


@given(st.dictionaries(tables, json_values | st.dictionaries(known, json_values, max_size=3), max_size=4))
def test_whatever_is_configured_either_loads_or_is_refused_with_reasons(config: dict[str, Any]) -> None:
    reasons = reasons_against(config)
    assert reasons is None or (reasons and all(reasons))


def reasons_against(config: Mapping[str, Any]) -> list[str] | None:
    try:
        loaded(config)
    except ConfigError as error:
        return [problem.expected for problem in error.problems]
    return None
