import re
from datetime import date
from ipaddress import ip_network
from pathlib import Path

import pytest

from aupgate.config import Config, Exemption, PolicySettings, load
from aupgate.errors import ConfigError
from aupgate.model import Mode, OnError
from tests.gateway.config.samples import CONFIGS, GOOD, Limits, file, loaded, settings_classes


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


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_configuration_loads(path: Path) -> None:
    assert load(path, policies=settings_classes(), environ={}).base == path.parent


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


def test_later_stages_can_report_a_problem_with_its_line(tmp_path: Path) -> None:
    path = file(tmp_path, '[aup]\npacks = [\n  "default",\n  "mine.toml",\n]\n')
    problem = loaded(path).problem(("aup", "packs", 1), "no such pack")
    assert str(problem) == f'{path}:4: aup.packs[1] = "mine.toml": no such pack'
