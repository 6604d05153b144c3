"""Memory as ever more clients come: bounded stores stay bounded."""

from typing import Final

from bench import configurations
from bench.figures import NotMeasuredError, Table
from bench.load import Requests, write_requests, wrk
from bench.processes import Server
from bench.run import Run
from bench.servers import EXAMPLE, System, aupgate, started_system, upstream
from bench.workloads import GET

STEPS: Final = 10
MEMORY: Final = "memory"

_METERS: Final = 200_000


def row(share: int) -> str:
    """Return the row after `share` tenths of all requests."""
    return f"after {share} tenths"


def part(run: Run) -> list[Table]:
    """Measure the memory of `aupgate serve` while a million requests come from a hundred thousand clients."""
    clients, total = (10_000, 100_000) if run.quick else (100_000, 1_000_000)
    table = Table(
        "clients",
        f"Memory of aupgate over {total:,} requests from {clients:,} clients",
        {MEMORY: "MiB", "sent": "requests"},
        reference=row(STEPS // 2),
        notes=[
            "Each client has its own address, in X-Forwarded-For from a trusted proxy, and its own session.",
            f"The store keeps {_METERS:,} meters (store.max_keys); beyond, those used least give way.",
            "What counts in a window is kept for two of them: memory rises for two minutes, and is flat from then on.",
        ],
    )
    config = {
        **configurations.example(),
        "client": {"trusted_proxies": ["127.0.0.0/8"]},
        "store": {"max_keys": _METERS},
    }
    requests = write_requests(run.files, GET, clients, forwarded=True)
    try:
        with upstream(run) as behind, started_system(run, System("clients", aupgate(config)), behind.port) as server:
            table.add(row(0), MEMORY, server.memory())
            table.add(row(0), "sent", 0)
            _fill(run, table, server, requests, total)
    except NotMeasuredError as error:
        table.miss(EXAMPLE, str(error))
    return [table]


def _fill(run: Run, table: Table, server: Server, requests: Requests, total: int) -> None:
    """Send the requests, and note the memory after every tenth."""
    sent, rate = 0, 1_000.0
    for step in range(1, STEPS + 1):
        while sent < total * step // STEPS:
            seconds = min(60.0, max(1.0, (total * step // STEPS - sent) / rate))
            load = wrk(run.cores.load, server.port, requests, seconds, first=sent).clean()
            sent, rate = sent + load.requests, load.rate
        run.say(f"clients: {sent:,} of {total:,} requests")
        table.add(row(step), MEMORY, server.memory())
        table.add(row(step), "sent", sent)
