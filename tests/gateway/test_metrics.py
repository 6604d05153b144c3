"""What Prometheus gets to see."""

from aupgate.meters import Outcome
from aupgate.metrics import Metrics, UpstreamState
from aupgate.model import Action, Client, Finding, Judgement, Mode, Rule
from tests.gateway.scripted import a_request

FINDING = Finding("scrapers.scraper", Action.REFUSE, 403, "no")


def test_requests_are_counted_by_who_answered_and_class_of_status() -> None:
    metrics = Metrics()
    for outcome in (
        Outcome(200, 1, 10, 0.1, aborted=False),
        Outcome(403, 0, 5, 0.1, aborted=False, refused=True),
        Outcome(0, 0, 0, 0.1, aborted=True),
    ):
        metrics.begin(a_request())
        metrics.end(outcome)
    text = metrics.render().decode()
    assert 'aupgate_requests_total{outcome="passed",status="2xx"} 1.0' in text
    assert 'aupgate_requests_total{outcome="refused",status="4xx"} 1.0' in text
    assert 'aupgate_requests_total{outcome="aborted",status="none"} 1.0' in text
    assert 'aupgate_bytes_total{direction="out"} 15.0' in text
    assert "aupgate_requests_in_flight 0.0" in text


def test_findings_are_counted_by_rule_and_mode() -> None:
    metrics = Metrics()
    for mode in (Mode.ENFORCE, Mode.OBSERVE, Mode.OBSERVE):
        metrics.record(a_request(), Judgement(FINDING, Rule(FINDING.rule, "Robots"), mode))
    text = metrics.render().decode()
    labels = 'action="refuse",mode="%s",policy="scrapers",rule="scrapers.scraper"'
    assert f"aupgate_findings_total{{{labels % 'enforce'}}} 1.0" in text
    assert f"aupgate_findings_total{{{labels % 'observe'}}} 2.0" in text


def test_a_fault_is_counted_by_the_policy_that_failed() -> None:
    metrics = Metrics()
    fault = Finding("internal.error", Action.NOTE, 0, "failed", evidence={"policy": "uploads"})
    metrics.record(a_request(), Judgement(fault, Rule(fault.rule, "Fault"), Mode.ENFORCE))
    assert 'aupgate_faults_total{policy="uploads"} 1.0' in metrics.render().decode()


def test_uncertain_clients_are_counted() -> None:
    metrics = Metrics()
    metrics.begin(a_request(client=Client("10.0.0.1", "10.0.0.1", "10.0.0.1", certain=False)))
    assert "aupgate_uncertain_clients_total 1.0" in metrics.render().decode()


def test_upstreams_are_shown_as_they_are_when_asked() -> None:
    metrics = Metrics()
    assert "aupgate_upstream" not in metrics.render().decode()
    states = [UpstreamState("http://a:8000", up=True, failures=0, busy=2, idle=3)]
    metrics.watch_upstreams(lambda: states)
    states.append(UpstreamState("unix:/run/b.sock", up=False, failures=7, busy=0, idle=0))
    text = metrics.render().decode()
    assert 'aupgate_upstream_up{upstream="http://a:8000"} 1.0' in text
    assert 'aupgate_upstream_up{upstream="unix:/run/b.sock"} 0.0' in text
    assert 'aupgate_upstream_failures_total{upstream="unix:/run/b.sock"} 7.0' in text
    assert 'aupgate_upstream_connections{state="busy",upstream="http://a:8000"} 2.0' in text
    assert 'aupgate_upstream_connections{state="idle",upstream="http://a:8000"} 3.0' in text


def test_two_gateways_in_one_process_do_not_share_their_metrics() -> None:
    one, other = Metrics(), Metrics()
    one.begin(a_request())
    assert "aupgate_requests_in_flight 0.0" in other.render().decode()
