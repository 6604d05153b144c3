"""The theorems of the engine, each a property of its name, and what they rest on."""

import asyncio
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.driver import judge, judge_body
from aupgate.enforcement import Enforcement, Switch
from aupgate.engine import Engine, Exchange
from aupgate.errors import ServiceError, StoreError
from aupgate.meters import Meter, MeterKind, Outcome, Post, PostKind, Quota, Reading, Settle
from aupgate.model import (
    Action,
    Clause,
    Client,
    Content,
    Finding,
    HeaderEdits,
    Message,
    Mode,
    OnError,
    ResponseHead,
    Verdict,
)
from aupgate.packs import ClauseIndex, Pack
from aupgate.store.memory import MemoryStore
from tests.gateway import scripted
from tests.gateway.scripted import Count, Judge, a_request, noting, refusing

NOW = 1_800_000_000.0
WITH_BODY = [(b"host", b"app.example"), (b"content-length", b"4")]
ENDED = Outcome(200, 0, 10, 0.1, aborted=False)


def an_engine(*enforcements: Enforcement, clauses: Sequence[Clause] = (), sinks: Sequence[Any] = ()) -> Engine:
    pack = Pack(id="test", name="Test", title="Test", effective=None, url="", extends=(), clauses=tuple(clauses))
    return Engine(enforcements, ClauseIndex([pack]), sinks)


def head(engine: Engine, store: Any = None, **parts: Any) -> tuple[Exchange, Verdict]:
    exchange = engine.open(a_request(**parts))
    return exchange, judge(exchange, exchange.head(), MemoryStore(1000) if store is None else store, NOW)


def outcome_of(verdict: Verdict) -> tuple[Any, ...]:
    """What an adapter does for a verdict, without what is only recorded."""
    refusal = verdict.refusal and (verdict.refusal.finding.rule, verdict.refusal.finding.status)
    edits = verdict.edits and (verdict.edits.remove, verdict.edits.add)
    return refusal, verdict.response_headers, edits, verdict.body_plan, verdict.replacement


# -- strategies --------------------------------------------------------------------------------------------------------

actions = st.sampled_from([Action.NOTE, Action.REFUSE, Action.CHALLENGE])
modes = st.sampled_from(list(Mode))


@st.composite
def judges(draw: st.DrawFn, name: str) -> Judge:
    findings = [
        Finding(
            f"{name}.{draw(st.sampled_from(['first', 'second']))}", action, 0 if action is Action.NOTE else 403, "found"
        )
        for action in draw(st.lists(actions, max_size=3))
    ]
    return Judge(name, *findings)


@st.composite
def enforced(draw: st.DrawFn, name: str, ceiling: Mode | None = None) -> Enforcement:
    rules = draw(st.dictionaries(st.sampled_from(["first", "second"]), modes, max_size=2))
    return Enforcement(draw(judges(name)), ceiling=ceiling or draw(modes), rules=rules)


several = st.integers(1, 4).flatmap(lambda count: st.tuples(*(enforced(f"p{index}") for index in range(count))))


# -- theorems ----------------------------------------------------------------------------------------------------------


@given(several)
def test_refuse_trumps_allow(enforcements: tuple[Enforcement, ...]) -> None:
    """One enforced refusal is enough, whatever the others say, and the first in order is the one that is named."""
    _, verdict = head(an_engine(*enforcements))
    expected = [
        finding.rule
        for enforcement in enforcements
        for finding in enforcement.policy.findings  # type: ignore[attr-defined]
        if finding.action is not Action.NOTE and enforcement.mode_of(finding.rule, a_request()) is Mode.ENFORCE
    ]
    assert verdict.allow is (not expected)
    assert verdict.refusal is None or verdict.refusal.finding.rule == expected[0]


