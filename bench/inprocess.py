"""In-process measurement: the cost that middleware adds to a request, without a server, a socket or a client.

Every case has a worker process of its own, so that one's imports and caches do not touch another's. The workers wait in
between: in each round every case is measured once.
"""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench import configurations
from bench.configurations import ROOT
from bench.figures import NotMeasuredError, Table
from bench.processes import environment, last_line, pinned
from bench.provision import python_of
from bench.run import Run
from bench.workloads import GET, POST, Workload


@dataclass(frozen=True)
class Case:
    """A subject with its configuration, and the workloads it is measured with."""

    title: str
    subject: str
    environment: str = "own"
    configuration: Mapping[str, Any] = field(default_factory=dict)
    workloads: Sequence[Workload] = (GET, POST)


EXAMPLE: Final = "aupgate, every request-phase policy enforced"
SLOWAPI: Final = "SlowAPIASGIMiddleware, one limit"
DETECTION: Final = "fastapi-guard with detection"


def cases() -> list[Case]:
    """Return the cases side by side: what one limit costs elsewhere, and what every policy costs here."""
    example = configurations.example()
    return [
        Case("aupgate, every policy off", "aupgate", configuration=configurations.off()),
        Case("aupgate, the defaults", "aupgate", configuration=configurations.defaults()),
        Case(EXAMPLE, "aupgate", configuration=configurations.without_uploads(example)),
        Case("aupgate, the same and uploads", "aupgate", configuration=example),
        Case(SLOWAPI, "slowapi", "asgi", {"middleware": "SlowAPIASGIMiddleware"}),
        Case(
            f"{SLOWAPI}, Starlette",
            "slowapi",
            "asgi",
            {"middleware": "SlowAPIASGIMiddleware", "framework": "starlette"},
        ),
        Case("SlowAPIMiddleware, one limit", "slowapi", "asgi", {"middleware": "SlowAPIMiddleware"}),
        Case("fastapi-guard without detection", "guard", "asgi", {"enable_penetration_detection": False}),
        Case(DETECTION, "guard", "asgi", {"enable_penetration_detection": True}),
    ]


class Worker:
    """A worker process, pinned to the servers' core."""

    def __init__(self, case: Case, run: Run) -> None:
        name = re.sub(r"\W+", "-", case.title)
        self._log, configuration = run.files / f"{name}.log", run.files / f"{name}.json"
        configuration.write_text(json.dumps(case.configuration), encoding="utf-8")
        command: list[str | Path] = [python_of(case.environment), "-m", "bench.worker", case.subject, configuration]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                pinned(run.cores.server, command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=run.files,
                env=environment(run.directory, {"PYTHONPATH": str(ROOT)}),
                text=True,
            )

    def begin(self) -> None:
        """Wait until the subject is built and has proved that it refuses."""
        self._answer()

    def measure(self, workload: Workload, seconds: float) -> dict[str, float]:
        """Measure one workload for about `seconds`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"workload": workload.name, "seconds": seconds}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise NotMeasuredError(last_line(self._log))
        answer: dict[str, Any] = json.loads(line)
        if answer.get("refused"):
            raise NotMeasuredError(f"it refused {answer['refused']} clean requests")
        return answer

    def end(self) -> None:
        """End the process."""
        try:
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def column(workload: Workload) -> str:
    """Return the name of a workload's column."""
    return f"{workload.title} adds"


def measure(run: Run, table: Table, cases: Sequence[Case], seconds: float) -> None:
    """Measure every case in every round, and add what each adds to a request to `table`."""
    configurations.lay_out(run.files)
    with _workers(run, table, cases) as workers:
        for number in range(run.rounds):
            run.say(f"{table.name}: round {number + 1} of {run.rounds}")
            for case in [case for case in cases if case.title in workers]:
                try:
                    _measure_case(workers[case.title], table, case, seconds)
                except NotMeasuredError as error:
                    table.miss(case.title, str(error))
                    workers.pop(case.title).end()


def _measure_case(worker: Worker, table: Table, case: Case, seconds: float) -> None:
    for workload in case.workloads:
        measured = worker.measure(workload, seconds)
        table.add(case.title, column(workload), measured["wrapped"] - measured["bare"])


@contextlib.contextmanager
def _workers(run: Run, table: Table, cases: Sequence[Case]) -> Iterator[dict[str, Worker]]:
    """Start a worker for each case; those that do not come up are missing from the table and from what is yielded."""
    workers: dict[str, Worker] = {}
    table.expect(case.title for case in cases)
    try:
        for case in cases:
            try:
                worker = workers[case.title] = Worker(case, run)
                worker.begin()
            except NotMeasuredError as error:
                table.miss(case.title, str(error))
                if case.title in workers:
                    workers.pop(case.title).end()
        yield workers
    finally:
        for worker in workers.values():
            worker.end()


def part(run: Run) -> list[Table]:
    """Measure what each middleware adds to a clean GET and to a clean 1 KiB JSON POST."""
    table = Table(
        "inprocess",
        "In process: what a middleware adds to one request",
        {column(GET): "µs", column(POST): "µs"},
        reference=SLOWAPI,
        compared=[column(GET), column(POST)],
        notes=[
            "A FastAPI application of two routes is called directly, bare and wrapped in turns: the difference.",
            "SlowAPI goes through the routes of the application too; Starlette adds none of its own, FastAPI does.",
            "1,000 clients with their own address and session send a browser's 12 header fields (14 in the POST).",
            "Each subject first proves that it refuses a hostile request, and must answer every measured one with 200.",
        ],
    )
    measure(run, table, cases(), run.seconds(1.0, 0.3))
    return [table]
