"""docs/cli.md is true: its transcripts are what the commands print, and its tables name what there is."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from aupgate.cli import app
from aupgate.cli.coverage import BEST_FIRST
from tests.gateway.cli.running import aupgate, environment

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\S+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = [command.callback.__name__ for command in app.registered_commands if command.callback]


class Step(NamedTuple):
    """A command of a transcript and what it prints; a line `…` stands for any lines."""

    command: str
    output: str


def files() -> dict[str, str]:
    return {name: text for kind, name, text in BLOCK.findall(PAGE) if kind == "toml" and name}


def transcripts() -> list[list[Step]]:
    return [
        [
            Step(command, output)
            for command, _, output in (part.partition("\n") for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:])
        ]
        for kind, _, text in BLOCK.findall(PAGE)
        if kind == "console"
    ]


def pattern(output: str) -> str:
    lines = [r"(?:.*\n)*?" if line == "…\n" else re.escape(line) for line in output.splitlines(keepends=True)]
    return "".join(lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def run(command: str, folder: Path, code: int) -> "subprocess.CompletedProcess[str]":
    """Run a command as a shell would after one that ended with `code`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return subprocess.run(
        ["bash", "-c", f"(exit {code}); {command}"],
        cwd=folder,
        env=environment(PATH=path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("steps", transcripts(), ids=lambda steps: steps[0].command[:40])
def test_transcripts_are_what_the_commands_print(steps: list[Step], folder: Path) -> None:
    code = 0
    for step in steps:
        done = run(step.command, folder, code)
        code = done.returncode
        assert re.fullmatch(pattern(step.output), done.stdout), done.stdout


def test_there_are_transcripts_of_the_commands_that_answer() -> None:
    commands = " ".join(step.command for steps in transcripts() for step in steps)

    assert [name for name in ("check", "explain", "coverage", "schema") if f"aupgate {name}" not in commands] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_described(command: str) -> None:
    options = set(re.findall(r"--[a-z-]+", aupgate(command, "--help").out)) - {"--help"}

    assert f"| `aupgate {command}` |" in PAGE
    assert [option for option in options if f"`{option}" not in PAGE and f"[{option}" not in PAGE] == []


def test_every_state_of_coverage_is_described() -> None:
    assert [state for state in BEST_FIRST if f"| {state} |" not in PAGE] == []