@given(several, st.data())
def test_observe_never_changes_an_outcome(enforcements: tuple[Enforcement, ...], data: st.DataObject) -> None:
    """Adding an observed policy anywhere leaves the outcome as it was."""
    observed = data.draw(enforced("extra", Mode.OBSERVE))
    place = data.draw(st.integers(0, len(enforcements)))
    _, without = head(an_engine(*enforcements))
    _, with_it = head(an_engine(*enforcements[:place], observed, *enforcements[place:]))
    assert outcome_of(with_it) == outcome_of(without)


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from([Mode.OBSERVE, Mode.ENFORCE])), min_size=1, max_size=4))
def test_observe_never_changes_an_outcome_of_counting(limits: list[tuple[int, Mode]]) -> None:
    """Observed limits, used up or not, never change what enforced limits admit."""
    quotas = [(Quota(f"p{i}.first", f"p{i}", limit, 60.0), mode) for i, (limit, mode) in enumerate(limits)]
    all_of_them = an_engine(*(Enforcement(Count(q.name, q), ceiling=mode) for q, mode in quotas))
    enforced_only = an_engine(*(Enforcement(Count(q.name, q)) for q, mode in quotas if mode is Mode.ENFORCE))
    mixed, alone = MemoryStore(1000), MemoryStore(1000)
    for _ in range(5):
        assert head(all_of_them, mixed)[1].allow is head(enforced_only, alone)[1].allow


@given(several)
def test_exempt_is_exempt(enforcements: tuple[Enforcement, ...]) -> None:
    """An exempted policy finds, counts and refuses nothing."""
    everyone = [Enforcement(each.policy, exempt=[lambda _: True]) for each in enforcements]
    exchange, verdict = head(an_engine(*everyone))
    assert verdict == Verdict()
    assert exchange.judgements == ()


def test_an_exempted_request_is_not_counted() -> None:
    quota = Quota("limits.first", "first", 1, 60.0)
    engine = an_engine(Enforcement(Count("limits", quota), exempt=[lambda request: request.path == "/free"]))
    store = MemoryStore(1000)
    assert all(head(engine, store, path="/free")[1].allow for _ in range(5))
    assert head(engine, store)[1].allow
    assert not head(engine, store)[1].allow


@given(several, st.data())
def test_off_is_absent(enforcements: tuple[Enforcement, ...], data: st.DataObject) -> None:
    """A rule that is off leaves no trace: neither in the outcome nor in what is recorded."""
    name, rule = data.draw(
        st.tuples(st.sampled_from([each.name for each in enforcements]), st.sampled_from(["first", "second"]))
    )
    off = [
        Enforcement(each.policy, ceiling=each.mode(a_request()), rules={rule: Mode.OFF}) if each.name == name else each
        for each in enforcements
    ]
    exchange, _ = head(an_engine(*off))
    assert f"{name}.{rule}" not in {judgement.finding.rule for judgement in exchange.judgements}


FAULTY = {
    "request": scripted.Faulty,
    "sanitise": scripted.FaultySanitiser,
    "meters": scripted.FaultyMeter,
    "readings": scripted.FaultyReader,
    "wants_body": scripted.FaultyBody,
}


@pytest.mark.parametrize("phase", FAULTY)
@pytest.mark.parametrize("on_error", OnError)
@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.ENFORCE])
def test_a_faulty_policy_follows_on_error(phase: str, on_error: OnError, mode: Mode) -> None:
    """Whatever phase fails: refused with 503 if on_error says so and the policy is enforced; always recorded."""
    engine = an_engine(Enforcement(FAULTY[phase]("faulty"), ceiling=mode, on_error=on_error))
    exchange, verdict = head(engine, headers=WITH_BODY)
    assert verdict.allow is (on_error is OnError.ALLOW or mode is Mode.OBSERVE)
    assert verdict.refusal is None or verdict.refusal.finding.status == 503
    assert [judgement.finding.rule for judgement in exchange.judgements] == ["internal.error"]
    assert exchange.judgements[0].finding.evidence["policy"] == "faulty"


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_take_is_all_or_nothing(limits: list[int]) -> None:
    """A refused request uses up none of the limits that would have admitted it."""
    quotas = [Quota(f"p{i}.first", f"p{i}", limit, 60.0) for i, limit in enumerate(limits)]
    engine, store = an_engine(*(Enforcement(Count(quota.name, quota)) for quota in quotas)), MemoryStore(1000)
    admitted = sum(head(engine, store)[1].allow for _ in range(6))
    assert admitted == min(limits)
    for quota in quotas:
        rest = sum(head(an_engine(Enforcement(Count(quota.name, quota))), store)[1].allow for _ in range(6))
        assert rest == quota.limit - admitted


