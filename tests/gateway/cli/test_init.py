"""The command line as a whole: commands, exit codes, and that no bad input shows a stack trace."""

import json
import re
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import aupgate.cli as aupgate_cli
from aupgate.errors import AupgateError
from tests.gateway.cli.running import PROGRAM, aupgate, environment, on_a_terminal

COMMANDS = ("serve", "check", "explain", "coverage", "schema", "version")
GET = b"GET / HTTP/1.1\r\nHost: app.example\r\n\r\n"


def test_help_names_every_command_and_the_exit_codes() -> None:
    result = aupgate("--help")

    assert result.code == 0
    assert [command for command in COMMANDS if not re.search(rf"^  {command} ", result.out, re.MULTILINE)] == []
    assert "..." not in result.out.partition("Commands:")[2]
    assert "0 done or allowed" in result.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = aupgate(command, "--help")

    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"Usage: aupgate {command}")


def test_version_is_that_of_the_package() -> None:
    assert aupgate("version") == (0, f"aupgate {version('aupgate')}\n", "")


def test_python_m_aupgate_is_the_same_program() -> None:
    done = subprocess.run([*PROGRAM, "version"], capture_output=True, text=True, env=environment(), check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, f"aupgate {version('aupgate')}\n", "")


def test_the_console_script_is_this_main() -> None:
    (script,) = entry_points(group="console_scripts", name="aupgate")

    assert script.load() is aupgate_cli.main


def test_schema_prints_a_json_schema_with_every_policy() -> None:
    result = aupgate("schema")

    assert result.code == 0
    assert json.loads(result.out)["properties"]["policies"]["properties"].keys() >= {"protocol", "uploads"}


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((), id="no command"),
        pytest.param(("guard",), id="an unknown command"),
        pytest.param(("check", "--confg", "x.toml"), id="an unknown option"),
        pytest.param(("check", "x.toml"), id="an argument too many"),
        pytest.param(("check", "--config"), id="an option without its value"),
        pytest.param(("explain",), id="a required option is missing"),
        pytest.param(("explain", "--request", "-", "--client", "app.example"), id="a client that is no address"),
        pytest.param(("explain", "--request", "-", "--scheme", "gopher"), id="an unknown scheme"),
        pytest.param(("serve", "--listen", "nowhere"), id="a listen address without port"),
        pytest.param(("serve", "--upstream", "ftp://app"), id="an upstream of another kind"),
        pytest.param(("serve", "--engine", "steam"), id="an unknown engine"),
    ],
)
def test_mistakes_on_the_command_line_end_with_2_and_a_word_about_it(arguments: tuple[str, ...]) -> None:
    result = aupgate(*arguments, stdin=GET)

    assert result.code == 2
    assert (result.out or result.err).strip()
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "cannot be read: No such file or directory", id="a missing file"),
        pytest.param("directory", "cannot be read: Is a directory", id="a directory"),
        pytest.param(b"\x00\xff\xfe", "expected text in UTF-8", id="no text"),
        pytest.param(b"[gateway\n", "not TOML", id="no TOML"),
        pytest.param(b"[gateway]\nlisen = 1\n", "unknown key, did you mean `listen`?", id="an unknown key"),
        pytest.param(b"a = " + b"[" * 100_000, "nested too deeply", id="nested without end"),
    ],
)
def test_configurations_of_no_use_end_with_2(content: bytes | str | None, said: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    if isinstance(content, bytes):
        config.write_bytes(content)
    elif content:
        config.mkdir()

    result = aupgate("check", "--config", config)

    assert (result.code, result.out) == (2, "")
    assert f"{config}" in result.err
    assert said in result.err
    assert result.err.endswith("aupgate: 1 problem in the configuration\n")
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    "arguments", [["coverage"], ["explain", "--request", "-"], ["serve"]], ids=lambda each: each[0]
)
def test_every_command_tells_mistakes_in_the_configuration_alike(arguments: list[str], tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[aup]\npacks = ["nope"]\n', encoding="utf-8")

    assert aupgate(*arguments, "--config", config, stdin=GET) == aupgate("check", "--config", config)


def test_the_configuration_may_be_named_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('[gateway]\nmode = "observe"\n')

    result = aupgate("check", environ={"AUPGATE_CONFIG": str(tmp_path / "own.toml")})

    assert (result.code, result.out.splitlines()[0]) == (0, f"ok: {tmp_path / 'own.toml'}")


def test_a_failure_while_running_ends_with_1_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AupgateError("the disk is full")

    monkeypatch.setattr("aupgate.cli.check.run", fail)

    assert aupgate("check") == (1, "", "aupgate: the disk is full\n")


def test_serve_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith(("aupgate.proxy", "aupgate.cli.serve"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "uvicorn", None)

    assert aupgate("serve") == (1, "", "aupgate: serve needs the package 'uvicorn': install aupgate[proxy]\n")


def test_a_reader_that_has_seen_enough_is_no_stack_trace() -> None:
    with subprocess.Popen(
        [*PROGRAM, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()

        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    "arguments", [pytest.param(("--help",), id="help"), pytest.param(("check", "--nope"), id="a mistake")]
)
def test_frames_and_colours_are_for_terminals(arguments: tuple[str, ...]) -> None:
    piped = aupgate(*arguments)
    code, shown = on_a_terminal(*arguments)

    assert code == piped.code
    assert "╭" in shown
    assert "\x1b[" in shown
    assert "╭" not in piped.out + piped.err
    assert "\x1b" not in piped.out + piped.err


def test_output_that_the_encoding_lacks_is_escaped() -> None:
    command = [*PROGRAM, "explain", "--request", "-"]
    raw = b"GET /caf%C3%A9 HTTP/1.1\r\nHost: a\r\n\r\n"
    env = environment(PYTHONIOENCODING="ascii")

    done = subprocess.run(command, input=raw, capture_output=True, env=env, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"GET /caf\\xe9 from 192.0.2.1")


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["explain", "--help"]], ids=" ".join)
def test_what_needs_no_gateway_imports_none(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom aupgate.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=environment(), check=True
    )

    heavy = ("aupgate.build", "aupgate.config", "aupgate.policies", "limits", "re2", "starlette", "uvicorn", "yara_x")
    assert [name for name in done.stderr.split() if name.startswith(heavy)] == []
