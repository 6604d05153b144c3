"""Standalone measurement: requests a second, latency and memory of the reverse proxies, side by side."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.figures import NotMeasuredError, Table
from bench.load import CONNECTIONS, Requests, paced, write_requests, wrk
from bench.processes import Server
from bench.run import Run
from bench.servers import DIRECT, MODSECURITY, started_system, systems, upstream
from bench.workloads import CLIENTS, GET, POST, Workload

RATE: Final = "requests"
AT_REST: Final = "at rest"
AFTER: Final = "after the load"
STEADY_P50: Final = "p50"
STEADY_P99: Final = "p99"

_SHARE: Final = 0.7
_MOST: Final = 12_000
"""Requests a second that the generator with a fixed rate is asked for at most: beyond, it is what is slow."""


def peak_table(workload: Workload) -> Table:
    """Return the table for as many requests of one kind as a server takes."""
    return Table(
        f"standalone_{workload.name}",
        f"Standalone: {workload.title}, as many as it takes on one core",
        {RATE: "req/s", "p50": "ms", "p99": "ms", "core used": "%"},
        reference=MODSECURITY,
        notes=[
            f"wrk, one thread, {CONNECTIONS} connections, {CLIENTS:,} sessions, 12 header fields (14 in the POST).",
            "The server has a core to itself; wrk and the upstream, an nginx that answers with 1 KiB, share the other.",
            "Where the server uses less than 100 % of its core, they are the limit.",
        ],
    )


def memory_table() -> Table:
    """Return the table for the memory of each server."""
    return Table(
        "memory",
        "Memory of each server",
        {AT_REST: "MiB", AFTER: "MiB"},
        reference=MODSECURITY,
        compared=[AT_REST, AFTER],
        notes=["Resident set of the largest process and what others have for themselves, at rest after one answer."],
    )


def steady_table() -> Table:
    """Return the table for latency below saturation."""
    return Table(
        "steady",
        f"Standalone: GET at {100 * _SHARE:.0f} % of each server's peak",
        {STEADY_P50: "ms", STEADY_P99: "ms", "sent": "req/s"},
        notes=[
            f"A fixed rate on {CONNECTIONS} connections, at most {_MOST:,} requests a second.",
            "Latency counts from when a request is due, so what waits for a stalled server is counted too.",
        ],
    )


@dataclass(slots=True)
class Field:
    """The servers that run, and the tables they fill."""

    run: Run
    servers: dict[str, Server]
    tables: list[Table]

    def each(self, measure: Callable[[str, Server], None]) -> None:
        """Measure every server that is still in the field; one that fails leaves it."""
        for title, server in list(self.servers.items()):
            try:
                measure(title, server)
            except (NotMeasuredError, OSError) as error:
                self.leave(title, str(error))

    def rounds(self, table: Table, measure: Callable[[str, Server], None]) -> None:
        """Measure every server in every round, so that what disturbs the machine disturbs them all."""
        for number in range(self.run.rounds):
            self.run.say(f"{table.name}: round {number + 1} of {self.run.rounds}")
            self.each(measure)

    def leave(self, title: str, reason: str) -> None:
        """Take a server out."""
        self.servers.pop(title, None)
        for table in self.tables:
            table.miss(title, reason)


def part(run: Run) -> list[Table]:
    """Measure every server's peak with each workload, its memory, and its latency below the peak."""
    peaks = {workload.name: peak_table(workload) for workload in (GET, POST)}
    memory, steady = memory_table(), steady_table()
    tables = [*peaks.values(), steady, memory]
    with _field(run, tables) as field:
        field.each(lambda title, server: memory.add(title, AT_REST, server.memory()))
        for workload in (GET, POST):
            _peak_rounds(field, peaks[workload.name], write_requests(run.files, workload))
        _steady_rounds(field, peaks[GET.name], steady, write_requests(run.files, GET))
        field.each(lambda title, server: memory.add(title, AFTER, server.memory()))
    return tables


@contextlib.contextmanager
def _field(run: Run, tables: Sequence[Table]) -> Iterator[Field]:
    """Start the upstream and every server; those that do not come up are missing from the tables."""
    with contextlib.ExitStack() as stack:
        field = Field(run, {}, list(tables))
        for table in tables:
            table.expect([DIRECT, *(system.title for system in systems())])
        behind = stack.enter_context(upstream(run))
        field.servers[DIRECT] = behind
        for system in systems():
            try:
                field.servers[system.title] = stack.enter_context(started_system(run, system, behind.port))
            except NotMeasuredError as error:
                field.leave(system.title, str(error))
        yield field


def _peak_rounds(field: Field, table: Table, requests: Requests) -> None:
    """Let the servers take turns: warmed up once, then measured in every round."""
    core, seconds = field.run.cores.load, field.run.seconds(5, 1)

    def warm_up(_: str, server: Server) -> None:
        wrk(core, server.port, requests, 1)

    def measure(title: str, server: Server) -> None:
        before = server.processor_seconds()
        load = wrk(core, server.port, requests, seconds).clean()
        used = server.processor_seconds() - before
        table.add_all(
            title, {RATE: load.rate, "p50": load.p50, "p99": load.p99, "core used": 100 * used / load.seconds}
        )

    field.each(warm_up)
    field.rounds(table, measure)


def _steady_rounds(field: Field, peaks: Table, table: Table, requests: Requests) -> None:
    core, seconds = field.run.cores.load, field.run.seconds(5, 2)

    def measure(title: str, server: Server) -> None:
        peak = peaks.figure(title, RATE)
        wanted = _SHARE * peak.median if peak else 0.0
        if not 0 < wanted <= _MOST:
            table.miss(title, f"the load generator does not send {wanted:,.0f} requests a second")
            return
        load = paced(core, server.port, requests, seconds, wanted).clean()
        table.add_all(title, {STEADY_P50: load.p50, STEADY_P99: load.p99, "sent": load.rate})

    field.rounds(table, measure)
