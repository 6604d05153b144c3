"""`aupgate check`: what it says of a sound configuration. Mistakes are the matter of test_loading.py."""

from pathlib import Path

import pytest

from tests.gateway.cli.running import aupgate, on_a_terminal

ROOT = Path(__file__).resolve().parents[3]
BAD = [
    ROOT / "tests" / "config" / "bad" / f"{name}.toml"
    for name in ("everything_at_once", "syntax", "limits", "unknown_key")
]


def written(tmp_path: Path, text: str) -> Path:
    config = tmp_path / "config.toml"
    config.write_text(text, encoding="utf-8")
    return config


def notes(text: str) -> list[str]:
    return [line.removeprefix("note: ") for line in text.splitlines() if line.startswith("note: ")]


def test_the_defaults_enforce_what_needs_no_knowledge_of_the_app() -> None:
    result = aupgate("check")

    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("ok: the defaults\npolicy ")
    modes = {policy: cells[0] for policy, cells in result.rows.items() if cells and cells[0] in {"enforce", "observe"}}
    assert modes == {
        "protocol": "enforce",
        "headers": "enforce",
        "networks": "observe",
        "interfaces": "observe",
        "scrapers": "observe",
        "rate_limits": "observe",
        "uploads": "enforce",
    }


def test_it_prints_modes_rules_shares_and_exemptions(tmp_path: Path) -> None:
    config = written(
        tmp_path,
        """
        [policies.headers]
        mode = "off"
        [policies.scrapers]
        mode = "enforce"
        share = "10%"
        rules = { scanner = "observe" }
        exempt = [{ account = "monitoring" }]
        """,
    )

    rows = aupgate("check", "--config", config).rows

    assert rows["headers"] == ["off", "-"]
    assert rows["scrapers"] == ["enforce", "8", "scanner = observe, share = 10%, 1 exempt"]


def test_it_says_how_to_enforce_what_is_only_observed() -> None:
    assert any(
        "[policies.interfaces], [policies.scrapers], [policies.rate_limits]" in note
        for note in notes(aupgate("check").out)
    )


def test_it_says_when_proxies_are_not_known(tmp_path: Path) -> None:
    edge = written(tmp_path, "[client]\ntrusted_proxies = []\n")

    assert any(note.startswith("client.trusted_proxies is not set") for note in notes(aupgate("check").out))
    assert not any("trusted_proxies" in note for note in notes(aupgate("check", "-c", edge).out))


@pytest.mark.parametrize(
    ("upstream", "tls", "said"),
    [
        pytest.param("https://app", "verify = false", "gateway.upstream_tls.verify = false", id="unverified"),
        pytest.param("http://app", "verify = false", "[gateway.upstream_tls] has no effect", id="no TLS"),
        pytest.param("https://app", 'server_name = "a"', None, id="a name"),
        pytest.param("http://app", "verify = true", None, id="the default"),
    ],
)
def test_it_says_when_upstreams_are_not_verified(upstream: str, tls: str, said: str | None, tmp_path: Path) -> None:
    config = written(tmp_path, f'[gateway]\nupstream = "{upstream}"\n[gateway.upstream_tls]\n{tls}\n')

    about = [note for note in notes(aupgate("check", "-c", config).out) if "upstream_tls" in note]

    assert [said is not None and note.startswith(said) for note in about] == [True] * (said is not None)


@pytest.mark.parametrize("mode", ["observe", "off"])
def test_it_says_when_the_gateway_as_a_whole_enforces_nothing(mode: str, tmp_path: Path) -> None:
    config = written(tmp_path, f'[gateway]\nmode = "{mode}"\n[client]\ntrusted_proxies = []\n')

    result = aupgate("check", "-c", config)

    assert notes(result.out) == [f'gateway.mode = "{mode}" holds for every policy: nothing is enforced']
    assert result.rows["uploads"][0] == mode


def test_it_says_when_a_rule_is_told_more_than_its_policy(tmp_path: Path) -> None:
    config = written(
        tmp_path,
        """
        [policies.scrapers.rules]
        scanner = "enforce"
        http_library = "off"
        [policies.uploads]
        mode = "off"
        rules = { infected = "observe" }
        """,
    )

    found = [note for note in notes(aupgate("check", "-c", config).out) if "has no effect" in note]

    assert found == [
        'policies.scrapers.rules.scanner = "enforce" has no effect, because the policy only observes',
        'policies.uploads.rules.infected = "observe" has no effect, because the policy is off',
    ]


def test_a_configuration_without_anything_to_note_gets_no_notes(tmp_path: Path) -> None:
    observing = ("networks", "interfaces", "scrapers", "rate_limits")
    enforced = "\n".join(f'[policies.{name}]\nmode = "enforce"' for name in observing)

    assert notes(aupgate("check", "-c", written(tmp_path, f"[client]\ntrusted_proxies = []\n{enforced}")).out) == []


def test_it_leaves_no_log_behind(tmp_path: Path) -> None:
    config = written(tmp_path, '[log]\naudit = "audit.jsonl"\naccess = "access.jsonl"\n')

    assert aupgate("check", "-c", config).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_on_a_terminal_it_is_coloured() -> None:
    code, shown = on_a_terminal("check")

    assert code == 0
    assert "\x1b[1;32mok: the defaults\x1b[0m" in shown
    assert "\x1b[33mobserve\x1b[0m" in shown


@pytest.mark.parametrize("config", BAD, ids=lambda path: path.stem)
def test_a_bad_configuration_is_refused_with_lines_and_the_number_of_problems(config: Path) -> None:
    result = aupgate("check", "-c", config)

    *problems, count = result.err.splitlines()
    assert (result.code, result.out) == (2, "")
    assert [problem for problem in problems if not problem.startswith(f"{config}:")] == []
    assert count == f"aupgate: {len(problems)} problem{'s' if len(problems) > 1 else ''} in the configuration"


def test_the_example_is_sound() -> None:
    result = aupgate("check", "-c", ROOT / "examples" / "saas" / "config.toml")

    assert (result.code, notes(result.out)) == (0, [])
