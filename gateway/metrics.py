"""Prometheus metrics: plain counters on the request's path, made into metric families when somebody asks.

The counters are those of one event loop, so that counting needs no lock. The client library is imported when somebody
asks for the first time: it takes a tenth of the time in which the middleware is imported.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from aupgate.meters import Outcome
from aupgate.model import INTERNAL_ERROR, Judgement, Request

if TYPE_CHECKING:
    from prometheus_client.metrics_core import HistogramMetricFamily, Metric

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the duration histogram, in seconds."""


class UpstreamState(NamedTuple):
    """What is told of one upstream."""

    url: str
    up: bool
    failures: int
    busy: int
    """Connections that carry an exchange."""
    idle: int
    """Connections that are kept for the next."""


class Family(NamedTuple):
    """What a part of the gateway tells of itself: a metric and its values by label."""

    kind: Literal["counter", "gauge"]
    name: str
    documentation: str
    labels: Sequence[str]
    samples: Sequence[tuple[Sequence[str], float]]
    """The values of the labels, in their order, and how much."""


class Metrics:
    """The gateway's metrics, in a registry of their own. Also a `FindingSink`: findings are counted."""

    def __init__(self) -> None:
        self._ended: Counter[tuple[int, bool, bool]] = Counter()
        self._findings: Counter[tuple[str, str, str, str]] = Counter()
        self._faults: Counter[str] = Counter()
        self._durations = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0
        self._bytes_in = 0
        self._bytes_out = 0
        self._in_flight = 0
        self._uncertain = 0
        self._observing = False
        self._reads: Counter[tuple[str, bool]] = Counter()
        self._parts: list[Callable[[], Iterable[Family]]] = [self._files]
        self._upstreams: Callable[[], Iterable[UpstreamState]] | None = None

    def begin(self, request: Request) -> None:
        """Count an exchange that starts."""
        self._in_flight += 1
        if not request.client.certain:
            self._uncertain += 1

    def end(self, outcome: Outcome) -> None:
        """Count an exchange that ended."""
        self._in_flight -= 1
        self._ended[outcome.status, outcome.refused, outcome.aborted] += 1
        self._durations[bisect_left(BUCKETS, outcome.duration)] += 1
        self._seconds += outcome.duration
        self._bytes_in += outcome.bytes_in
        self._bytes_out += outcome.bytes_out

    def record(self, request: Request, judgement: Judgement) -> None:  # noqa: ARG002 - the FindingSink protocol
        """Count a finding."""
        finding = judgement.finding
        self._findings[finding.policy, finding.rule, finding.action, judgement.mode] += 1
        if finding.rule == INTERNAL_ERROR:
            self._faults[str(finding.evidence["policy"])] += 1

    def observing(self, *, on: bool) -> None:
        """Show the state of the runtime switch."""
        self._observing = on

    def file_read(self, path: Path, well: bool) -> None:  # noqa: FBT001 - the OnRead callback
        """Count a file that changed and was read again, `well` or in vain."""
        self._reads[path.name, well] += 1

    def show(self, part: Callable[[], Iterable[Family]]) -> None:
        """Show the families that `part` tells of when somebody asks."""
        self._parts.append(part)

    def watch_upstreams(self, states: Callable[[], Iterable[UpstreamState]]) -> None:
        """Show the upstreams, as `states` tells of them when somebody asks."""
        self._upstreams = states

    def render(self) -> bytes:
        """Return the text exposition of all metrics."""
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - see above

        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> "Iterator[Metric]":
        """Yield the metric families; called by the registry."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - see above

        requests = CounterMetricFamily(
            "aupgate_requests", "Exchanges ended, by who answered and class of status", labels=["outcome", "status"]
        )
        for (outcome, status), count in self._by_class().items():
            requests.add_metric([outcome, status], count)
        findings = CounterMetricFamily(
            "aupgate_findings",
            "Findings, by rule, action and the mode they were judged in",
            labels=["policy", "rule", "action", "mode"],
        )
        for labels, count in self._findings.items():
            findings.add_metric(list(labels), count)
        faults = CounterMetricFamily("aupgate_faults", "Failures inside a policy or a service", labels=["policy"])
        for policy, count in self._faults.items():
            faults.add_metric([policy], count)
        transferred = CounterMetricFamily("aupgate_bytes", "Body bytes, by direction", labels=["direction"])
        transferred.add_metric(["in"], self._bytes_in)
        transferred.add_metric(["out"], self._bytes_out)
        yield from (requests, findings, faults, transferred, self._duration_family())
        yield GaugeMetricFamily("aupgate_requests_in_flight", "Exchanges under way", self._in_flight)
        yield CounterMetricFamily(
            "aupgate_uncertain_clients",
            "Requests whose client may be a proxy: client.trusted_proxies is not set, or a trusted proxy named none",
            self._uncertain,
        )
        yield GaugeMetricFamily(
            "aupgate_observing", "1 while the runtime switch holds every policy at observe", float(self._observing)
        )

        for part in self._parts:
            yield from map(_family, part())
        if self._upstreams is not None:
            yield from _upstream_families(self._upstreams())

    def _files(self) -> Iterator[Family]:
        """Tell of the files that were read again."""
        samples = [((file, "ok" if well else "failed"), count) for (file, well), count in self._reads.items()]
        documentation = "Files that changed and were read again, by how that went"
        yield Family("counter", "aupgate_file_reads", documentation, ("file", "outcome"), samples)

    def _by_class(self) -> Counter[tuple[str, str]]:
        """Return how many exchanges ended, by who answered and class of status."""
        classes: Counter[tuple[str, str]] = Counter()
        for (status, refused, aborted), count in self._ended.items():
            answered = "refused" if refused else "aborted" if aborted else "passed"
            classes[answered, f"{status // 100}xx" if status else "none"] += count
        return classes

    def _duration_family(self) -> "HistogramMetricFamily":
        from prometheus_client.metrics_core import HistogramMetricFamily  # noqa: PLC0415 - see above

        below, buckets = 0, []
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self._durations, strict=True):
            below += count
            buckets.append((bound, below))
        return HistogramMetricFamily("aupgate_request_duration_seconds", "Whole exchanges", buckets, self._seconds)


def _family(family: Family) -> "Metric":
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - see above

    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    made = make(family.name, family.documentation, labels=family.labels)
    for labels, amount in family.samples:
        made.add_metric(list(labels), amount)
    return made


def _upstream_families(states: Iterable[UpstreamState]) -> "Iterator[Metric]":
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - see above

    up = GaugeMetricFamily("aupgate_upstream_up", "0 while the upstream is ejected", labels=["upstream"])
    failures = CounterMetricFamily(
        "aupgate_upstream_failures",
        "Connections that could not be made, and requests without a usable response",
        labels=["upstream"],
    )
    connections = GaugeMetricFamily(
        "aupgate_upstream_connections", "Open connections, by what they do", labels=["upstream", "state"]
    )
    for state in states:
        up.add_metric([state.url], float(state.up))
        failures.add_metric([state.url], state.failures)
        connections.add_metric([state.url, "busy"], state.busy)
        connections.add_metric([state.url, "idle"], state.idle)
    yield from (up, failures, connections)
