import json
import re
import tomllib
from collections.abc import Mapping
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from aupgate.config import (
    RESERVED,
    AgentPattern,
    Config,
    Duration,
    Exemption,
    ListenAddress,
    Loaded,
    MediaType,
    Method,
    Network,
    OneOrMore,
    PathTemplate,
    Percent,
    PolicySettings,
    Rate,
    Settings,
    Size,
    UpstreamUrl,
    expectation,
    json_schema,
    load,
)
from aupgate.errors import ConfigError, Problem
from aupgate.model import Mode, OnError

CONFIGS = Path(__file__).parent.parent / "config"
DOCS = Path(__file__).parent.parent.parent / "docs" / "configuration.md"


class Match(Settings):
    path: PathTemplate | None = None
    methods: tuple[Method, ...] = ()


class Limit(Settings):
    name: str
    rate: Rate
    match: Match = Match()


class Concurrency(Settings):
    per_client: Annotated[int, Field(ge=1)] = 100


class Limits(PolicySettings):
    """A policy for these tests."""

    limits: tuple[Limit, ...] = ()
    """Limits."""
    concurrency: Concurrency | None = None
    window: Literal["fixed", "sliding"] = "sliding"
    pause: Duration = 1.5
    sources: Annotated[tuple[str, ...], OneOrMore()] = ()
    lowest: int = 0
    highest: int = 9

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.lowest > self.highest:
            raise expectation("expected no more than highest", at="lowest")
        return self


POLICIES = {"limits": Limits, "plain": PolicySettings}


def settings_classes() -> Mapping[str, type[PolicySettings]]:
    """Return those of the real policies, which only the tests of whole files need."""
    from aupgate.build import settings_classes as real

    return real()


def loaded(config: Mapping[str, Any] | Path | None = None, **environ: str) -> Loaded:
    return load(config, policies=POLICIES, environ=environ)


def problems(config: Mapping[str, Any] | Path | None, **environ: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        loaded(config, **environ)
    return caught.value.problems


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode())
    return path


# --- notations