@pytest.mark.parametrize("verdict", ["allowed", "refused"])
def test_end_runs_exactly_once(verdict: str) -> None:
    watch = scripted.Watch("watch")
    judging = Judge("judge", *([refusing("judge.first")] if verdict == "refused" else []))
    exchange, _ = head(an_engine(Enforcement(watch), Enforcement(judging)))
    exchange.end(ENDED)
    assert exchange.end(ENDED) == []
    assert watch.outcomes == [ENDED]


# -- judging -----------------------------------------------------------------------------------------------------------


def test_the_engine_stops_at_the_first_enforced_refusal() -> None:
    first, second = Judge("first", refusing("first.first")), Judge("second", refusing("second.first"))
    _, verdict = head(an_engine(Enforcement(first), Enforcement(second)))
    assert verdict.refusal is not None
    assert verdict.refusal.finding.rule == "first.first"
    assert second.asked == 0


def test_an_observed_rule_does_not_hide_an_enforced_one_of_the_same_policy() -> None:
    policy = Judge("both", refusing("both.first"), refusing("both.second"))
    _, verdict = head(an_engine(Enforcement(policy, rules={"first": Mode.OBSERVE})))
    assert verdict.refusal is not None
    assert verdict.refusal.finding.rule == "both.second"


def test_a_rule_cannot_be_stronger_than_its_policy() -> None:
    _, verdict = head(
        an_engine(Enforcement(Judge("p", refusing("p.first")), ceiling=Mode.OBSERVE, rules={"first": Mode.ENFORCE}))
    )
    assert verdict.allow


def test_clauses_of_the_packs_are_attached_to_what_is_found() -> None:
    clauses = [
        Clause("test.whole", "Whole policy", "", ("judge",), "test"),
        Clause("test.rule", "This rule", "", ("judge.first",), "test"),
        Clause("test.other", "Another rule", "", ("judge.second",), "test"),
    ]
    _, verdict = head(an_engine(Enforcement(Judge("judge", refusing("judge.first"))), clauses=clauses))
    assert verdict.refusal is not None
    assert [clause.id for clause in verdict.refusal.clauses] == ["test.whole", "test.rule"]


@pytest.mark.parametrize("on_error", OnError)
@pytest.mark.parametrize("wrong", [refusing("judge.undeclared"), "no finding"], ids=["undeclared rule", "no finding"])
def test_a_finding_that_cannot_be_judged_is_a_fault_of_the_policy(wrong: Any, on_error: OnError) -> None:
    exchange, verdict = head(an_engine(Enforcement(Judge("judge", wrong), on_error=on_error)))
    assert verdict.allow is (on_error is OnError.ALLOW)
    assert [judgement.finding.rule for judgement in exchange.judgements] == ["internal.error"]


def test_a_sink_that_fails_decides_nothing() -> None:
    class Full:
        def record(self, request: Any, judgement: Any) -> None:
            raise OSError(28, "No space left on device")

    assert head(an_engine(Enforcement(Judge("judge", noting("judge.first"))), sinks=[Full()]))[1].allow


def test_every_judgement_is_recorded_with_its_mode() -> None:
    recorded: list[tuple[str, Mode]] = []

    class Sink:
        def record(self, request: Any, judgement: Any) -> None:
            recorded.append((judgement.finding.rule, judgement.mode))

    observed = Enforcement(Judge("a", refusing("a.first")), ceiling=Mode.OBSERVE)
    head(an_engine(observed, Enforcement(Judge("b", noting("b.second"))), sinks=[Sink()]))
    assert recorded == [("a.first", Mode.OBSERVE), ("b.second", Mode.ENFORCE)]


