"""The servers that are measured side by side: each is a reverse proxy in front of the same upstream.

A new one is a function that returns a command and a line in `SYSTEMS`.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import configurations, nginx
from bench.configurations import ROOT
from bench.figures import NotMeasuredError
from bench.processes import Server, ask, environment, free_port, head, pinned, running
from bench.provision import python_of
from bench.run import Run
from bench.workloads import AGENTS, GET

_HOSTILE_AGENT: Final = "sqlmap/1.8.4#stable (https://sqlmap.org)"
_ATTACK: Final = "/api/items?q=%3Cscript%3Ealert(1)%3C/script%3E&file=../../etc/passwd"

Command = Callable[[Path, int, int], list[str]]
"""Returns what to run, given a directory for its files, the port to listen on and the upstream's port."""


@dataclass(frozen=True)
class System:
    """One of the servers."""

    title: str
    command: Command
    refuses: bytes = b""
    """A request that it must refuse, or there is nothing to measure; empty: it refuses nothing."""


def aupgate(config: Mapping[str, Any]) -> Command:
    """Return what makes the command for `aupgate serve` with a configuration."""

    def command(directory: Path, port: int, upstream: int) -> list[str]:
        configurations.lay_out(directory)
        file = directory / "config.toml"
        file.write_text(configurations.to_toml(config), encoding="utf-8")
        places = ["--listen", f"127.0.0.1:{port}", "--upstream", f"http://127.0.0.1:{upstream}"]
        return [sys.executable, "-m", "aupgate", "serve", "--config", str(file), *places]

    return command


def mitmdump(directory: Path, port: int, upstream: int) -> list[str]:
    """Return the command for mitmproxy as a reverse proxy with an addon that does nothing."""
    directory.mkdir(parents=True, exist_ok=True)
    program = python_of("mitmproxy").parent / "mitmdump"
    settings = [f"confdir={directory}", "flow_detail=0", "termlog_verbosity=error", "keep_host_header=true"]
    mode = ["--mode", f"reverse:http://127.0.0.1:{upstream}", "--listen-host", "127.0.0.1", "--listen-port", str(port)]
    return [str(program), "-q", *mode, "-s", str(ROOT / "bench" / "noop_addon.py"), *_each("--set", settings)]


def _each(option: str, values: list[str]) -> list[str]:
    return [part for value in values for part in (option, value)]


EXAMPLE: Final = "aupgate, every policy enforced"
OFF: Final = "aupgate, every policy off"
MODSECURITY: Final = "nginx, ModSecurity 3 and the Core Rule Set"
MITMPROXY: Final = "mitmproxy, an addon that does nothing"
NGINX: Final = "nginx, no checks"
DIRECT: Final = "the upstream itself"


def systems() -> list[System]:
    """Return the servers, in the order in which they take turns."""
    return [
        System(NGINX, nginx.proxy),
        System(MODSECURITY, nginx.modsecurity, head(_ATTACK, AGENTS[0])),
        System(MITMPROXY, mitmdump),
        System(OFF, aupgate(configurations.off())),
        System(EXAMPLE, aupgate(configurations.example()), head(GET.path, _HOSTILE_AGENT)),
    ]


def answers(port: int) -> bool:
    """Return whether a clean request is answered with 200."""
    return ask(port, head(GET.path, AGENTS[0])) == 200


@contextlib.contextmanager
def started(run: Run, name: str, command: Command, upstream: int, core: int) -> Iterator[Server]:
    """Run a server on a core. Raises `NotMeasuredError` when it does not come up."""
    directory, port = run.files / name, free_port()
    variables = environment(run.directory)
    line = pinned(core, command(directory, port, upstream))
    with running(line, port, answers, directory / "output.log", variables) as server:
        yield server


@contextlib.contextmanager
def started_system(run: Run, system: System, upstream: int) -> Iterator[Server]:
    """Run one of the systems on the servers' core and see that it refuses what it must."""
    name = "".join(letter if letter.isalnum() else "-" for letter in system.title)
    with started(run, name, system.command, upstream, run.cores.server) as server:
        if system.refuses and not 400 <= (status := ask(server.port, system.refuses)) < 500:
            raise NotMeasuredError(f"it answered an attack with {status}, so there is nothing to measure")
        yield server


@contextlib.contextmanager
def upstream(run: Run) -> Iterator[Server]:
    """Run the upstream, on the core of the load."""

    def command(directory: Path, port: int, _: int) -> list[str]:
        return nginx.upstream(directory, port)

    with started(run, "upstream", command, 0, run.cores.load) as server:
        yield server
