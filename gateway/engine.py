"""The engine: it runs the policies in order and judges what they find. It does no I/O.

`Exchange.head` and `.on_message` return a `Verdict`, or the `Take` that it hangs on. `.body` is a generator: it yields
what it needs (`Take`, `Inspect`), is sent the answer, and returns a `Verdict`. `aupgate.driver` runs them, with or
without an event loop. The rules that always hold,
each a property test of its name: refuse trumps allow; observe never changes an outcome; exempt is exempt; off is
absent; a faulty policy follows on_error; take is all or nothing; end runs exactly once.
"""

import logging
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aupgate.counting import (
    Asked,
    Counting,
    OnReadings,
    Readings,
    Take,
    merging,
    readings_at,
    settle,
    settling,
    settling_of_some,
)
from aupgate.enforcement import Enforcement
from aupgate.faults import FAULT, fault
from aupgate.http import rate_limit_fields
from aupgate.meters import Meter, Outcome, Planned, Post
from aupgate.model import (
    Action,
    BodyPlan,
    Clause,
    Finding,
    Header,
    HeaderEdits,
    Inspection,
    Judgement,
    Message,
    MessageEffects,
    Mode,
    Request,
    ResponseHead,
    Rule,
    Verdict,
)
from aupgate.policy import (
    MOST_PEEKED,
    Answerer,
    Answers,
    Body,
    FindingSink,
    InspectsBodies,
    JudgesMessages,
    JudgesRequests,
    Measures,
    Meets,
    Peeks,
    Sanitises,
    SeesEnds,
    SeesResponses,
    Services,
)
from aupgate.responses import ResponsePlans

_ENFORCE: Final = Mode.ENFORCE
_CHALLENGE: Final = Action.CHALLENGE

BEFORE_ANSWERS: Final = frozenset({"protocol", "headers", "networks", "suspension"})
"""Policies that judge also what the gateway itself answers; all others judge what the application is asked for."""

_log = logging.getLogger("aupgate.engine")


class Clauses(Protocol):
    """Finds the clauses that a rule enforces."""

    def for_rule(self, rule: str, extra: Sequence[str] = ()) -> tuple[Clause, ...]:
        """Return the clauses whose packs name `rule` or its policy, and those in `extra`, in the order of the packs."""


@dataclass(slots=True)
class Inspect:
    """The engine needs this inspection awaited; send back its result, or throw what it raised."""

    inspection: Coroutine[Any, Any, Inspection]


BodySteps = Generator[Take | Inspect, Any, Verdict]
Counted = tuple[Judgement | None, tuple[Header, ...]]


