"""Policies that do as told, for tests of what the engine makes of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aupgate.engine import Exchange
from aupgate.fields import Fields
from aupgate.gateway import Gateway
from aupgate.meters import Meter, Outcome, Plan, Planned, Post, Quota, Reading
from aupgate.model import (
    Action,
    BodyPlan,
    Client,
    Finding,
    HeaderEdits,
    Inspection,
    Message,
    MessageEffects,
    Request,
    ResponseEffects,
    ResponseHead,
    Rule,
    Verdict,
)
from aupgate.policy import Answerer


def opened(gateway: Gateway, request: Request) -> tuple[Exchange, Verdict]:
    """Open an exchange in a gateway that counts by itself; return it with the verdict on its head."""
    exchange, verdict = gateway.open(request)
    assert isinstance(verdict, Verdict)
    return exchange, verdict


def a_request(**given: Any) -> Request:
    """Return a request from a person with a browser, with the parts in `given`."""
    parts: dict[str, Any] = {
        "id": "6f9c3c9e-1111-4222-8333-444455556666",
        "method": "GET",
        "target": b"/",
        "path": "/",
        "query": b"",
        "headers": [(b"host", b"app.example")],
        "scheme": "https",
        "http_version": "1.1",
        "client": Client("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        "now": 1_800_000_000.0,
    }
    parts |= given
    parts["fields"] = Fields(parts.pop("headers"))
    return Request(**parts)


def refusing(rule: str, status: int = 403) -> Finding:
    return Finding(rule, Action.REFUSE, status, f"refused by {rule}")


def noting(rule: str) -> Finding:
    return Finding(rule, Action.NOTE, 0, f"noted by {rule}")


class _Named:
    def __init__(self, name: str, *rules: str) -> None:
        self.name = name
        self.rules = [Rule(f"{name}.{rule}", rule.capitalize()) for rule in (rules or ("first", "second"))]


class Judge(_Named):
    """Finds the same in every request."""

    def __init__(self, name: str, *findings: Finding, rules: Sequence[str] = ()) -> None:
        super().__init__(name, *rules)
        self.findings = findings
        self.asked = 0

    def on_request(self, request: Request) -> Sequence[Finding]:
        self.asked += 1
        return self.findings


class Faulty(_Named):
    """Fails in every phase."""

    def on_request(self, request: Request) -> Sequence[Finding]:
        raise ZeroDivisionError("planted")


class FaultySanitiser(_Named):
    def sanitise(self, request: Request) -> Sequence[HeaderEdits]:
        raise ZeroDivisionError("planted")


class FaultyMeter(_Named):
    def meters(self, request: Request) -> Sequence[Meter]:
        raise ZeroDivisionError("planted")

    def on_readings(self, request: Request, readings: Sequence[Reading]) -> Sequence[Finding]:
        return ()


class FaultyReader(_Named):
    def meters(self, request: Request) -> Sequence[Meter]:
        return [Meter(Quota(self.rules[0].name, "first", 0, 60.0), "faulty")]  # nothing is looked at but what is over

    def on_readings(self, request: Request, readings: Sequence[Reading]) -> Sequence[Finding]:
        raise ZeroDivisionError("planted")


class FaultyBody(_Named):
    def wants_body(self, request: Request) -> BodyPlan | None:
        raise ZeroDivisionError("planted")

    async def inspect(self, request: Request, body: Any, services: Any) -> Inspection:
        raise ZeroDivisionError("planted")


class Strip(_Named):
    """Removes one header field."""

    def __init__(self, name: str, field_name: bytes) -> None:
        super().__init__(name)
        self.field_name = field_name

    def sanitise(self, request: Request) -> Sequence[HeaderEdits]:
        if request.header(self.field_name) is None:
            return ()
        rule = self.rules[0].name
        return [HeaderEdits(frozenset({self.field_name}), (), (noting(rule),), rule)]


class Count(_Named):
    """Counts every request under each of its quotas and refuses with 429 what was not admitted."""

    def __init__(self, name: str, *quotas: Quota) -> None:
        super().__init__(name, *(quota.rule.partition(".")[2] for quota in quotas))
        self.quotas = quotas

    def meters(self, request: Request) -> Sequence[Meter]:
        return [Meter(quota, f"{quota.name}:{request.client.network}", value=request.id) for quota in self.quotas]

    def on_readings(self, request: Request, readings: Sequence[Reading]) -> Sequence[Finding]:
        return [refusing(reading.meter.quota.rule, 429) for reading in readings if not reading.admitted]


@dataclass
class Inspect:
    """Inspects bodies and finds what it was told."""

    name: str
    findings: Sequence[Finding] = ()
    max_size: int = 1000
    error: Exception | None = None
    replacement: bytes | None = None
    seen: list[bytes] = field(default_factory=list)

    @property
    def rules(self) -> Sequence[Rule]:
        return [Rule(f"{self.name}.first", "First"), Rule(f"{self.name}.too_large", "Too large")]

    def wants_body(self, request: Request) -> BodyPlan | None:
        return BodyPlan(self.max_size, refusing(f"{self.name}.too_large", 413))

    async def inspect(self, request: Request, body: Any, services: Any) -> Inspection:
        if self.error is not None:
            raise self.error
        with body.open() as reader:
            self.seen.append(reader.read())
        return Inspection(self.findings, replacement=self.replacement)


class Listen(_Named):
    """Refuses websocket messages that hold a word."""

    def __init__(self, name: str, word: str) -> None:
        super().__init__(name)
        self.word = word

    def on_message(self, request: Request, message: Message) -> MessageEffects | None:
        data = message.data if isinstance(message.data, str) else message.data.decode("latin-1")
        return MessageEffects([refusing(self.rules[0].name)]) if self.word in data else None


class Watch(_Named):
    """Sees responses and ends."""

    def __init__(self, name: str, edits: HeaderEdits | None = None) -> None:
        super().__init__(name)
        self.edits = edits
        self.heads: list[ResponseHead] = []
        self.outcomes: list[Outcome] = []

    def on_response(self, request: Request, head: ResponseHead) -> ResponseEffects | None:
        self.heads.append(head)
        return ResponseEffects(edits=self.edits)

    def on_end(self, request: Request, outcome: Outcome) -> Sequence[Post]:
        self.outcomes.append(outcome)
        return ()


class PlannedCount(_Named):
    """Counts every request by one plan, each quota by the client, and refuses with 429 what was not admitted."""

    def __init__(self, name: str, *quotas: Quota) -> None:
        super().__init__(name, *(quota.rule.partition(".")[2] for quota in quotas))
        self.plan = Plan(quotas, (0,) * len(quotas), (1,) * len(quotas), (1,) * len(quotas))

    def meters(self, request: Request) -> Sequence[Meter]:
        return Planned(self.plan, [request.client.network, request.id])

    def on_readings(self, request: Request, readings: Sequence[Reading]) -> Sequence[Finding]:
        return [refusing(reading.meter.quota.rule, 429) for reading in readings if not reading.admitted]


class Answer(_Named):
    """Answers one path itself, with what `finding` says."""

    def __init__(self, name: str, path: str, finding: Finding) -> None:
        super().__init__(name)
        self.path = path
        self.finding = finding

    def answers(self) -> Mapping[str, Answerer]:
        return {self.path: lambda request: self.finding}


class Challenger(_Named):
    """Meets whoever is to be challenged as it is told."""

    def __init__(self, name: str, meeting: Callable[[Finding], Finding]) -> None:
        super().__init__(name)
        self.meeting = meeting

    def meet(self, request: Request, finding: Finding) -> Finding:
        return self.meeting(finding)


class Peek(_Named):
    """Wants to see what bodies of responses begin with."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name)
        self.size = size

    def peek(self, request: Request) -> int:
        return self.size