@pytest.mark.parametrize(
    ("notation", "written", "value"),
    [
        pytest.param(Duration, "50ms", 0.05, id="milliseconds"),
        pytest.param(Duration, "10s", 10.0, id="seconds"),
        pytest.param(Duration, "1.5 m", 90.0, id="minutes, with a fraction and a space"),
        pytest.param(Duration, "2h", 7200.0, id="hours"),
        pytest.param(Duration, "1d", 86400.0, id="days"),
        pytest.param(Duration, "0s", 0.0, id="no time at all"),
        pytest.param(Size, "64 KiB", 65536, id="kibibytes"),
        pytest.param(Size, "25MiB", 25 * 2**20, id="mebibytes"),
        pytest.param(Size, "1.5 GiB", 3 * 2**29, id="gibibytes"),
        pytest.param(Size, "10 MB", 10**7, id="megabytes"),
        pytest.param(Size, "3 KB", 3000, id="kilobytes"),
        pytest.param(Size, "512 B", 512, id="bytes"),
        pytest.param(Size, "100", 100, id="bytes without unit"),
        pytest.param(Size, 65536, 65536, id="bytes as a number"),
        pytest.param(Size, 0, 0, id="nothing"),
        pytest.param(Percent, "10%", 10.0, id="per cent"),
        pytest.param(Percent, "0.5 %", 0.5, id="half of one per cent"),
        pytest.param(Percent, "100%", 100.0, id="all"),
        pytest.param(Network, "10.0.0.0/8", ip_network("10.0.0.0/8"), id="IPv4 network"),
        pytest.param(Network, "192.0.2.7", ip_network("192.0.2.7/32"), id="IPv4 address"),
        pytest.param(Network, "0.0.0.0/0", ip_network("0.0.0.0/0"), id="every IPv4 address"),
        pytest.param(Network, "2001:db8::/32", ip_network("2001:db8::/32"), id="IPv6 network"),
        pytest.param(Network, "::1", ip_network("::1/128"), id="IPv6 address"),
        pytest.param(Rate, "240/minute;60/second", "240/minute;60/second", id="two rates"),
        pytest.param(Rate, "1000 per 2 hours", "1000 per 2 hours", id="rate in words"),
        pytest.param(PathTemplate, "/", "/", id="root"),
        pytest.param(PathTemplate, "/api/{id}/{rest:path}", "/api/{id}/{rest:path}", id="parameters"),
        pytest.param(PathTemplate, "/%7Eme/file.txt", "/%7Eme/file.txt", id="encoded"),
        pytest.param(UpstreamUrl, "http://127.0.0.1:8000/", "http://127.0.0.1:8000", id="http"),
        pytest.param(UpstreamUrl, "https://app.example.com", "https://app.example.com", id="https"),
        pytest.param(UpstreamUrl, "http://[::1]:8000", "http://[::1]:8000", id="upstream on IPv6"),
        pytest.param(UpstreamUrl, "unix:/run/app.sock", "unix:/run/app.sock", id="upstream on a unix socket"),
        pytest.param(ListenAddress, "127.0.0.1:0", "127.0.0.1:0", id="any free port"),
        pytest.param(ListenAddress, "localhost:8080", "localhost:8080", id="name"),
        pytest.param(ListenAddress, "[::]:65535", "[::]:65535", id="listen on IPv6"),
        pytest.param(ListenAddress, "unix:/run/a b.sock", "unix:/run/a b.sock", id="listen on a unix socket"),
        pytest.param(MediaType, "Application/JSON", "application/json", id="media type"),
        pytest.param(MediaType, "image/*", "image/*", id="media types"),
        pytest.param(Method, "PROPFIND", "PROPFIND", id="method"),
        pytest.param(AgentPattern, "^Example(App)?/[0-9]+", "^Example(App)?/[0-9]+", id="agent"),
    ],
)
def test_a_notation_is_understood(notation: Any, written: str | int, value: object) -> None:
    assert TypeAdapter(notation).validate_json(json.dumps(written), strict=True) == value


