from datetime import date
from typing import Any

import pytest

from aupgate.config import RESERVED, Config, load
from aupgate.errors import ConfigError
from aupgate.model import Mode
from tests.gateway.config.samples import POLICIES, Concurrency, Limits, loaded, problems


@pytest.mark.parametrize(
    ("name", "text", "keys", "value"),
    [
        pytest.param("AUPGATE_LOG__AUDIT", "off", ("log", "audit"), "off", id="string"),
        pytest.param("aupgate_Log__audit", "off", ("log", "audit"), "off", id="any case"),
        pytest.param("AUPGATE_GATEWAY__TIMEOUTS__IDLE", "5s", ("gateway", "timeouts", "idle"), 5.0, id="duration"),
        pytest.param("AUPGATE_STORE__MAX_KEYS", "5000", ("store", "max_keys"), 5000, id="number"),
        pytest.param("AUPGATE_SPOOL__MEMORY", "4096", ("spool", "memory"), 4096, id="size"),
        pytest.param("AUPGATE_AUP__NAME", "123", ("aup", "name"), "123", id="string that looks like a number"),
        pytest.param("AUPGATE_AUP__NAME", "", ("aup", "name"), "", id="empty"),
        pytest.param(
            "AUPGATE_AUP__PACKS", "['infince', 'cimcon']", ("aup", "packs"), ("infince", "cimcon"), id="TOML list"
        ),
        pytest.param(
            "AUPGATE_AUP__PACKS", '["infince",\n"cimcon"]', ("aup", "packs"), ("infince", "cimcon"), id="JSON list"
        ),
        pytest.param("AUPGATE_CLIENT__TRUSTED_PROXIES", "[]", ("client", "trusted_proxies"), (), id="empty list"),
        pytest.param("AUPGATE_GATEWAY__UPSTREAM", "http://a", ("gateway", "upstream"), ("http://a",), id="one"),
        pytest.param(
            "AUPGATE_AUP__EFFECTIVE__X", "2026-01-31", ("aup", "effective"), {"x": date(2026, 1, 31)}, id="date"
        ),
        pytest.param(
            "AUPGATE_AUP__EFFECTIVE", '{"x": "2026-01-31"}', ("aup", "effective"), {"x": date(2026, 1, 31)}, id="JSON"
        ),
    ],
)
def test_an_environment_variable_overrides_a_setting(
    name: str, text: str, keys: tuple[str, ...], value: object
) -> None:
    node: Any = load({"log": {"audit": "stdout"}}, policies=POLICIES, environ={name: text}).config
    for key in keys:
        node = getattr(node, key)
    assert node == value


def test_an_environment_variable_overrides_a_setting_of_a_policy() -> None:
    result = loaded(
        {}, AUPGATE_POLICIES__LIMITS__CONCURRENCY__PER_CLIENT="3", AUPGATE_POLICIES__LIMITS__RULES__API="off"
    )
    limits = result.policies["limits"]
    assert isinstance(limits, Limits)
    assert limits.concurrency == Concurrency(per_client=3)
    assert limits.rules == {"api": Mode.OFF}


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_reserved_variables_are_no_settings(name: str) -> None:
    assert load({}, policies=POLICIES, environ={name: "x", "HOME": "/"}).config == Config()


def test_the_command_line_overrides_the_environment_and_both_the_file() -> None:
    environ = {"AUPGATE_GATEWAY__LISTEN": "b:2", "AUPGATE_GATEWAY__UPSTREAM": "http://b"}
    config = {"gateway": {"listen": "a:1", "upstream": "http://a", "mode": "observe"}}
    gateway = load(config, policies={}, environ=environ, overrides={"gateway.listen": "c:3"}).config.gateway
    assert (gateway.listen, gateway.upstream, gateway.mode) == ("c:3", ("http://b",), "observe")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        pytest.param("AUPGATE_STORE__URLS", "x", "names no setting, nearest: `AUPGATE_STORE__URL`", id="unknown key"),
        pytest.param("AUPGATE_QQQ", "x", "names no setting", id="like nothing else"),
        pytest.param(
            "AUPGATE_STORE__URL__X", "x", "names no setting, nearest: `AUPGATE_STORE__URL`", id="below a value"
        ),
        pytest.param("AUPGATE_", "x", "names no setting", id="prefix alone"),
        pytest.param("AUPGATE_STORE", "x", 'store = "x": expected a table', id="a table"),
        pytest.param("AUPGATE_GATEWAY__TIMEOUTS__IDLE", "5", 'idle = "5": expected a duration', id="value"),
        pytest.param("AUPGATE_GATEWAY__WORKERS", "2", "gateway.workers = 2: several workers need", id="combination"),
        pytest.param("AUPGATE_AUP__PACKS", '["a b"]', 'aup.packs[0] = "a b": expected the name', id="element"),
        pytest.param("AUPGATE_AUP__PACKS", "a, b", 'aup.packs = "a, b": expected a list of strings', id="no list"),
        pytest.param("AUPGATE_AUP__NAME", "\udcff", "aup.name: expected text in UTF-8", id="bytes"),
        pytest.param("AUPGATE_GATEWAY__TLS__CERT", "a", "gateway.tls.key: missing", id="half a table"),
    ],
)
def test_a_wrong_override_is_reported_by_its_name(name: str, text: str, message: str) -> None:
    (problem,) = problems({}, **{name: text})
    assert message in str(problem)
    assert (problem.source, problem.line) in {(name, None), ("<mapping>", None)}


def test_one_setting_named_by_two_variables_is_a_problem() -> None:
    (problem,) = problems({}, AUPGATE_AUP__NAME="a", aupgate_aup__name="b")
    assert str(problem) == "aupgate_aup__name: aup.name: expected one variable, AUPGATE_AUP__NAME names it too"


def test_a_wrong_option_is_reported_as_the_command_lines() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, policies={}, environ={}, overrides={"gateway.listen": "x", "gateway.upsteam": "y"})
    assert [str(problem).partition(", such")[0] for problem in caught.value.problems] == [
        "command line: names no setting, nearest: `gateway.upstream`, `gateway.upstream_tls.key`, `gateway.listen`",
        'command line: gateway.listen = "x": expected "host:port", "[address]:port" or "unix:/path"',
    ]


def test_an_override_below_something_that_is_no_table_leaves_the_files_problem() -> None:
    (problem,) = problems({"store": 5}, AUPGATE_STORE__MAX_KEYS="5000")
    assert str(problem) == "<mapping>: store = 5: expected a table"