def test_the_runtime_switch_drops_enforcement_to_observing_and_back() -> None:
    switch = Switch()
    engine = an_engine(Enforcement(Judge("p", refusing("p.first")), switch=switch))
    assert not head(engine)[1].allow
    switch.observe = True
    assert head(engine)[1].allow
    switch.observe = False
    assert not head(engine)[1].allow


# -- header edits ------------------------------------------------------------------------------------------------------


def test_edits_of_several_policies_add_up_and_observed_ones_are_left_out() -> None:
    sanitisers = [
        Enforcement(scripted.Strip("a", b"x-a")),
        Enforcement(scripted.Strip("b", b"x-b")),
        Enforcement(scripted.Strip("c", b"x-c"), ceiling=Mode.OBSERVE),
    ]
    headers = [(b"host", b"h"), (b"x-a", b"1"), (b"x-b", b"2"), (b"x-c", b"3")]
    exchange, verdict = head(an_engine(*sanitisers), headers=headers)
    assert verdict.edits is not None
    assert verdict.edits.apply(headers) == [(b"host", b"h"), (b"x-c", b"3")]
    assert len(exchange.judgements) == 3


@pytest.mark.parametrize(("mode", "stripped"), [(Mode.ENFORCE, True), (Mode.OBSERVE, False), (Mode.OFF, False)])
def test_a_rules_own_mode_holds_for_what_it_strips(mode: Mode, stripped: bool) -> None:
    sanitiser = Enforcement(scripted.Strip("a", b"x-a"), rules={"first": mode})
    exchange, verdict = head(an_engine(sanitiser), headers=[(b"x-a", b"1")])
    assert (verdict.edits is not None) is stripped
    assert len(exchange.judgements) == (mode is not Mode.OFF)


# -- meters and settling -----------------------------------------------------------------------------------------------


def test_a_limited_response_says_how_much_is_left() -> None:
    engine = an_engine(Enforcement(Count("limits", Quota("limits.api", "api", 2, 60.0))))
    _, verdict = head(engine)
    assert [name for name, _ in verdict.response_headers] == [b"ratelimit-policy", b"ratelimit"]


@pytest.mark.parametrize(("status", "left"), [(200, 1), (401, 0)], ids=["success is refunded", "failure is kept"])
def test_a_charge_can_be_refunded_when_the_outcome_is_known(status: int, left: int) -> None:
    failures = Settle(refund_unless=lambda outcome: outcome.status == 401)
    engine, store = (
        an_engine(Enforcement(Count("p", Quota("p.first", "first", 1, 60.0, settle=failures)))),
        MemoryStore(1000),
    )
    exchange, _ = head(engine, store)
    store.post(exchange.end(Outcome(status, 0, 0, 0.1, aborted=False)), NOW)
    assert head(engine, store)[1].allow is bool(left)


def test_a_cost_that_is_only_known_at_the_end_is_charged_then() -> None:
    measured = Settle(measured=lambda outcome: outcome.bytes_out)
    engine, store = (
        an_engine(Enforcement(Count("p", Quota("p.first", "first", 100, 60.0, settle=measured)))),
        MemoryStore(1000),
    )
    exchange, _ = head(engine, store)
    store.post(exchange.end(Outcome(200, 0, 100, 0.1, aborted=False)), NOW)
    assert not head(engine, store)[1].allow


def test_a_lease_is_released_at_the_end() -> None:
    from aupgate.meters import MeterKind

    engine = an_engine(Enforcement(Count("p", Quota("p.first", "first", 1, 60.0, kind=MeterKind.LEASE))))
    store = MemoryStore(1000)
    exchange, verdict = head(engine, store, id="a")
    assert verdict.allow
    assert not head(engine, store, id="b")[1].allow
    posts = exchange.end(ENDED)
    assert [post.kind for post in posts if isinstance(post, Post)] == [PostKind.RELEASE]
    store.post(posts, NOW)
    assert head(engine, store, id="c")[1].allow


