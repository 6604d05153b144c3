"""`make run`: what it prints is true. Every command of the tour is run as a reader would, in bash and in order."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.examples.running import ROOT, Program, environment, new_address, run_app, start, until
from tests.services import short_directory

TOLD = (
    r"^HTTP/1.1 403 [\s\S]*cimcon.wrongful.interfaces",
    r"^HTTP/1.1 200 [\s\S]*Cedar board",
    r"^HTTP/1.1 403 ",
    r'^(?![\s\S]*(6\.6\.6\.6|admin))[\s\S]*"x-forwarded-for","127\.',
    r"^HTTP/1.1 404 ",
    r"^HTTP/1.1 405 [\s\S]*\nallow: GET, POST",
    r"^HTTP/1.1 415 ",
    r"^HTTP/1.1 429 .*\nratelimit-policy: .*\nratelimit: .*\nretry-after: \d+\s*$",
    r"^$",
    r"^HTTP/1.1 422 [\s\S]*uploads.infected",
    r"^$",
    r"^HTTP/1.1 422 [\s\S]*uploads.infected",
    r"^HTTP/1.1 413 ",
    r"^HTTP/1.1 201 [\s\S]*picture.png",
    r"verdict: refuse with 404, rule interfaces.unknown_path",
    r"\n49 clauses: ",
)
"""What each command of the tour answers, in order."""


def free_address() -> str:
    """Return an address that nothing listens on; that it is no 127.0.0.1 keeps others from taking it meanwhile."""
    host = new_address()
    with socket.socket() as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


@contextmanager
def make_run(*arguments: str, listen: str, admin: str) -> Iterator[Program]:
    """Run what `make run` runs."""
    with short_directory("tour") as directory:
        command = [sys.executable, "-m", "examples.saas", "--listen", listen, "--admin", admin, *arguments]
        with start(directory, "tour", *command, PYTHONUNBUFFERED="1") as program:
            yield program


def printed(program: Program, last: str) -> str:
    """Return what it has printed once `last` is among it."""

    def look() -> str:
        text = program.output.read_text("utf-8")
        assert last in text or program.process.poll() is None, program.errors.read_text("utf-8")
        return text if last in text else ""

    return until(look, f"{last!r} in what make run prints")


def test_every_command_of_the_tour_shows_what_it_says(tmp_path: Path) -> None:
    listen, admin = free_address(), free_address()
    with make_run(listen=listen, admin=admin) as program:
        tour = printed(program, "Ctrl-C ends it.")
        commands = re.findall(r"^    (\S.*)$", tour, re.MULTILINE)
        assert f"http://{listen}/ in a browser" in tour
        assert httpx.get(f"http://{admin}/metrics", trust_env=False).status_code == 200
        answers = [bash(command.replace("/tmp/", f"{tmp_path}/")) for command in commands]
        program.process.send_signal(signal.SIGINT)
        assert program.process.wait(20) == 0
        failures = program.failures()
    steps = zip(commands, TOLD, answers, strict=True)
    untrue = {command: answer for command, pattern, answer in steps if re.search(pattern, answer) is None}
    assert untrue == {}
    assert failures == []


def bash(command: str) -> str:
    """Return what a command prints to standard output."""
    shell = ["bash", "-c", command]
    done = subprocess.run(shell, cwd=ROOT, env=environment(), capture_output=True, timeout=60, check=False)
    return done.stdout.decode().replace("\r\n", "\n")


def test_an_application_of_ones_own_is_protected_and_everyone_may_browse_it() -> None:
    listen, admin = free_address(), free_address()
    with (
        short_directory("own") as directory,
        run_app(directory) as (_, upstream),
        make_run("--upstream", upstream, listen=listen, admin=admin) as program,
    ):
        assert upstream in printed(program, "YOUR.toml")
        assert httpx.get(f"http://{listen}/api/items", trust_env=False).status_code == 200
        spoofed = httpx.get(f"http://{listen}/echo", headers={"X-Remote-User": "admin"}, trust_env=False)
        assert "admin" not in spoofed.text
        assert program.end() == 0


@pytest.mark.parametrize("taken", ["listen", "admin"])
def test_an_address_in_use_is_told_before_anything_starts(taken: str) -> None:
    with socket.socket() as occupied:
        occupied.bind((new_address(), 0))
        occupied.listen()
        host, port = occupied.getsockname()
        addresses = {"listen": free_address(), "admin": free_address()} | {taken: f"{host}:{port}"}
        with make_run(**addresses) as program:
            assert program.process.wait(20) == 1
            assert program.output.read_text("utf-8") == ""
            assert f'"{host}:{port}"' in program.errors.read_text("utf-8")
            assert program.failures() == []
