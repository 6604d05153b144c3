"""`rate_limits`: what is asked too often is refused, and nobody else is held back for it."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from aupgate.driver import judge
from aupgate.enforcement import Enforcement
from aupgate.engine import Engine
from aupgate.http import rate_limit_fields
from aupgate.meters import Meter, MeterKind, Outcome, Post, PostKind, Window
from aupgate.model import Account, Action, Client, Finding, Request
from aupgate.packs import ClauseIndex
from aupgate.policies.rate_limits import Concurrency, Limit, Match, RateLimits, Settings
from aupgate.store.memory import MemoryStore
from tests.gateway.scripted import a_request

DOCS = Path(__file__).parents[2] / "docs" / "limits.md"
NOON = 1_800_000_000.0 - 1_800_000_000.0 % 3600
DEMO = Account("demo", "key:x-api-key", verified=True)
BEHIND_UNKNOWN_PROXY = Client("10.0.0.1", "10.0.0.1", "10.0.0.1", certain=False)
OUTCOME = Outcome(200, 0, 100, 0.1, aborted=False)


class Site:
    """The policy on a store of its own, in front of nothing."""

    def __init__(self, *limits: Limit, **others: Any) -> None:
        self.policy = RateLimits(Settings(limits=limits, **others))
        self.store = MemoryStore()
        self._ids = iter(range(1_000_000))
        self._held: Sequence[Meter] = ()

    def hold(self, now: float = NOON, **given: Any) -> Sequence[Finding]:
        """Make a request that goes on, and return what the policy finds."""
        request = a_request(now=now, id=str(next(self._ids)), **given)
        self._held = self.policy.meters(request)
        return self.policy.on_readings(request, self.store.take([self._held], now)[0])

    def ask(self, now: float = NOON, **given: Any) -> Sequence[Finding]:
        """Make a request that ends at once, and return what the policy finds."""
        findings = self.hold(now, **given)
        leases = [meter for meter in self._held if meter.quota.kind is MeterKind.LEASE]
        self.store.post([Post(lease, PostKind.RELEASE) for lease in leases], now)
        return findings

    def passed(self, times: int, now: float = NOON, **given: Any) -> int:
        """Make as many requests at once, and return how many passed."""
        return sum(not self.ask(now, **given) for _ in range(times))


def client(address: str) -> Client:
    return Client(address, address, address)


def site(rate: str = "240/minute", **others: Any) -> Site:
    return Site(Limit(name="api", rate=rate, **others))


# -- refusing and passing ----------------------------------------------------------------------------------------------


def test_of_300_quick_requests_with_one_account_the_241st_is_refused() -> None:
    api = site("240/minute;1000/hour", key=("account",))
    found = [api.ask(NOON + number / 100, account=DEMO) for number in range(300)]
    assert [number for number, findings in enumerate(found, 1) if findings] == list(range(241, 301))
    (finding,) = found[240]
    assert (finding.rule, finding.action, finding.status) == ("rate_limits.api", Action.REFUSE, 429)
    assert finding.points == 1
    assert finding.evidence == {"limit": "api-minute", "key": "account"}


def test_another_client_is_untouched() -> None:
    api = site("5/minute")
    assert api.passed(9) == 5
    assert api.passed(9, client=client("198.51.100.9")) == 5


def test_the_detail_says_what_was_too_much_and_for_how_long() -> None:
    api = site("240/minute", window=Window.FIXED)
    api.passed(240, NOON + 48)
    (finding,) = api.ask(NOON + 48.5)
    assert finding.detail == "more than 240 requests per minute; try again in 12 seconds"
    assert finding.retry_after == pytest.approx(11.5, abs=0.001)


@pytest.mark.parametrize("window", list(Window), ids=str)
def test_who_waits_as_long_as_told_passes(window: Window) -> None:
    api = site("10/minute;3/second", window=window)
    now = NOON
    for _ in range(30):
        found = api.ask(now)
        if found:
            assert found[0].retry_after is not None
            now += found[0].retry_after
            assert not api.ask(now)


def test_the_rate_that_holds_longest_says_how_long_to_wait() -> None:
    api = site("2/second;2/minute", window=Window.FIXED)
    api.passed(2)
    (finding,) = api.ask()
    assert finding.retry_after == pytest.approx(60, abs=0.001)
    assert finding.detail.startswith("more than 2 requests per minute")


def test_each_limit_that_is_used_up_is_found() -> None:
    both = Site(Limit(name="one", rate="1/minute"), Limit(name="two", rate="1/hour"))
    both.ask()
    assert {finding.rule for finding in both.ask()} == {"rate_limits.one", "rate_limits.two"}


def test_a_request_may_cost_more_than_one() -> None:
    exports = site("10/hour", cost=4)
    assert exports.passed(5) == 2
    assert exports.ask()[0].detail.startswith("more than 10 per hour, of which each request counts 4; ")


# -- what is counted ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "request_parts", "counted"),
    [
        ({}, {"path": "/anything", "method": "DELETE"}, True),
        ({"path": "/api/{rest:path}"}, {"path": "/api/items/7"}, True),
        ({"path": "/api/{rest:path}"}, {"path": "/home"}, False),
        ({"methods": ("POST",)}, {"method": "POST"}, True),
        ({"methods": ("POST",)}, {"method": "GET"}, False),
        ({"methods": ("GET",)}, {"method": "HEAD"}, True),
        ({"methods": ("POST",), "path": "/login"}, {"method": "POST", "path": "/login/"}, True),
        ({"methods": ("POST",), "path": "/login"}, {"method": "POST", "path": "/logout"}, False),
        ({"pages": True}, {"path": "/articles/7"}, True),
        ({"pages": True}, {"path": "/static/app.js"}, False),
    ],
    ids=str,
)
def test_a_limit_counts_what_it_matches(match: dict[str, Any], request_parts: dict[str, Any], counted: bool) -> None:
    assert site("1/minute", match=Match(**match)).passed(2, **request_parts) == (1 if counted else 2)


def test_cors_preflights_pass_uncounted() -> None:
    api = site("1/minute")
    asking = [(b"origin", b"https://app.example"), (b"access-control-request-method", b"PUT")]
    assert api.passed(20, method="OPTIONS", headers=asking) == 20
    assert api.passed(2, method="OPTIONS", headers=[(b"origin", b"https://app.example")]) == 1


# -- whom it counts ----------------------------------------------------------------------------------------------------


def test_a_client_that_invents_session_cookies_escapes_nothing() -> None:
    api = site("5/minute", key=("account",))
    invented = [Account(f"session{number}", "cookie:session", verified=False) for number in range(20)]
    assert sum(not api.ask(account=account) for account in invented) == 5


def test_accounts_behind_one_address_have_limits_of_their_own() -> None:
    api = site("5/minute", key=("account",))
    for name in ("alice", "bob"):
        assert api.passed(9, account=Account(name, "key:x-api-key", verified=True)) == 5
    assert api.passed(9) == 5


def test_an_account_that_moves_between_addresses_keeps_its_limit() -> None:
    api = site("5/minute", key=("account",))
    addresses = [client(f"192.0.2.{number}") for number in range(20)]
    assert sum(not api.ask(account=DEMO, client=address) for address in addresses) == 5


@pytest.mark.parametrize("key", [("client",), ("network",), ("account",), ("client", "path")], ids=str)
def test_who_may_be_a_proxy_for_many_is_noted_and_not_refused(key: tuple[str, ...]) -> None:
    api = site("5/minute", key=key)
    findings = [finding for _ in range(7) for finding in api.ask(client=BEHIND_UNKNOWN_PROXY)]
    assert [finding.action for finding in findings] == [Action.NOTE, Action.NOTE]
    assert [(finding.status, finding.points, finding.retry_after) for finding in findings] == [(0, 0, None)] * 2


def test_a_verified_account_is_refused_behind_any_proxy() -> None:
    api = site("5/minute", key=("account",))
    assert api.passed(9, account=DEMO, client=BEHIND_UNKNOWN_PROXY) == 5
    assert api.ask(account=DEMO, client=BEHIND_UNKNOWN_PROXY)[0].action is Action.REFUSE


def test_what_is_only_noted_never_fills_what_is_enforced() -> None:
    api = site("5/minute")
    api.passed(50, client=BEHIND_UNKNOWN_PROXY)
    assert api.passed(9, client=client("10.0.0.1")) == 5


# -- at one time -------------------------------------------------------------------------------------------------------


class Gate:
    """The whole engine around the policy, so that exchanges can stay open."""

    def __init__(self, **concurrency: Any) -> None:
        policy = RateLimits(Settings(limits=(), concurrency=Concurrency(**concurrency)))
        self.engine = Engine([Enforcement(policy)], ClauseIndex([]))
        self.store = MemoryStore()

    def enter(self, request: Request) -> "Iterator[bool]":
        """Yield whether the request may pass, and end it when the iterator is asked again."""
        exchange = self.engine.open(request)
        yield judge(exchange, exchange.head(), self.store, request.now).allow
        self.store.post(exchange.end(OUTCOME), request.now)


def requests(kind: str = "http", number: int = 10, **given: Any) -> list[Request]:
    return [a_request(id=f"{kind}{each}", kind=kind, **given) for each in range(number)]


def test_requests_at_one_time_are_limited_until_they_end() -> None:
    gate = Gate(per_client=3)
    exchanges = [gate.enter(request) for request in requests()]
    assert [next(each) for each in exchanges] == [True] * 3 + [False] * 7
    for ended in exchanges[:2]:
        assert next(ended, None) is None
    assert [next(gate.enter(request)) for request in requests(number=13)[10:]] == [True, True, False]


def test_refused_requests_release_nothing_of_others() -> None:
    gate = Gate(per_client=3)
    exchanges = [gate.enter(request) for request in requests()]
    assert sum(next(each) for each in exchanges) == 3
    for refused in exchanges[3:]:
        assert next(refused, None) is None
    assert not next(gate.enter(a_request(id="late")))


def test_one_request_after_the_other_is_never_too_many() -> None:
    gate = Gate(per_client=1)
    for request in requests():
        exchange = gate.enter(request)
        assert next(exchange)
        assert next(exchange, None) is None


def test_websockets_are_counted_apart_from_requests() -> None:
    gate = Gate(per_client=2, streams_per_client=3)
    entered = [next(gate.enter(request)) for request in requests("websocket") + requests("http")]
    assert entered == [True] * 3 + [False] * 7 + [True] * 2 + [False] * 8


@pytest.mark.parametrize(("kind", "what"), [("http", "requests"), ("websocket", "websockets")])
def test_too_many_at_one_time_is_said_in_words_without_a_promise(kind: str, what: str) -> None:
    crowd = Site(concurrency={"per_client": 2, "streams_per_client": 2})
    assert not crowd.hold(kind=kind)
    assert not crowd.hold(kind=kind)
    (finding,) = crowd.hold(kind=kind)
    assert finding.rule == "rate_limits.concurrency"
    assert finding.detail == f"more than 2 {what} at one time; try again when some have ended"
    assert finding.retry_after is None


def test_what_may_be_a_proxy_may_hold_any_number_at_one_time() -> None:
    crowd = Site(concurrency={"per_client": 2})
    findings = [finding for _ in range(9) for finding in crowd.hold(client=BEHIND_UNKNOWN_PROXY)]
    assert {finding.action for finding in findings} == {Action.NOTE}


# -- without configuration ---------------------------------------------------------------------------------------------


@pytest.fixture
def default() -> Site:
    return Site(*Settings().limits)


def test_a_person_who_browses_never_meets_the_default_limits(default: Site) -> None:
    """Half an hour of a page every five seconds, each with a dozen data requests and forty files."""
    for page in range(360):
        now = NOON + 5 * page
        assert default.passed(12, now, path="/data") == 12
        assert default.passed(40, now, path="/static/photo.png") == 40


def test_a_robot_meets_them_within_a_minute(default: Site) -> None:
    found = [default.ask(NOON + number / 20, path=f"/items/{number}") for number in range(1200)]
    first = next(number for number, findings in enumerate(found) if findings)
    assert first == 600
    assert found[first][0].rule == "rate_limits.human_pace"


def test_every_rule_is_declared() -> None:
    policy = RateLimits(Settings(limits=(Limit(name="api", rate="9/minute", clauses=("own.fair_use",)),)))
    assert [(rule.name, rule.clauses) for rule in policy.rules] == [
        ("rate_limits.api", ("own.fair_use",)),
        ("rate_limits.concurrency", ()),
    ]


def test_clients_see_each_rate_under_a_name_of_its_own() -> None:
    api = RateLimits(Settings(limits=(Limit(name="api", rate="240/minute;60/second;900 per 5 minutes"),)))
    fields = dict(rate_limit_fields(MemoryStore().take([api.meters(a_request(now=NOON))], NOON)[0]))
    assert fields[b"ratelimit-policy"] == (
        b'"api-minute";q=240;w=60, "api-second";q=60;w=1, "api-5-minutes";q=900;w=300'
    )
    assert fields[b"ratelimit"].startswith(b'"api-second";r=59;')


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ([{"name": "api", "rate": "often"}], "expected rates in the notation of the limits package"),
        ([{"name": "API", "rate": "9/minute"}], "expected a name of small letters"),
        ([{"name": "api", "rate": "9/minute", "key": []}], "at least 1 item"),
        ([{"name": "api", "rate": "9/minute", "key": ["cookie"]}], "expected client, network, account, parent"),
        ([{"name": "api", "rate": "9/minute", "key": ["claim:sub"]}], "claims come with JWT accounts"),
        ([{"name": "api", "rate": "9/minute", "window": "moving"}], "'fixed', 'sliding' or 'gcra'"),
        ([{"name": "api", "rate": "9/minute;2/second", "cost": 3}], "expected a cost of at most"),
        ([{"name": "api", "rate": "9/minute;60/minute"}], "expected every period only once"),
        ([{"name": "api", "rate": "9/minute", "match": {"paths": "/"}}], "Extra inputs"),
        ([{"name": "api", "rate": "9/minute"}] * 2, '"api" is taken'),
        ([{"name": "concurrency", "rate": "9/minute"}], '"concurrency" is taken'),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_an_error(limits: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings.model_validate({"limits": limits})


def test_a_key_of_one_part_may_be_written_without_a_list() -> None:
    limit = Limit.model_validate({"name": "api", "rate": "9/minute", "key": "header:X-Tenant"})
    assert limit.key == ("header:x-tenant",)


# -- documentation ---------------------------------------------------------------------------------------------------


EXAMPLES = re.findall(r"```toml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_in_the_docs_is_a_policy(example: str) -> None:
    table = tomllib.loads(example)["policies"]["rate_limits"]
    assert RateLimits(Settings.model_validate(table)).rules


def test_the_docs_describe_every_setting() -> None:
    described = set(re.findall(r"^\| `(?:match\.)?(\w+)` \|", DOCS.read_text("utf-8"), re.MULTILINE))
    own = {*Limit.model_fields, *Match.model_fields, *Concurrency.model_fields} - {"match"}
    assert own <= described


def test_the_docs_tell_the_default_rate() -> None:
    assert f"`{Settings().limits[0].rate}`" in DOCS.read_text("utf-8")