def test_a_refused_request_settles_nothing_but_what_tallies() -> None:
    """Of a group that is refused only the tallies were charged; so only they are refunded."""
    refunded = Settle(refund_unless=lambda outcome: outcome.status == 401)
    kinds = [("full", 0, True), ("open", 5, True), ("tally", 5, False)]
    quotas = [Quota(f"p.{name}", name, limit, 60.0, gate=gate, settle=refunded) for name, limit, gate in kinds]
    exchange, verdict = head(an_engine(Enforcement(Count("p", *quotas))))
    assert not verdict.allow
    assert [post.meter.quota.name for post in exchange.end(ENDED) if isinstance(post, Post)] == ["tally"]


def test_policies_look_at_their_readings_only_when_something_is_over() -> None:
    class Looking(Count):
        looked = 0

        def on_readings(self, request: Any, readings: Sequence[Reading]) -> Sequence[Finding]:
            self.looked += 1
            return super().on_readings(request, readings)

    policy, store = Looking("p", Quota("p.first", "first", 2, 60.0)), MemoryStore(1000)
    engine = an_engine(Enforcement(policy))
    assert [(head(engine, store)[1].allow, policy.looked) for _ in range(3)] == [(True, 0), (True, 0), (False, 1)]


@pytest.mark.parametrize("error", [ServiceError("away"), ZeroDivisionError("planted")], ids=repr)
@pytest.mark.parametrize("on_error", OnError)
def test_a_store_that_fails_is_a_fault_of_the_policies_that_count(on_error: OnError, error: Exception) -> None:
    class Broken:
        def take(self, groups: Any, now: float) -> Any:
            raise error

    engine = an_engine(Enforcement(Count("p", Quota("p.first", "first", 1, 60.0)), on_error=on_error))
    exchange, verdict = head(engine, Broken())
    assert verdict.allow is (on_error is OnError.ALLOW)
    assert [judgement.finding.rule for judgement in exchange.judgements] == ["internal.error"]


def test_a_store_that_is_away_has_followed_its_own_setting_and_refuses() -> None:
    class Away:
        def take(self, groups: Any, now: float) -> Any:
            raise StoreError("away")

    engine = an_engine(Enforcement(Count("p", Quota("p.first", "first", 1, 60.0)), on_error=OnError.ALLOW))
    assert not head(engine, Away())[1].allow


# -- bodies ------------------------------------------------------------------------------------------------------------


