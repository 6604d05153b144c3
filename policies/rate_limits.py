"""`rate_limits`: how much may be asked in how much time, and how much at one time.

A limit counts requests by a key, in one or several windows at once; all limits of a request are taken together or not
at all, so what one refuses burns nothing of another. docs/limits.md tells how to choose them.
"""

from collections.abc import Hashable, Sequence
from functools import partial
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from aupgate.config import Duration, Method, Notation, OneOrMore, PathTemplate, PolicySettings, Rate, expectation
from aupgate.config import Settings as Table
from aupgate.durations import amount_of_time, period
from aupgate.http import is_cors_preflight
from aupgate.memory import MOST, Memory
from aupgate.meter_keys import PARTS, KeyReader, goes_by_client, key_reader
from aupgate.meters import NO_VALUE, Meter, MeterKind, OnFailure, Plan, Planned, Quota, Reading, Window
from aupgate.model import Action, Finding, Request, Rule
from aupgate.pages import is_asset
from aupgate.routes import LONGEST_PATH, RouteTable


def _key_part(text: str) -> str:
    if text.startswith("claim:"):
        raise expectation(f"claims come with JWT accounts, which this version lacks: expected {_KEYS_EXPECTED}")
    return text.lower()


_CLIENT: Final = ("client",)
_KEYS_EXPECTED: Final = f"{', '.join(PARTS)} or header:NAME"
_KeyPart = Annotated[
    str,
    Notation(
        rf"^({'|'.join(PARTS)}|(header|claim):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
        f"expected {_KEYS_EXPECTED}",
        ("client", "account", "header:x-tenant"),
        parse=_key_part,
    ),
]
_LimitName = Annotated[
    str,
    Notation(r"^[a-z][a-z0-9_]{0,63}$", 'expected a name of small letters, digits and _, such as "api"', ("api",)),
]


class Match(Table):
    """Which requests a limit counts. Everything that is named must hold."""

    path: PathTemplate | None = None
    """Their path; unset: any."""
    methods: tuple[Method, ...] = ()
    """Their methods; GET includes HEAD. Empty: any."""
    pages: bool = False
    """Count no files that pages bring along: style sheets, scripts, images, fonts, told by the end of the path."""


class Limit(Table):
    """One limit. Its rule is `rate_limits.NAME`."""

    name: _LimitName
    """Its name, which clients see in `RateLimit-Policy`."""
    rate: Rate
    """How much in how much time, such as "240/minute;60/second": every one of them holds."""
    key: Annotated[tuple[_KeyPart, ...], Field(min_length=1), OneOrMore()] = ("client",)
    """What shares a counter. Several parts: what is alike in all of them."""
    match: Match = Match()
    """Which requests it counts."""
    window: Window = Window.SLIDING
    """How it forgets: "sliding" evenly, "fixed" all at once, "gcra" as one every so often after a burst."""
    cost: Annotated[int, Field(ge=1)] = 1
    """How much one request counts."""
    clauses: tuple[str, ...] = ()
    """Clauses to cite, besides those whose packs name the rule."""
    on_failure: OnFailure | None = None
    """What becomes of it while the store is away; unset: as `store.on_failure` says."""

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        rates = _rates(self.rate)
        if self.cost > min(amount for amount, _ in rates):
            raise expectation(f'expected a cost of at most what "{self.rate}" has', at="cost")
        if len({window for _, window in rates}) < len(rates):
            raise expectation("expected every period only once", at="rate")
        return self


class Concurrency(Table):
    """How much one client may have open at one time."""

    per_client: Annotated[int, Field(ge=1)] = 100
    """Requests, from the first byte to the end of the response."""
    streams_per_client: Annotated[int, Field(ge=1)] = 50
    """Websockets."""
    lease: Duration = 3600.0
    """How long a request or websocket counts at most, should its end go unnoticed."""


def human_pace() -> Limit:
    """Return the limit that holds without configuration.

    It is more than a person with a browser asks for, even through an application that fetches a page in a dozen pieces.
    Source: cimcon.disruption.robots.
    """
    match = Match(methods=("GET",), pages=True)
    return Limit(name="human_pace", rate="60/second;600/minute;7200/hour", key=("account",), match=match)


