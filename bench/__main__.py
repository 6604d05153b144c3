"""The command line: `python -m bench [PART…] [--quick] [--rounds N] [--docs]`."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from bench import clients, growth, inprocess, machine, plot, provision, report, standalone, startup
from bench.configurations import ROOT
from bench.figures import NotMeasuredError, Table
from bench.goals import GOALS
from bench.run import Run

PARTS: Final[Mapping[str, Callable[[Run], list[Table]]]] = {
    "inprocess": inprocess.part,
    "growth": growth.part,
    "standalone": standalone.part,
    "clients": clients.part,
    "startup": startup.part,
}
"""What can be measured: each part measures its cases in turns, and returns the tables it filled."""

_PACKAGES: Final = ("nginx", "libmodsecurity3", "modsecurity-crs", "wrk")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"what to measure, of {', '.join(PARTS)}; without, all"
    )
    parser.add_argument("--quick", action="store_true", help="short measurements, to see that everything runs")
    parser.add_argument("--rounds", type=int, help="how often each case is measured; without, 7, or 3 with --quick")
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks.md and its plot from this run")
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    if arguments.docs and (arguments.parts or arguments.quick):
        parser.error("--docs writes down a whole run: leave out the parts and --quick")
    return arguments


def _facts(run: Run) -> dict[str, str]:
    used = {**machine.debian_versions(_PACKAGES), **provision.versions()}
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        **machine.describe(),
        "load at the start": machine.load(),
        "rounds": f"{run.rounds}{', quick' if run.quick else ''}; medians, lowest and highest in brackets",
        "cores used": f"servers {run.cores.server}, load and upstream {run.cores.load}",
        "versions": ", ".join(f"{name} {version}" for name, version in used.items()),
    }


def _write(run: Run, tables: dict[str, Table], facts: Mapping[str, str]) -> None:
    results = json.dumps(report.as_json(tables, GOALS, facts), indent=1)
    (run.directory / "results.json").write_text(results + "\n", encoding="utf-8")
    (run.directory / "results.svg").write_text(plot.svg(list(tables.values())), encoding="utf-8")
    (run.directory / "results.md").write_text(report.markdown(tables, GOALS, facts), encoding="utf-8")


def _publish(run: Run) -> None:
    """Put a run's results behind the introduction of docs/benchmarks.md, which ends at the first table."""
    page = ROOT / "docs" / "benchmarks.md"
    introduction = page.read_text(encoding="utf-8").partition(_MARK)[0]
    results = (run.directory / "results.md").read_text(encoding="utf-8")
    page.write_text(f"{introduction}{_MARK}\n\n![The medians as bars](benchmarks.svg)\n\n{results}", encoding="utf-8")
    (ROOT / "docs" / "benchmarks.svg").write_bytes((run.directory / "results.svg").read_bytes())


_MARK: Final = "<!-- what follows is written by python -m bench --docs -->"


def _measure(part: str, run: Run) -> list[Table]:
    try:
        return PARTS[part](run)
    except NotMeasuredError as error:  # not even what all its cases need is here
        table = Table(part, part, {"": ""})
        table.miss("everything", str(error))
        return [table]


def main(parts: Sequence[str], run: Run) -> None:
    """Measure the parts and write the report."""
    run.files.mkdir(parents=True, exist_ok=True)
    provision.install_debian()
    facts = _facts(run)
    tables = {table.name: table for part in parts for table in _measure(part, run)}
    _write(run, tables, facts)
    print("\n".join(f"{name}: {fact}" for name, fact in facts.items()), end="\n\n\n")
    print(report.text(tables, GOALS))
    print(f"\nEvery sample is in {run.directory.relative_to(ROOT)}/results.json, the plot in results.svg beside it.")


if __name__ == "__main__":
    given = _arguments()
    this = Run(rounds=given.rounds or (3 if given.quick else 7), quick=given.quick)
    main(given.parts or list(PARTS), this)
    if given.docs:
        _publish(this)