class Engine:
    """Policies compiled by phase. It is made once; `open` starts an exchange."""

    def __init__(
        self,
        enforcements: Sequence[Enforcement],
        clauses: Clauses,
        sinks: Sequence[FindingSink] = (),
    ) -> None:
        self.enforcements = tuple(enforcements)
        self.clauses = clauses
        self.sinks = tuple(sinks)
        each = [(enforcement, enforcement.policy, enforcement.exempts) for enforcement in self.enforcements]
        self.sanitise = tuple((e, p.sanitise, x) for e, p, x in each if isinstance(p, Sanitises))
        self.request = tuple((e, p.on_request, x) for e, p, x in each if isinstance(p, JudgesRequests))
        self.answers: dict[str, tuple[Enforcement, Answerer]] = {
            path: (e, answer) for e, p, _ in each if isinstance(p, Answers) for path, answer in p.answers().items()
        }
        """Paths that the gateway itself answers."""
        self.request_before_answers = tuple(each for each in self.request if each[0].name in BEFORE_ANSWERS)
        self.meet = next(((e, p.meet) for e, p, _ in each if isinstance(p, Meets)), None)
        """Who decides how a client that is to be challenged is met."""
        self.measure = tuple((e, p.meters, p.on_readings, x) for e, p, x in each if isinstance(p, Measures))
        self.body = tuple((e, p, x) for e, p, x in each if isinstance(p, InspectsBodies))
        self.message = tuple((e, p.on_message, x) for e, p, x in each if isinstance(p, JudgesMessages))
        self.response = tuple((e, p.on_response, x) for e, p, x in each if isinstance(p, SeesResponses))
        self.responses = ResponsePlans(self.enforcements)
        """What becomes of the fields of responses, by the policies that decide by their names alone."""
        self.peek = tuple((p.peek, x) for _, p, x in each if isinstance(p, Peeks))
        self.end = tuple((e, p.on_end, x) for e, p, x in each if isinstance(p, SeesEnds))
        self.alone: dict[Counting, tuple[Asked, ...]] = {(e, r): ((e, r, None),) for e, _, r, _ in self.measure}
        """For each policy that counts what is asked when it is the only one: nothing is to be arranged then."""
        self.merged = merging()
        """The plans of several policies as one, and what is asked then."""
        self.on_readings: dict[str, OnReadings] = {e.name: on_readings for e, _, on_readings, _ in self.measure}

    def open(self, request: Request) -> "Exchange":
        """Start judging `request`."""
        return Exchange(self, request)

    def impose(self, request: Request, finding: Finding) -> Judgement:
        """Judge a finding that no policy made and no mode can let pass, and record it."""
        rule = Rule(finding.rule, "Request that cannot be read")
        judgement = Judgement(finding, rule, Mode.ENFORCE, self.clauses.for_rule(rule.name))
        self.record(request, judgement)
        return judgement

    def record(self, request: Request, judgement: Judgement) -> None:
        """Have every sink take note. One that fails is logged, and decides nothing."""
        for sink in self.sinks:
            try:
                sink.record(request, judgement)
            except Exception:  # noqa: BLE001 - whatever a sink raises
                _log.exception("a finding could not be recorded by %s", type(sink).__name__)

    def only(self, enforcement: Enforcement) -> "Engine":
        """Return an engine with one of the policies alone, which records nothing: `explain` shows each step so."""
        return Engine([enforcement], self.clauses)


