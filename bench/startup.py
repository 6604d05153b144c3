"""Start-up: how long until a server's first answer, and how long an import takes."""

import subprocess
from typing import Final

from bench.figures import NotMeasuredError, Table
from bench.processes import environment, last_line_of, pinned
from bench.provision import python_of
from bench.run import Run
from bench.servers import EXAMPLE, started_system, systems, upstream

ANSWER: Final = "first answer"
IMPORT: Final = "import"
MIDDLEWARE: Final = "aupgate.middleware"

_IMPORTS: Final = {
    MIDDLEWARE: "own",
    "slowapi.middleware": "asgi",
    "guard": "asgi",
    "fastapi": "asgi",
    "mitmproxy.tools.main": "mitmproxy",
}
"""Modules, and the environment each is in."""

_TIME_IMPORT: Final = "import time; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"


def part(run: Run) -> list[Table]:
    """Measure starts of servers and imports of modules, each in a new process."""
    return [_servers(run), _imports(run)]


def _servers(run: Run) -> Table:
    table = Table(
        "startup",
        "Cold start: from starting the process to its first answer",
        {ANSWER: "s"},
        reference=EXAMPLE,
        notes=["A new process each time; files in the page cache, Python modules compiled."],
    )
    table.expect(system.title for system in systems())
    with upstream(run) as behind:
        for number in range(run.rounds + 1):
            run.say(f"startup: round {number} of {run.rounds}")
            for system in systems():
                try:
                    with started_system(run, system, behind.port) as server:
                        if number:  # the first compiles
                            table.add(system.title, ANSWER, server.seconds_to_answer)
                except NotMeasuredError as error:
                    table.miss(system.title, str(error))
    return table


def _imports(run: Run) -> Table:
    table = Table(
        "imports",
        "Import: how long it takes in a new interpreter",
        {IMPORT: "s"},
        reference=MIDDLEWARE,
        notes=["The interpreter's own start is not counted."],
    )
    for number in range(run.rounds + 1):
        for module, where in _IMPORTS.items():
            try:
                seconds = _import_seconds(run, module, where)
                if number:  # the first compiles
                    table.add(module, IMPORT, seconds)
            except NotMeasuredError as error:
                table.miss(module, str(error))
    return table


def _import_seconds(run: Run, module: str, where: str) -> float:
    command = pinned(run.cores.server, [python_of(where), "-c", _TIME_IMPORT.format(module)])
    variables = environment(run.directory)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables, cwd=run.files)
    if done.returncode:
        raise NotMeasuredError(last_line_of(done.stderr))
    return float(done.stdout)
