"""In-process measurement: the cost of a request as the configuration grows."""

from typing import Final

from bench import configurations
from bench.figures import Table
from bench.inprocess import Case, column, measure
from bench.run import Run
from bench.workloads import FORWARDED, GET, Workload

EXAMPLE: Final = "the example's configuration"
LIMITS: Final = "1,000 limits"
RANGES: Final = "10,000 trusted networks"
ROUTES: Final = "1,000 more routes"
ALL: Final = "1,000 limits, 10,000 trusted networks, 1,000 more routes"


def _case(title: str, workload: Workload, *, limits: int = 0, ranges: int = 0, routes: int = 0) -> Case:
    config = configurations.without_uploads(configurations.grown(limits=limits, ranges=ranges, routes=routes))
    return Case(title, "aupgate", configuration=config, workloads=(workload,))


def cases() -> list[Case]:
    """Return the configurations, from the example's to one with a thousand of everything."""
    return [
        _case(EXAMPLE, GET),
        _case("10 limits", GET, limits=10),
        _case("100 limits", GET, limits=100),
        _case(LIMITS, GET, limits=1_000),
        _case("1 trusted network", FORWARDED, ranges=1),
        _case("100 trusted networks", FORWARDED, ranges=100),
        _case(RANGES, FORWARDED, ranges=10_000),
        _case("10 more routes", GET, routes=10),
        _case(ROUTES, GET, routes=1_000),
        _case(ALL, FORWARDED, limits=1_000, ranges=10_000, routes=1_000),
    ]


def part(run: Run) -> list[Table]:
    """Measure the cost of a clean GET with small and large configurations."""
    table = Table(
        "growth",
        "In process: what aupgate adds to a clean GET as its configuration grows",
        {column(GET): "µs"},
        reference=EXAMPLE,
        notes=[
            "Two limits match the request, however many there are.",
            "With trusted networks the request comes through a proxy inside one of them, and X-Forwarded-For is read.",
        ],
    )
    measure(run, table, cases(), run.seconds(0.5, 0.2))
    return [table]