class Settings(PolicySettings):
    """How much may be asked."""

    limits: tuple[Limit, ...] = Field(default_factory=lambda: (human_pace(),), max_length=2000)
    """The limits; a list of your own replaces the one of human pace."""
    concurrency: Concurrency = Concurrency()
    """How much one client may have open at one time; its rule is `rate_limits.concurrency`."""

    @model_validator(mode="after")
    def _have_names_of_their_own(self) -> Self:
        names = [*(limit.name for limit in self.limits), "concurrency"]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise expectation(f'expected every limit to have a name of its own: "{twice}" is taken', at="limits")
        return self


class _Counted:
    """A limit, compiled: the quotas to take, and their twins that tally where nobody may be refused."""

    __slots__ = ("cost", "methods", "pages", "parts", "quotas", "read", "tallies", "uncertain")

    def __init__(self, limit: Limit) -> None:
        self.parts = limit.key
        self.read: KeyReader = key_reader(limit.key)
        self.uncertain = goes_by_client(limit.key)
        self.cost = limit.cost
        self.methods = frozenset(limit.match.methods) | ({"HEAD"} if "GET" in limit.match.methods else set())
        self.pages = limit.match.pages
        self.quotas = _quotas(limit, gate=True)
        self.tallies = _quotas(limit, gate=False)

    def matches(self, method: str, path: str) -> bool:
        """Tell whether it counts such requests, besides what its path says."""
        return (not self.methods or method in self.methods) and not (self.pages and is_asset(path))


class _Matching:
    """The limits that count requests of one kind, and the plan to count them by together with a lease."""

    __slots__ = ("limits", "plan", "readers")

    def __init__(self, limits: Sequence[_Counted], lease: Quota) -> None:
        self.limits = limits
        # Each key is read once, and that of the lease, the client's, need not be read.
        keys = list(dict.fromkeys([_CLIENT, *(limit.parts for limit in limits)]))
        holder = len(keys)
        read = {limit.parts: limit.read for limit in limits}
        self.readers: tuple[KeyReader, ...] = tuple(read[parts] for parts in keys[1:])
        counts = [(lease, 0, 1), *((q, keys.index(each.parts), each.cost) for each in limits for q in each.quotas)]
        quotas, places, costs = zip(*counts, strict=True)
        self.plan = Plan(quotas, places, costs, (holder, *(NO_VALUE for _ in counts[1:])))


