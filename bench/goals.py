"""The ratios that aupgate is built to reach, found in the tables of a run."""

from typing import Final

from bench import clients, growth, inprocess, servers, standalone, startup
from bench.figures import Cell, Goal
from bench.workloads import GET

_GET: Final = inprocess.column(GET)
_EXAMPLE: Final = Cell("inprocess", inprocess.EXAMPLE, _GET)
_PEAK: Final = "standalone_get"


def _peak(row: str) -> Cell:
    return Cell(_PEAK, row, standalone.RATE)


def _growth(row: str) -> Cell:
    return Cell("growth", row, _GET)


def _grows(row: str) -> Goal:
    return Goal(f"added cost with {row} / with the example's configuration", _growth(row), _growth(growth.EXAMPLE), 1.5)


GOALS: Final = (
    Goal(
        "in process, every request-phase policy / SlowAPIASGIMiddleware with one limit",
        _EXAMPLE,
        Cell("inprocess", inprocess.SLOWAPI, _GET),
        0.6,
    ),
    Goal(
        "in process, every request-phase policy / fastapi-guard with detection",
        _EXAMPLE,
        Cell("inprocess", inprocess.DETECTION, _GET),
        1 / 500,
    ),
    Goal(
        "requests a second, every policy / nginx, ModSecurity and Core Rule Set",
        _peak(servers.EXAMPLE),
        _peak(servers.MODSECURITY),
        12,
        at_most=False,
    ),
    Goal(
        "requests a second, every policy / mitmproxy without checks",
        _peak(servers.EXAMPLE),
        _peak(servers.MITMPROXY),
        10,
        at_most=False,
    ),
    Goal(
        "requests a second, every policy / every policy off",
        _peak(servers.EXAMPLE),
        _peak(servers.OFF),
        0.6,
        at_most=False,
    ),
    *map(_grows, (growth.LIMITS, growth.RANGES, growth.ROUTES, growth.ALL)),
    Goal(
        "p99 / p50 at 70 % of the peak",
        Cell("steady", servers.EXAMPLE, standalone.STEADY_P99),
        Cell("steady", servers.EXAMPLE, standalone.STEADY_P50),
        3,
    ),
    Goal(
        "memory after all requests / after half of them",
        Cell("clients", clients.row(clients.STEPS), clients.MEMORY),
        Cell("clients", clients.row(clients.STEPS // 2), clients.MEMORY),
        1.05,
    ),
    Goal("aupgate serve to its first answer, seconds", Cell("startup", servers.EXAMPLE, startup.ANSWER), None, 1.5),
    Goal("import aupgate.middleware, seconds", Cell("imports", startup.MIDDLEWARE, startup.IMPORT), None, 0.3),
)