class Exchange:
    """One request on its way through the engine, and what must be settled when it ends."""

    __slots__ = ("_answer", "_edits", "_ended", "_engine", "_plans", "_unsettled", "judgements", "request")

    def __init__(self, engine: Engine, request: Request) -> None:
        self.request = request
        self.judgements: tuple[Judgement, ...] = ()
        """Everything found so far, enforced or observed."""
        self._engine = engine
        self._plans: tuple[tuple[Enforcement, InspectsBodies, BodyPlan], ...] = ()
        self._unsettled: Sequence[Meter | Planned] = ()
        self._answer: tuple[Enforcement, Answerer] | None = None
        self._edits: HeaderEdits | None = None
        self._ended = False

    def head(self) -> Take | Verdict:
        """Judge the head. Return the verdict, or what must be counted before there is one."""
        request = self.request
        refusal = self._sanitise()
        if refusal is not None:
            return Verdict(refusal, self.judgements)
        judging = self._engine.request
        if self._engine.answers and (answer := self._engine.answers.get(request.path)) and request.kind == "http":
            self._answer = answer
            judging = self._engine.request_before_answers
        for enforcement, on_request, exempts in judging:
            if exempts is not None and exempts(request):
                continue
            try:
                findings = on_request(request)
            except Exception as error:  # noqa: BLE001 - whatever a policy raises follows its on_error
                findings = (fault(enforcement, error),)
            if findings and (refusal := self._judge(enforcement, findings)) is not None:
                return Verdict(refusal, self.judgements)
        refusal, take = self._measure()
        return self._conclude(refusal) if take is None else take

    def counted(self, take: Take, answered: Readings) -> Verdict:
        """Return the verdict on a head or message, once `take` was `answered`."""
        refusal, fields = self._counted(take, answered)
        return self._conclude(refusal, fields)

    def uncounted(self, take: Take, error: Exception) -> Verdict:
        """Return the verdict on a head or message, once the store failed to `take`."""
        return self._conclude(self._refused_by_fault(take, error))

    def _conclude(self, refusal: Judgement | None, fields: tuple[Header, ...] = ()) -> Verdict:
        if refusal is None and self._answer is not None:
            refusal = self._answered(*self._answer)
        if refusal is not None:
            return Verdict(refusal, self.judgements, fields)
        peek = self._peek() if self._engine.peek else 0
        if not (self._engine.body and self.request.may_have_body):
            return Verdict(None, self.judgements, fields, self._edits, peek=peek)
        held, observed, refusal = self._plan_bodies()
        return Verdict(refusal, self.judgements, fields, self._edits, held, observed, peek=peek)

    def _answered(self, enforcement: Enforcement, answer: Answerer) -> Judgement | None:
        """Return the gateway's own answer, or None where the policy fails and lets its failures pass."""
        try:
            finding = answer(self.request)
            if finding.action is Action.ANSWER:  # no offence, so nothing to record
                return Judgement(finding, enforcement.rule(finding.rule), _ENFORCE)
        except Exception as error:  # noqa: BLE001 - whatever a policy raises follows its on_error
            finding = fault(enforcement, error)
        return self._judge(enforcement, [finding])

    def _peek(self) -> int:
        most = 0
        for peek, exempts in self._engine.peek:
            if exempts is None or not exempts(self.request):
                most = max(most, peek(self.request))
        return min(most, MOST_PEEKED)

    def body(self, body: Body, services: Services) -> BodySteps:
        """Judge the whole body. Needs an inspection for each policy that planned one, and at most one take."""
        refusal: Judgement | None = None
        replacement: bytes | None = None
        take = Take([[]])
        for enforcement, policy, _ in self._plans:
            try:
                inspection = yield Inspect(policy.inspect(self.request, body, services))
            except Exception as error:  # noqa: BLE001 - whatever a policy raises follows its on_error
                refusal = refusal or self._judge(enforcement, [fault(enforcement, error)])
                continue
            refusal = refusal or self._judge(enforcement, inspection.findings)
            if inspection.meters:
                take.ask(enforcement, inspection.meters, self._engine.on_readings[enforcement.name], self.request)
            if inspection.replacement is not None and enforcement.mode(self.request) is Mode.ENFORCE:
                replacement = inspection.replacement
        if refusal is None:
            refusal = yield from self._count(take)
        return Verdict(refusal, self.judgements, replacement=replacement)

    def oversize(self) -> Verdict:
        """Judge a body that grew beyond the smallest of the plans."""
        enforcement, _, plan = min(self._plans, key=_max_size)
        return Verdict(self._judge(enforcement, [plan.oversize]), self.judgements)

    def fault(self, error: Exception) -> Verdict:
        """Judge a failure to hold the body for the policies that planned to inspect it."""
        refusals = [self._judge(enforcement, [fault(enforcement, error)]) for enforcement, _, _ in self._plans]
        return Verdict(next((refusal for refusal in refusals if refusal is not None), None), self.judgements)

    def on_message(self, message: Message) -> Take | Verdict:
        """Judge one websocket message. Return the verdict, or what must be counted before there is one."""
        take = Take([[]])
        for enforcement, on_message, exempts in self._engine.message:
            if exempts is not None and exempts(self.request):
                continue
            try:
                effects = on_message(self.request, message)
            except Exception as error:  # noqa: BLE001 - whatever a policy raises follows its on_error
                effects = MessageEffects([fault(enforcement, error)])
            if effects is None:
                continue
            if (refusal := self._judge(enforcement, effects.findings)) is not None:
                return Verdict(refusal, self.judgements)
            if effects.meters:
                take.ask(enforcement, effects.meters, self._engine.on_readings[enforcement.name], self.request)
        return take if take.asked else Verdict(None, self.judgements)

    # -- phases after forwarding ---------------------------------------------------------------------------------------

    def response(self, head: ResponseHead) -> tuple[list[HeaderEdits], list[Post]]:
        """Show the response's head to the policies; return the edits and posts they make of it."""
        edits: list[HeaderEdits] = []
        posts: list[Post] = []
        for enforcement, on_response, exempts in self._engine.response:
            if exempts is not None and exempts(self.request):
                continue
            try:
                effects = on_response(self.request, head)
            except Exception as error:  # noqa: BLE001 - a fault here is recorded; a response is never refused
                self._judge(enforcement, [fault(enforcement, error, action=Action.NOTE)])
                continue
            if effects is None:
                continue
            self._judge(enforcement, effects.findings)
            posts += effects.posts
            if effects.edits is not None and enforcement.mode(self.request) is Mode.ENFORCE:
                edits.append(effects.edits)
        return edits, posts

    def end(self, outcome: Outcome) -> list[Post | Planned]:
        """Settle: return the posts to make. Runs once; a second call returns nothing."""
        posts: list[Post | Planned] = []
        if self._ended:
            return posts
        self._ended = True
        for meter in self._unsettled:
            posts += settle(meter, outcome)
        for enforcement, on_end, exempts in self._engine.end:
            if exempts is not None and exempts(self.request):
                continue
            try:
                posts += on_end(self.request, outcome)
            except Exception as error:  # noqa: BLE001 - a fault here is recorded; the exchange is over
                self._judge(enforcement, [fault(enforcement, error, action=Action.NOTE)])
        return posts

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _sanitise(self) -> Judgement | None:
        for enforcement, sanitise, exempts in self._engine.sanitise:
            if exempts is not None and exempts(self.request):
                continue
            try:
                wanted = sanitise(self.request)
            except Exception as error:  # noqa: BLE001 - whatever a policy raises follows its on_error
                wanted = (HeaderEdits(findings=(fault(enforcement, error),)),)
            for edits in wanted:
                if edits.findings and (refusal := self._judge(enforcement, edits.findings)) is not None:
                    return refusal
                mode = enforcement.mode_of(edits.rule, self.request) if edits.rule else enforcement.mode(self.request)
                if mode is Mode.ENFORCE:
                    made = self._edits
                    self._edits = (
                        edits if made is None else HeaderEdits(made.remove | edits.remove, made.add + edits.add)
                    )
        return None

    def _measure(self) -> tuple[Judgement | None, Take | None]:
        """Ask every policy what to count."""
        engine, request = self._engine, self.request
        planned: list[tuple[Counting, Planned]] = []
        others: list[tuple[Enforcement, Sequence[Meter], OnReadings]] = []
        for enforcement, meters, on_readings, exempts in engine.measure:
            if exempts is not None and exempts(request):
                continue
            try:
                wanted = meters(request)
            except Exception as error:  # noqa: BLE001 - whatever a policy raises follows its on_error
                if (refusal := self._judge(enforcement, [fault(enforcement, error)])) is not None:
                    return refusal, None
                continue
            if not wanted:
                continue
            if type(wanted) is Planned and enforcement.uniform and enforcement.mode(request) is _ENFORCE:
                planned.append(((enforcement, on_readings), wanted))
            else:
                others.append((enforcement, wanted, on_readings))
        if not (planned or others):
            return None, None
        take = self._take(planned)
        for enforcement, wanted, look in others:
            take.ask(enforcement, wanted, look, request)
        return None, take

    def _take(self, planned: Sequence[tuple[Counting, Planned]]) -> Take:
        """Return what takes the planned meters of policies that are enforced as a whole, as one group."""
        if len(planned) == 1:
            ((counting, meters),) = planned
            return Take([meters], self._engine.alone[counting])
        if not planned:
            return Take([[]])
        plan, asked = self._engine.merged[tuple([(counting, meters.plan) for counting, meters in planned])]
        words: list[str] = []
        for _, meters in planned:
            words += meters.words
        return Take([Planned(plan, words)], asked)

    def _count(self, take: Take) -> Generator[Take, Readings, Judgement | None]:
        if not take.asked:
            return None
        try:
            answered = yield take
        except Exception as error:  # noqa: BLE001 - whatever a store raises follows the on_error of who counts
            return self._refused_by_fault(take, error)
        return self._counted(take, answered)[0]

    def _counted(self, take: Take, answered: Readings) -> Counted:
        """Judge what was counted, and tell what is left. Nothing refused or overdrawn is nothing to judge."""
        fields = rate_limit_fields(answered[0])
        charged = settling(answered)
        if charged is not None:
            self._unsettled = [*self._unsettled, *charged] if self._unsettled else charged
            return None, fields
        self._unsettled = [*self._unsettled, *settling_of_some(answered)]
        refusal: Judgement | None = None
        for enforcement, on_readings, places in take.asked:
            try:
                findings = on_readings(self.request, readings_at(places, answered))
            except Exception as error:  # noqa: BLE001 - whatever a policy raises follows its on_error
                findings = (fault(enforcement, error),)
            if findings:
                refusal = refusal or self._judge(enforcement, findings)
        return refusal, fields

    def _refused_by_fault(self, take: Take, error: Exception) -> Judgement | None:
        refusals = [self._judge(enforcement, [fault(enforcement, error)]) for enforcement, _, _ in take.asked]
        return next((refusal for refusal in refusals if refusal is not None), None)

    def _plan_bodies(self) -> tuple[BodyPlan | None, BodyPlan | None, Judgement | None]:
        """Ask every policy whether it wants the body; return the plan to hold it by and the plan to observe it by."""
        refusal: Judgement | None = None
        for enforcement, policy, exempts in self._engine.body:
            if exempts is not None and exempts(self.request):
                continue
            try:
                plan = policy.wants_body(self.request)
            except Exception as error:  # noqa: BLE001 - whatever a policy raises follows its on_error
                refusal = refusal or self._judge(enforcement, [fault(enforcement, error)])
                continue
            if plan is not None:
                self._plans += ((enforcement, policy, plan),)
        if not self._plans:
            return None, None, refusal
        return self._smallest_plan(Mode.ENFORCE), self._smallest_plan(Mode.OBSERVE), refusal

    def _smallest_plan(self, mode: Mode) -> BodyPlan | None:
        plans = [plan for enforcement, _, plan in self._plans if enforcement.mode(self.request) is mode]
        return min(plans, key=_plan_size, default=None)

    def _judge(self, enforcement: Enforcement, findings: Sequence[Finding]) -> Judgement | None:
        """Record each finding in the mode that holds for it; return the first that ends the request."""
        try:
            judged = [self._judgement(enforcement, finding) for finding in findings]
        except Exception as error:  # noqa: BLE001 - a finding that cannot be judged is a fault of the policy
            judged = [self._judgement(enforcement, fault(enforcement, error))]
        refusal: Judgement | None = None
        for judgement in judged:
            if judgement is None:
                continue
            self.judgements += (judgement,)
            self._engine.record(self.request, judgement)
            if refusal is None and judgement.enforced:
                refusal = judgement
        return refusal

    def _judgement(self, enforcement: Enforcement, finding: Finding) -> Judgement | None:
        if finding.rule == FAULT.name:
            return Judgement(finding, FAULT, enforcement.mode(self.request))
        mode = enforcement.mode_of(finding.rule, self.request)
        if mode is Mode.OFF:
            return None
        rule = enforcement.rule(finding.rule)
        if finding.action is _CHALLENGE and mode is _ENFORCE and (meeting := self._engine.meet) is not None:
            finding = self._met(*meeting, finding)
        return Judgement(finding, rule, mode, self._engine.clauses.for_rule(rule.name, rule.clauses))

    def _met(self, enforcement: Enforcement, meet: Callable[[Request, Finding], Finding], finding: Finding) -> Finding:
        """Return what a challenge comes to. Where that cannot be told it stays one, which is refused."""
        try:
            return meet(self.request, finding)
        except Exception as error:  # noqa: BLE001 - whatever a policy raises
            self._judge(enforcement, [fault(enforcement, error, action=Action.NOTE)])
            return finding


def _plan_size(plan: BodyPlan) -> int:
    return plan.max_size


def _max_size(planned: tuple[Enforcement, InspectsBodies, BodyPlan]) -> int:
    return planned[2].max_size