class RateLimits:
    """Refuses what is asked too often, or too much at one time."""

    name = "rate_limits"

    def __init__(self, settings: Settings) -> None:
        self.rules = (
            *(Rule(f"rate_limits.{each.name}", "Too many requests", clauses=each.clauses) for each in settings.limits),
            Rule("rate_limits.concurrency", "Too many requests at one time"),
        )
        self._limits = {f"rate_limits.{limit.name}": limit for limit in settings.limits}
        counted = [(limit.match.path, _Counted(limit)) for limit in settings.limits]
        self._everywhere = tuple(each for path, each in counted if path is None)
        # In small letters, because some applications route without regard to case.
        self._somewhere = RouteTable([(path.lower(), each) for path, each in counted if path is not None])
        self._requests = _leases(settings.concurrency.per_client, "concurrency", settings.concurrency.lease)
        self._streams = _leases(settings.concurrency.streams_per_client, "streams", settings.concurrency.lease)
        # Which limits hold hangs on method and path alone, and many paths have the same.
        self._alike: Memory[tuple[_Counted, ...], _Matching] = Memory(
            lambda limits: _Matching(limits, self._requests[True]), longest=len(counted)
        )
        named = {method for _, each in counted for method in each.methods}
        most = max(1, MOST // (len(named) + 1))
        self._by_method = {name: Memory(partial(self._match, name), longest=LONGEST_PATH, most=most) for name in named}
        self._by_path = Memory(partial(self._match, ""), longest=LONGEST_PATH, most=most)

    def meters(self, request: Request) -> Sequence[Meter]:
        """Count the request by every limit that it matches, a CORS preflight by none: no page sends it on its own."""
        method, client = request.method, request.client
        if method == "OPTIONS" and is_cors_preflight(request):
            return ()
        matching = self._by_method.get(method, self._by_path)[request.path]
        if not client.certain or request.kind == "websocket":
            return self._one_by_one(request, matching.limits)
        words = [client.network]
        for read in matching.readers:
            words.append(read(request))  # noqa: PERF401 - a comprehension is a call
        words.append(request.id)
        return Planned(matching.plan, words)

    def path_decision(self, method: str, path: str) -> Hashable:  # noqa: ARG002 - methods make no path ambiguous
        """Return which of the limits that name a path count it. What is a page is no question of reading a path."""
        return tuple(self._somewhere.find(path.lower()))

    def _one_by_one(self, request: Request, limits: Sequence[_Counted]) -> Sequence[Meter]:
        certain = request.client.certain
        leases = self._streams if request.kind == "websocket" else self._requests
        meters = [Meter(leases[certain], request.client.network, 1, request.id)]
        for limit in limits:
            # Who cannot be told from their proxy is not refused for what all behind the proxy do.
            quotas = limit.quotas if certain or not limit.uncertain(request) else limit.tallies
            key = limit.read(request)
            meters += [Meter(quota, key, limit.cost) for quota in quotas]
        return meters

    def _match(self, method: str, path: str) -> _Matching:
        limits = [*self._everywhere, *self._somewhere.find(path.lower())]
        return self._alike[tuple(limit for limit in limits if limit.matches(method, path))]

    def on_readings(self, request: Request, readings: Sequence[Reading]) -> Sequence[Finding]:  # noqa: ARG002 - a phase's
        """Find each limit that is used up, by the rate that holds longest."""
        over = [reading for reading in readings if not reading.admitted or reading.remaining < 0]
        over.sort(key=lambda reading: reading.retry_after)
        return [self._finding(reading) for reading in {reading.meter.quota.rule: reading for reading in over}.values()]

    def _finding(self, reading: Reading) -> Finding:
        quota = reading.meter.quota
        limit = self._limits.get(quota.rule)
        evidence = {"limit": quota.name, "key": ",".join(limit.key) if limit else "client"}
        excess = _excess(quota, reading.meter.cost)
        if not quota.gate:
            detail = f"{excess}; only noted, because the client may be a proxy for many"
            return Finding(quota.rule, Action.NOTE, 0, detail, evidence=evidence)
        if limit is None:  # a place is free when something ends, which may be at any time
            detail = f"{excess}; try again when some have ended"
            return Finding(quota.rule, Action.REFUSE, 429, detail, points=1, evidence=evidence)
        detail = f"{excess}; try again in {amount_of_time(reading.retry_after)}"
        wait = reading.retry_after
        return Finding(quota.rule, Action.REFUSE, 429, detail, points=1, retry_after=wait, evidence=evidence)


def _rates(text: str) -> list[tuple[int, int]]:
    """Return each rate in the notation of the limits package as an amount and a number of seconds."""
    from limits import parse_many  # noqa: PLC0415 - slow to import, and not needed when the policy is off

    return [(rate.amount, rate.get_expiry()) for rate in parse_many(text)]


def _quotas(limit: Limit, *, gate: bool) -> tuple[Quota, ...]:
    rule, rates = f"rate_limits.{limit.name}", _rates(limit.rate)
    names = [limit.name] if len(rates) == 1 else [f"{limit.name}-{period(w).replace(' ', '-')}" for _, w in rates]
    return tuple(
        Quota(rule, name, amount, float(window), algorithm=limit.window, gate=gate)
        for name, (amount, window) in zip(names, rates, strict=True)
    )


def _leases(limit: int, name: str, window: float) -> tuple[Quota, Quota]:
    """Return the quota for clients that are not certain, and the one for those that are."""
    tally, gate = (
        Quota("rate_limits.concurrency", name, limit, window, MeterKind.LEASE, gate=g) for g in (False, True)
    )
    return tally, gate


def _excess(quota: Quota, cost: float) -> str:
    if quota.kind is MeterKind.LEASE:
        return f"more than {quota.limit} {'websockets' if quota.name == 'streams' else 'requests'} at one time"
    if cost == 1:
        return f"more than {quota.limit} requests per {period(quota.window)}"
    return f"more than {quota.limit} per {period(quota.window)}, of which each request counts {cost:g}"