class Memory:
    """A body in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self.sha256 = ""

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.content)


def inspected(engine: Engine, content: bytes = b"body") -> Verdict:
    exchange, verdict = head(engine, headers=WITH_BODY)
    assert verdict.body_plan or verdict.observed_plan
    return asyncio.run(judge_body(exchange.body(Memory(content), None), MemoryStore(1000), NOW))  # type: ignore[arg-type]


def test_a_body_is_held_only_where_a_policy_that_wants_it_is_enforced() -> None:
    _, verdict = head(an_engine(Enforcement(scripted.Inspect("body"))), headers=WITH_BODY)
    assert verdict.body_plan is not None
    _, verdict = head(an_engine(Enforcement(scripted.Inspect("body"), ceiling=Mode.OBSERVE)), headers=WITH_BODY)
    assert (verdict.body_plan, verdict.observed_plan is None) == (None, False)


def test_nobody_is_asked_to_plan_for_a_body_that_a_request_cannot_have() -> None:
    exchange, verdict = head(an_engine(Enforcement(scripted.FaultyBody("faulty"), on_error=OnError.REFUSE)))
    assert verdict == Verdict()
    assert exchange.judgements == ()


def test_the_smallest_bound_holds_where_several_policies_want_the_body() -> None:
    engine = an_engine(Enforcement(scripted.Inspect("a")), Enforcement(scripted.Inspect("b", max_size=10)))
    exchange, verdict = head(engine, headers=WITH_BODY)
    assert verdict.body_plan is not None
    assert verdict.body_plan.max_size == 10
    refusal = exchange.oversize().refusal
    assert refusal is not None
    assert refusal.finding.rule == "b.too_large"


def test_a_refused_body_names_the_rule() -> None:
    verdict = inspected(an_engine(Enforcement(scripted.Inspect("body", [refusing("body.first", 422)]))))
    assert verdict.refusal is not None
    assert verdict.refusal.finding.status == 422


def test_every_policy_sees_the_body_from_its_start() -> None:
    policies = [scripted.Inspect("a"), scripted.Inspect("b")]
    assert inspected(an_engine(*map(Enforcement, policies))).allow
    assert [policy.seen for policy in policies] == [[b"body"], [b"body"]]


@pytest.mark.parametrize("on_error", OnError)
def test_a_failing_inspection_follows_on_error(on_error: OnError) -> None:
    policy = scripted.Inspect("body", error=ZeroDivisionError("planted"))
    assert inspected(an_engine(Enforcement(policy, on_error=on_error))).allow is (on_error is OnError.ALLOW)


def test_only_an_enforced_policy_replaces_the_body() -> None:
    assert inspected(an_engine(Enforcement(scripted.Inspect("body", replacement=b"clean")))).replacement == b"clean"
    observed = Enforcement(scripted.Inspect("body", replacement=b"clean"), ceiling=Mode.OBSERVE)
    assert inspected(an_engine(observed)).replacement is None


# -- messages and responses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "allow"), [("hello", True), ("bad word", False), (b"bad bytes", False)])
def test_a_websocket_message_is_judged(text: str | bytes, allow: bool) -> None:
    exchange, _ = head(an_engine(Enforcement(scripted.Listen("listen", "bad"))))
    assert judge(exchange, exchange.on_message(Message(text)), MemoryStore(1000), NOW).allow is allow


def test_a_response_is_edited_by_enforced_policies_only() -> None:
    edits = HeaderEdits(frozenset({b"server"}))
    watching = [Enforcement(scripted.Watch("a", edits)), Enforcement(scripted.Watch("b", edits), ceiling=Mode.OBSERVE)]
    exchange, _ = head(an_engine(*watching))
    assert exchange.response(ResponseHead(200, [])) == ([edits], [])


# -- several that count ------------------------------------------------------------------------------------------------


def a_quota(rule: str, limit: int, **parts: Any) -> Quota:
    return Quota(rule, rule.partition(".")[2], limit, 60.0, **parts)


@given(
    limits=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=2), min_size=2, max_size=3),
    requests=st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2"]), max_size=8),
)
def test_plans_of_several_policies_come_to_what_their_meters_do(limits: list[list[int]], requests: list[str]) -> None:
    def engine(kind: type) -> Engine:
        quotas = [[a_quota(f"p{n}.q{m}", limit) for m, limit in enumerate(policy)] for n, policy in enumerate(limits)]
        return an_engine(*(Enforcement(kind(f"p{n}", *each)) for n, each in enumerate(quotas)))

    def outcomes(engine: Engine, store: MemoryStore) -> list[Any]:
        verdicts = [head(engine, store, client=Client(each, each, each))[1] for each in requests]
        return [(verdict.refusal and verdict.refusal.rule.name, verdict.response_headers) for verdict in verdicts]

    class CountByClient(Count):
        def meters(self, request: Any) -> Sequence[Meter]:
            return [Meter(quota, request.client.network, value=request.id) for quota in self.quotas]

    assert outcomes(engine(scripted.PlannedCount), MemoryStore(1000)) == outcomes(
        engine(CountByClient), MemoryStore(1000)
    )


def test_leases_in_a_plan_of_several_end_with_the_exchange() -> None:
    lease = a_quota("first.open", 1, kind=MeterKind.LEASE)
    first, second = scripted.PlannedCount("first", lease), scripted.PlannedCount("second", a_quota("second.rate", 9))
    engine, store = an_engine(Enforcement(first), Enforcement(second)), MemoryStore(1000)
    exchange, verdict = head(engine, store, id="a")
    assert verdict.allow
    assert not head(engine, store, id="b")[1].allow
    store.post(exchange.end(ENDED), NOW)
    assert head(engine, store, id="c")[1].allow


# -- answers of the gateway --------------------------------------------------------------------------------------------

ANSWER = Finding("gate.first", Action.ANSWER, 200, "answered", content=Content(b"text/plain", b"here"))


def test_a_path_of_the_gateways_own_is_not_shown_to_those_who_judge_what_the_application_offers() -> None:
    guard = Judge("interfaces", refusing("interfaces.first"))
    engine = an_engine(Enforcement(guard), Enforcement(scripted.Answer("gate", "/robots.txt", ANSWER)))
    _, verdict = head(engine, path="/robots.txt")
    assert verdict.refusal is not None
    assert verdict.refusal.finding is ANSWER
    assert guard.asked == 0
    refusal = head(engine, path="/other")[1].refusal
    assert refusal is not None
    assert refusal.rule.name == "interfaces.first"


def test_headers_and_limits_hold_for_the_gateways_own_paths_too() -> None:
    answer = Enforcement(scripted.Answer("gate", "/robots.txt", ANSWER))
    strict = an_engine(Enforcement(Judge("headers", refusing("headers.first"))), answer)
    assert head(strict, path="/robots.txt")[1].refusal.rule.name == "headers.first"  # type: ignore[union-attr]
    limited, store = an_engine(answer, Enforcement(Count("limits", a_quota("limits.rate", 1)))), MemoryStore(1000)
    answered = [head(limited, store, path="/robots.txt")[1].refusal for _ in range(2)]
    assert [each and each.finding.status for each in answered] == [200, 429]


def test_an_answer_is_no_offence_and_leaves_no_record() -> None:
    recorded: list[Any] = []
    sink = type("Sink", (), {"record": lambda _, request, judgement: recorded.append(judgement)})()
    engine = an_engine(Enforcement(scripted.Answer("gate", "/robots.txt", ANSWER)), sinks=[sink])
    head(engine, path="/robots.txt")
    assert recorded == []


# -- challenges --------------------------------------------------------------------------------------------------------

CHALLENGE = Finding("robots.first", Action.CHALLENGE, 403, "are you a person?")


@pytest.mark.parametrize(
    ("meeting", "allow", "content"),
    [
        pytest.param(lambda _: noting("robots.first"), True, None, id="who passed before passes"),
        pytest.param(
            lambda finding: replace(finding, content=Content(b"text/html", b"solve")), False, b"solve", id="page"
        ),
        pytest.param(lambda _: refusing("robots.first"), False, None, id="nobody is there to solve it"),
        pytest.param(lambda _: 1 / 0, False, None, id="who cannot tell refuses"),
    ],
)
def test_a_challenge_is_what_the_policy_for_it_makes_of_it(meeting: Any, allow: bool, content: bytes | None) -> None:
    engine = an_engine(Enforcement(scripted.Challenger("doors", meeting)), Enforcement(Judge("robots", CHALLENGE)))
    _, verdict = head(engine)
    assert verdict.allow is allow
    shown = verdict.refusal and verdict.refusal.finding.content
    assert (shown and shown.body) == content


def test_an_observed_challenge_is_not_met() -> None:
    met: list[Finding] = []

    def meeting(finding: Finding) -> Finding:
        met.append(finding)
        return finding

    challenger = scripted.Challenger("doors", meeting)
    observed = Enforcement(Judge("robots", CHALLENGE), ceiling=Mode.OBSERVE)
    assert head(an_engine(Enforcement(challenger), observed))[1].allow
    assert met == []


def test_as_much_of_the_response_is_kept_as_the_policy_that_wants_most_wants() -> None:
    engine = an_engine(*(Enforcement(scripted.Peek(f"p{size}", size)) for size in (0, 200, 100_000)))
    assert head(engine)[1].peek == 16 * 1024