@pytest.mark.parametrize(
    ("notation", "written", "expected"),
    [
        pytest.param(Duration, 10, 'such as "50ms"', id="duration as a number"),
        pytest.param(Duration, "10", 'such as "50ms"', id="duration without unit"),
        pytest.param(Duration, "-1s", 'such as "50ms"', id="negative duration"),
        pytest.param(Duration, "1m30s", 'such as "50ms"', id="two units"),
        pytest.param(Duration, "10s\n", 'such as "50ms"', id="duration with a line end"),
        pytest.param(Duration, "٣s", 'such as "50ms"', id="digits of another script"),
        pytest.param(Duration, "9" * 400 + "d", 'such as "50ms"', id="endless duration"),
        pytest.param(Size, "64 Kib", '"64 KiB"', id="bits"),
        pytest.param(Size, -1, '"64 KiB"', id="negative size"),
        pytest.param(Size, True, '"64 KiB"', id="a truth value is no size"),
        pytest.param(Size, 1.5, '"64 KiB"', id="fraction of a byte"),
        pytest.param(Percent, 10, '"10%"', id="share as a number"),
        pytest.param(Percent, "101%", '"10%"', id="more than all"),
        pytest.param(Network, "10.0.0.1/8", 'expected "10.0.0.0/8" or "10.0.0.1"', id="bits behind the prefix"),
        pytest.param(Network, "10.0.0.0/33", "10.0.0.0/8", id="prefix too long"),
        pytest.param(Network, "example.com", "10.0.0.0/8", id="name is no network"),
        pytest.param(Network, "fe80::1%eth0", "10.0.0.0/8", id="zone"),
        pytest.param(Network, 167772160, "10.0.0.0/8", id="address as a number"),
        pytest.param(Rate, "240", '"240/minute"', id="rate without time"),
        pytest.param(Rate, "240/fortnight", '"240/minute"', id="rate over an unknown time"),
        pytest.param(Rate, "240/minute and more", '"240/minute"', id="rate with an end that is none"),
        pytest.param(Rate, "0/minute", "at least 1", id="rate of nothing"),
        pytest.param(PathTemplate, "api", 'begins with "/"', id="relative path"),
        pytest.param(PathTemplate, "/a?b=c", 'begins with "/"', id="path with a query"),
        pytest.param(PathTemplate, "/{a", 'begins with "/"', id="open brace"),
        pytest.param(PathTemplate, "/{a:file}", 'begins with "/"', id="unknown kind of parameter"),
        pytest.param(PathTemplate, "/{a}/{a:int}", "only once", id="same name twice"),
        pytest.param(UpstreamUrl, "127.0.0.1:8000", '"http://host:port"', id="no scheme"),
        pytest.param(UpstreamUrl, "http://host/base", '"http://host:port"', id="path"),
        pytest.param(UpstreamUrl, "http://user@host", '"http://host:port"', id="user"),
        pytest.param(UpstreamUrl, "http://host:99999", '"http://host:port"', id="upstream port too high"),
        pytest.param(UpstreamUrl, "http://:80", '"http://host:port"', id="no host"),
        pytest.param(UpstreamUrl, "unix:app.sock", '"http://host:port"', id="relative socket"),
        pytest.param(ListenAddress, "8080", '"host:port"', id="port alone"),
        pytest.param(ListenAddress, ":8080", '"host:port"', id="no host to listen on"),
        pytest.param(ListenAddress, "::1:8080", '"host:port"', id="IPv6 without brackets"),
        pytest.param(ListenAddress, "[1::2::3]:80", '"host:port"', id="no IPv6 address"),
        pytest.param(ListenAddress, "localhost:65536", "from 0 to 65535", id="port too high"),
        pytest.param(MediaType, "json", '"application/json"', id="half a media type"),
        pytest.param(MediaType, "text/html; charset=utf-8", '"application/json"', id="parameter"),
        pytest.param(Method, "get", '"GET"', id="lower case"),
        pytest.param(AgentPattern, "(", "that RE2 compiles: missing )", id="open group"),
        pytest.param(AgentPattern, "a(?=b)", "that RE2 compiles", id="look-ahead"),
        pytest.param(AgentPattern, "", '"^ExampleApp/"', id="empty pattern"),
    ],
)
def test_what_is_not_in_the_notation_is_refused_with_an_example(notation: Any, written: object, expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(notation).validate_json(json.dumps(written), strict=True)
    assert expected in caught.value.errors()[0]["msg"]


@given(st.integers(0, 10**12))
def test_a_size_is_written_so_that_it_can_be_read_again(size: int) -> None:
    adapter = TypeAdapter[int](Size)
    assert adapter.validate_python(adapter.dump_python(size, mode="json")) == size


@given(st.integers(0, 10**9))
def test_a_duration_is_written_so_that_it_can_be_read_again(milliseconds: int) -> None:
    adapter = TypeAdapter[float](Duration)
    read = adapter.validate_python(adapter.dump_python(milliseconds / 1000, mode="json"))
    assert read == pytest.approx(milliseconds / 1000)


@given(
    st.text() | st.from_regex(r"[0-9]{1,20} ?[a-zA-Z%/]{0,6}"),
    st.sampled_from([Duration, Size, Percent, Network, Rate]),
)
def test_a_notation_takes_any_text_or_refuses_it_in_order(text: str, notation: Any) -> None:
    assert kinds_of_errors(notation, text) <= {"expectation"}


def kinds_of_errors(notation: Any, text: str) -> set[str]:
    try:
        TypeAdapter(notation).validate_python(text)
    except ValidationError as error:
        return {detail["type"] for detail in error.errors()}
    return set()


# --- the folder of configurations


def expected_problems(path: Path) -> list[tuple[int | None, str, str]]:
    """Read `# expect: 7 gateway.workers = 2: part of the message`; `-` stands for no line, `/` for the file itself."""
    found = re.findall(r"^# expect: (\d+|-) (\S+) (.+)$", path.read_text(), re.MULTILINE)
    return [(None if line == "-" else int(line), "" if key == "/" else key, text) for line, key, text in found]


@pytest.mark.parametrize("path", sorted((CONFIGS / "bad").glob("*.toml")), ids=lambda path: path.stem)
def test_a_bad_configuration_is_refused_with_all_its_problems(path: Path) -> None:
    expected = expected_problems(path)
    assert expected, "this file does not say what is wrong with it"
    with pytest.raises(ConfigError) as caught:
        load(path, policies=settings_classes(), environ={})
    assert [(problem.line, problem.key) for problem in caught.value.problems] == [row[:2] for row in expected]
    for problem, (_, _, text) in zip(caught.value.problems, expected, strict=True):
        assert text in str(problem)
        assert problem.source == str(path)


GOOD = sorted((CONFIGS / "good").glob("*.toml"))


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_configuration_loads(path: Path) -> None:
    assert load(path, policies=settings_classes(), environ={}).base == path.parent


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_editors_find_no_fault_with_a_good_configuration(path: Path) -> None:
    document = json.loads(json.dumps(tomllib.loads(path.read_text()), default=str))
    Draft202012Validator(json_schema(settings_classes())).validate(document)


# --- loading


def test_nothing_needs_to_be_configured() -> None:
    result = loaded()
    assert result.config == Config()
    assert result.policies == {"limits": Limits(), "plain": PolicySettings()}


def test_a_file_is_read_into_plain_values(tmp_path: Path) -> None:
    text = """
        [gateway]
        upstream = "http://app:8000"
        shutdown_grace = "2m"
        [aup]
        effective = { cimcon = 2026-03-01 }
        [client]
        trusted_proxies = ["10.0.0.0/8"]
        [policies.limits]
        mode = "observe"
        exempt = [{ client = "192.0.2.0/24" }]
        on_error = "allow"
        share = "10%"
        rules = { api = "off" }
        limits = [{ name = "api", rate = "2/second" }]
    """
    result = loaded(file(tmp_path, text))
    limits = result.policies["limits"]
    assert result.config.gateway.upstream == ("http://app:8000",)
    assert result.config.gateway.shutdown_grace == 120.0
    assert result.config.aup.effective == {"cimcon": date(2026, 3, 1)}
    assert result.config.client.trusted_proxies == (ip_network("10.0.0.0/8"),)
    assert isinstance(limits, Limits)
    assert limits.limits[0].name == "api"
    assert (limits.mode, limits.on_error, limits.share) == (Mode.OBSERVE, OnError.ALLOW, 10.0)
    assert (limits.exempt, limits.rules) == ((Exemption(client=ip_network("192.0.2.0/24")),), {"api": Mode.OFF})


def test_relative_file_names_start_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file(tmp_path, "")
    monkeypatch.chdir(tmp_path)
    assert loaded(Path("config.toml")).base == tmp_path


def test_a_mapping_may_hold_what_python_programs_hold() -> None:
    config = {"aup": {"packs": ("default",), "effective": {"x": date(2026, 1, 2)}}, "spool": {"dir": Path("spool")}}
    assert loaded(config).config.aup.effective == {"x": date(2026, 1, 2)}
    assert loaded(config).config.spool.dir == Path("spool")


def test_unset_proxies_and_no_proxies_are_told_apart() -> None:
    assert loaded({}).config.client.trusted_proxies is None
    assert loaded({"client": {"trusted_proxies": []}}).config.client.trusted_proxies == ()


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


@pytest.mark.parametrize(
    ("config", "key", "expected"),
    [
        pytest.param({"polices": {}}, "polices", "unknown key, did you mean `policies`?", id="table"),
        pytest.param({"store": {"zz": 1}}, "store.zz", "expected one of `url`, `max_keys`, `timeout`", id="key"),
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


@pytest.mark.parametrize(
    ("config", "value"),
    [
        pytest.param({"aup": {"name": 5}}, "5", id="number"),
        pytest.param({"gateway": {"mode": "on"}}, '"on"', id="string"),
        pytest.param({"gateway": {"mode": "x" * 100}}, '"' + "x" * 58 + "…", id="long"),
        pytest.param({"gateway": {"mode": "\x1b[31m\x9b"}}, r'"\u001b[31m\u009b"', id="control characters"),
        pytest.param({"aup": {"name": ["a", True]}}, '["a", true]', id="list"),
        pytest.param({"aup": {"name": {"a": 1}}}, "", id="table"),
        pytest.param({"gateway": {"upstream": "http://u:secret@app"}}, '"http://***@app"', id="password"),
        pytest.param({"store": {"url": "redis://:secret@host/0"}}, '"redis://***@host/0"', id="password of a store"),
        pytest.param({"store": {"url": "redis://:p@ss@host/0"}}, '"redis://***@host/0"', id="password with an at sign"),
        pytest.param({"aup": {"name": [{"a": 1}]}}, "", id="list of tables"),
    ],
)
def test_the_value_is_shown_as_written_but_short_and_without_passwords(config: Mapping[str, Any], value: str) -> None:
    (problem,) = problems(config)
    assert problem.value == value


def test_later_stages_can_report_a_problem_with_its_line(tmp_path: Path) -> None:
    path = file(tmp_path, '[aup]\npacks = [\n  "default",\n  "mine.toml",\n]\n')
    problem = loaded(path).problem(("aup", "packs", 1), "no such pack")
    assert str(problem) == f'{path}:4: aup.packs[1] = "mine.toml": no such pack'


@pytest.mark.parametrize(
    ("content", "line", "expected"),
    [
        pytest.param(b"[gateway]\nlisten =\n", 2, "not TOML: invalid value", id="syntax"),
        pytest.param(b"[gateway]\nworkers = [", 2, "not TOML: ", id="end of file"),
        pytest.param(b"a = 1\na = 2\n", 2, "not TOML: cannot overwrite a value", id="same key twice"),
        pytest.param(b"[aup]\nname = '\xff'\n", 2, "expected text in UTF-8", id="encoding"),
        pytest.param(b"a = " + b"[" * 50 + b"]" * 50, 1, "nested too deeply", id="deep"),
        pytest.param(b"a = " + b"[" * 5000 + b"]" * 5000, None, "nested too deeply", id="very deep"),
        pytest.param(b"#" * 2**20 + b"#", None, "expected no more than 1 MiB", id="huge"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_problem(
    tmp_path: Path, content: bytes, line: int | None, expected: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    (problem,) = problems(path)
    assert (problem.line, problem.key) == (line, "")
    assert expected in problem.expected


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem(tmp_path: Path) -> None:
    path = file(tmp_path, '\ufeff[aup]\r\nname = "x"\r\ncontact = "y"\r\n')
    assert [(problem.line, problem.key) for problem in problems(path)] == [(3, "aup.contact")]


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path, name: str) -> None:
    (problem,) = problems(tmp_path / name)
    assert problem.expected.startswith("cannot be read: ")


@pytest.mark.parametrize(
    "config", [{"aup": {"name": "\ud800"}}, {("a", "b"): 1}], ids=["no text", "a key that is no string"]
)
def test_a_mapping_that_is_no_toml_is_a_problem(config: Mapping[Any, Any]) -> None:
    (problem,) = problems(config)
    assert problem.expected.startswith("expected what TOML can hold")


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


# --- overrides


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
        pytest.param("AUPGATE_STORE__TIMEOUT", "5", 'store.timeout = "5": expected a duration', id="value"),
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
        "command line: names no setting, nearest: `gateway.upstream`, `gateway.listen`, `gateway.tls.key`",
        'command line: gateway.listen = "x": expected "host:port", "[address]:port" or "unix:/path"',
    ]


def test_an_override_below_something_that_is_no_table_leaves_the_files_problem() -> None:
    (problem,) = problems({"store": 5}, AUPGATE_STORE__MAX_KEYS="5000")
    assert str(problem) == "<mapping>: store = 5: expected a table"


# --- schema and documentation


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
            default = {} if node.get("additionalProperties") else node.get("default")
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
