from collections.abc import Mapping
from typing import Any, Literal

import pytest

from aupgate.config import PolicySettings, Size, load
from aupgate.errors import ConfigError
from tests.gateway.config.samples import problems


@pytest.mark.parametrize(
    ("config", "key", "expected"),
    [
        pytest.param({"polices": {}}, "polices", "unknown key, did you mean `policies`?", id="table"),
        pytest.param({"store": {"zz": 1}}, "store.zz", "expected one of `url`, `url_file`, `timeout`", id="key"),
        pytest.param(
            {"policies": {"limit": {}}}, "policies.limit", "unknown policy, did you mean `limits`?", id="policy"
        ),
        pytest.param({"policies": {"limits": 5}}, "policies.limits", "expected a table", id="no table"),
        pytest.param({"policies": []}, "policies", "expected a table", id="list of policies"),
        pytest.param({"gateway": {"mode": "on"}}, "gateway.mode", '"off", "observe", "enforce"', id="enum"),
        pytest.param({"gateway": {"workers": "2"}}, "gateway.workers", "a whole number from 1 to 256", id="integer"),
        pytest.param({"gateway": {"workers": True}}, "gateway.workers", "a whole number", id="truth is no number"),
        pytest.param({"gateway": {"workers": 0}}, "gateway.workers", "a whole number from 1 to 256", id="range"),
        pytest.param(
            {"gateway": {"upstream": 5}}, "gateway.upstream", "or a list of 1 or more strings", id="one or a list"
        ),
        pytest.param(
            {"gateway": {"upstream": []}}, "gateway.upstream", "or a list of 1 or more strings", id="empty list"
        ),
        pytest.param({"gateway": {"tls": {"cert": "a"}}}, "gateway.tls.key", "missing, expected a", id="missing"),
        pytest.param({"aup": {"name": 5}}, "aup.name", "expected a string", id="string"),
        pytest.param({"aup": {"packs": "default"}}, "aup.packs", 'such as ["default", "infince"]', id="list"),
        pytest.param({"aup": {"packs": ["default", 5]}}, "aup.packs[1]", "the name of a pack", id="element"),
        pytest.param({"aup": {"effective": {"x": "soon"}}}, "aup.effective.x", "2026-01-31", id="date"),
        pytest.param(
            {"policies": {"limits": {"window": 1}}}, "policies.limits.window", '"fixed", "sliding"', id="choice"
        ),
        pytest.param({"policies": {"plain": {"rules": {"x": 1}}}}, "policies.plain.rules.x", '"observe"', id="rule"),
        pytest.param({"policies": {"plain": {"rules": "x"}}}, "policies.plain.rules", "expected a table", id="rules"),
        pytest.param(
            {"policies": {"limits": {"lowest": 1.5}}}, "policies.limits.lowest", "whole number", id="fraction"
        ),
        pytest.param({"store": "memory://"}, "store", "expected a table", id="string for a table"),
    ],
)
def test_a_problem_names_the_key_and_says_what_is_accepted(config: Mapping[str, Any], key: str, expected: str) -> None:
    (problem,) = problems(config)
    assert problem.key == key
    assert expected in problem.expected
    assert problem.source == "<mapping>"


class Quota(PolicySettings):
    size: Size
    sizes: tuple[Size, ...] = ()
    kinds: tuple[Literal["film", "sound"], ...] = ()


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        pytest.param(None, 'missing, expected a string or a whole number, such as "64 KiB"', id="two kinds of values"),
        pytest.param(
            {"size": 1, "sizes": 5},
            'expected a list of strings or whole numbers, such as ["64 KiB", "25 MiB"]',
            id="list of two kinds of values",
        ),
        pytest.param({"size": 1, "kinds": "film"}, 'expected a list of one of "film", "sound"', id="list of choices"),
    ],
)
def test_a_problem_names_all_kinds_of_values_that_are_accepted(table: Mapping[str, Any] | None, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({} if table is None else {"policies": {"quota": table}}, policies={"quota": Quota}, environ={})
    assert [problem.expected for problem in caught.value.problems] == [expected]
