"""Prometheus metrics. Children are looked up once for each label set and kept, so that a request costs an increment."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from aupgate.model import Judgement, Outcome, Request

_BUCKETS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)


class Metrics:
    """The gateway's metrics, in a registry of their own. Also a `FindingSink`: findings are counted."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "aupgate_requests",
            "Exchanges ended, by who answered and class of status",
            ["outcome", "status"],
            registry=self.registry,
        )
        self._findings = Counter(
            "aupgate_findings",
            "Findings, by rule, action and the mode they were judged in",
            ["policy", "rule", "action", "mode"],
            registry=self.registry,
        )
        self._faults = Counter(
            "aupgate_faults",
            "Failures inside a policy or a service it needs",
            ["policy"],
            registry=self.registry,
        )
        self._uncertain = Counter(
            "aupgate_uncertain_clients",
            "Requests whose client is not certain, because client.trusted_proxies is not set",
            registry=self.registry,
        )
        self._duration = Histogram(
            "aupgate_request_duration_seconds",
            "Whole exchanges",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._in_flight = Gauge("aupgate_requests_in_flight", "Exchanges under way", registry=self.registry)
        self._bytes = Counter(
            "aupgate_bytes",
            "Body bytes, by direction",
            ["direction"],
            registry=self.registry,
        )
        self._observing = Gauge(
            "aupgate_observing",
            "1 while the runtime switch holds every policy at observe",
            registry=self.registry,
        )
        self._in, self._out = self._bytes.labels("in"), self._bytes.labels("out")
        self._ended: dict[tuple[str, int], Counter] = {}
        self._found: dict[tuple[str, str, str], Counter] = {}

    def begin(self, request: Request) -> None:
        """Count an exchange that starts."""
        self._in_flight.inc()
        if not request.client.certain:
            self._uncertain.inc()

    def end(self, outcome: Outcome) -> None:
        """Count an exchange that ended."""
        self._in_flight.dec()
        key = (
            "refused" if outcome.refused else "aborted" if outcome.aborted else "passed",
            outcome.status // 100,
        )
        counter = self._ended.get(key)
        if counter is None:
            counter = self._ended[key] = self._requests.labels(key[0], f"{key[1]}xx" if key[1] else "none")
        counter.inc()
        self._duration.observe(outcome.duration)
        self._in.inc(outcome.bytes_in)
        self._out.inc(outcome.bytes_out)

    def record(self, request: Request, judgement: Judgement) -> None:  # noqa: ARG002 - the FindingSink protocol
        """Count a finding."""
        finding = judgement.finding
        if finding.rule == "internal.error":
            self._faults.labels(str(finding.evidence.get("policy", ""))).inc()
        key = (finding.rule, finding.action, judgement.mode)
        counter = self._found.get(key)
        if counter is None:
            counter = self._found[key] = self._findings.labels(finding.policy, *key)
        counter.inc()

    def observing(self, *, on: bool) -> None:
        """Show the state of the runtime switch."""
        self._observing.set(on)

    def render(self) -> bytes:
        """Return the text exposition of all metrics."""
        return generate_latest(self.registry)
