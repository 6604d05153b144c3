"""`scrapers`: robots that say so are refused or noted, and people, accounts and readers of the rules pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aupgate.agents import MAX_REMEMBERED, Category
from aupgate.config import Loaded, load
from aupgate.errors import ConfigError
from aupgate.model import Account, Action, Finding, Request
from aupgate.policies.scrapers import Scrapers, Settings
from aupgate.policy import JudgesRequests
from tests.gateway.scripted import a_request

CHROME = b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
HEADLESS = CHROME.replace(b"Chrome", b"HeadlessChrome")
GOOGLEBOT = b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
DEFAULT = Scrapers(Settings())
STRICT = Scrapers(Settings(refuse=tuple(Category)))

AGENTS = {
    "scraper": b"Scrapy/2.11.2 (+https://scrapy.org)",
    "ai_crawler": b"CCBot/2.0 (https://commoncrawl.org/faq/)",
    "browser_automation": HEADLESS,
    "scanner": b"sqlmap/1.8.7#stable (https://sqlmap.org)",
    "http_library": b"curl/8.5.0",
    "unknown_bot": b"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "search_engine": GOOGLEBOT,
    "empty_agent": b"",
}
REFUSED = {"scraper", "ai_crawler", "browser_automation", "scanner", "empty_agent"}


def from_agent(agent: bytes | None, **given: object) -> Request:
    fields = [] if agent is None else [(b"user-agent", agent)]
    return a_request(headers=[(b"host", b"app.example"), *fields], **given)


def only(policy: Scrapers, request: Request) -> Finding:
    [finding] = policy.on_request(request)
    return finding


def actions(**settings: object) -> dict[str, Action | None]:
    """Return what becomes of each kind of robot under `settings`."""
    policy = Scrapers(Settings.model_validate(settings))
    found = {rule: policy.on_request(from_agent(agent)) for rule, agent in AGENTS.items()}
    return {rule: findings[0].action if findings else None for rule, findings in found.items()}


def test_it_judges_requests_and_nothing_else() -> None:
    assert isinstance(DEFAULT, JudgesRequests)
    assert [rule.name.removeprefix("scrapers.") for rule in DEFAULT.rules] == list(AGENTS)


@pytest.mark.parametrize("rule", AGENTS)
def test_without_configuration_what_names_itself_is_refused_or_noted(rule: str) -> None:
    finding = only(DEFAULT, from_agent(AGENTS[rule]))
    expected = (Action.REFUSE, 403) if rule in REFUSED else (Action.NOTE, 0)
    assert (finding.rule, finding.action, finding.status) == (f"scrapers.{rule}", *expected)


@pytest.mark.parametrize("rule", AGENTS)
def test_everything_can_be_refused(rule: str) -> None:
    finding = only(STRICT, from_agent(AGENTS[rule]))
    assert (finding.action, finding.status) == (Action.REFUSE, 403)
    assert finding.points == (5 if rule == "scanner" else 1)


def test_a_refusal_says_what_to_do() -> None:
    finding = only(STRICT, from_agent(b"curl/8.5.0"))
    assert finding.detail == "this site is not open to HTTP libraries without an API key; sign in, or ask for access"


def test_the_evidence_says_what_was_seen_and_why() -> None:
    assert only(DEFAULT, from_agent(AGENTS["scanner"])).evidence == {
        "agent": "sqlmap/1.8.7#stable (https://sqlmap.org)",
        "category": "scanner",
        "reason": "sqlmap",
    }


def test_the_evidence_is_cut() -> None:
    finding = only(DEFAULT, from_agent(b"sqlmap " + b"\xff" * 5000))
    assert finding.evidence["agent"] == "sqlmap " + "\xff" * 193


@pytest.mark.parametrize("policy", [DEFAULT, STRICT], ids=["default", "strict"])
def test_a_browser_passes(policy: Scrapers) -> None:
    assert not policy.on_request(from_agent(CHROME))


@pytest.mark.parametrize("agent", [None, b"", b"  ", b"-"], ids=repr)
def test_a_request_without_agent_is_refused(agent: bytes | None) -> None:
    assert only(DEFAULT, from_agent(agent)).rule == "scrapers.empty_agent"


def test_an_empty_agent_can_be_noted_or_let_pass() -> None:
    assert actions(empty_agent="note")["empty_agent"] is Action.NOTE
    assert actions(empty_agent="allow")["empty_agent"] is None


def test_a_verified_account_may_use_any_program() -> None:
    account = Account("42", "key:x-api-key", verified=True)
    assert not STRICT.on_request(from_agent(b"curl/8.5.0", account=account))
    assert not STRICT.on_request(from_agent(None, account=account))


def test_an_account_that_is_only_claimed_changes_nothing() -> None:
    account = Account("42", "cookie:session", verified=False)
    assert STRICT.on_request(from_agent(b"curl/8.5.0", account=account))


def test_accounts_can_be_held_to_the_rules_as_well() -> None:
    policy = Scrapers(Settings(accounts_exempt=False))
    assert policy.on_request(from_agent(HEADLESS, account=Account("42", "key:x-api-key", verified=True)))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/robots.txt", "/.well-known/security.txt", "/.well-known/acme-challenge/token"])
def test_every_robot_may_read_the_rules(method: str, path: str) -> None:
    assert not STRICT.on_request(from_agent(AGENTS["scanner"], method=method, path=path))


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/robots.txt"), ("GET", "/robots.txt/"), ("GET", "/a/robots.txt"), ("GET", "/.well")]
)
def test_what_only_resembles_the_rules_is_refused(method: str, path: str) -> None:
    assert STRICT.on_request(from_agent(AGENTS["scanner"], method=method, path=path))


def test_a_preflight_passes_and_other_options_do_not() -> None:
    preflight = [(b"origin", b"https://a.example"), (b"access-control-request-method", b"PUT")]
    assert not STRICT.on_request(a_request(method="OPTIONS", headers=preflight))
    assert STRICT.on_request(from_agent(b"curl/8.5.0", method="OPTIONS"))


def test_an_allowed_agent_passes_whatever_it_is() -> None:
    policy = Scrapers(Settings(allow_agents=("^AcmeMonitor/", "(?i)googlebot", "^$"), refuse=tuple(Category)))
    assert not policy.on_request(from_agent(b"AcmeMonitor/1.0"))
    assert not policy.on_request(from_agent(GOOGLEBOT))
    assert not policy.on_request(from_agent(None))
    assert policy.on_request(from_agent(b"not AcmeMonitor/1.0"))


def test_a_kind_in_neither_list_passes() -> None:
    assert not any(actions(refuse=[], note=[], empty_agent="allow").values())


def test_what_is_named_in_one_list_leaves_the_defaults_of_the_other() -> None:
    assert actions(refuse=["http-library"])["http_library"] is Action.REFUSE
    assert actions(refuse=["http-library"])["unknown_bot"] is Action.NOTE
    assert actions(note=["ai-crawler"])["ai_crawler"] is Action.NOTE
    assert actions(note=["ai-crawler"])["scraper"] is Action.REFUSE


def test_a_kind_in_both_lists_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r'"scanner" is in refuse as well: expected each kind in one list'):
        configured(refuse=["scanner"], note=["scanner"])


def test_an_unknown_kind_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ConfigError) as caught:
        configured(refuse=["scraper", "robots"])
    [problem] = caught.value.problems
    assert problem.key == "policies.scrapers.refuse[1]"
    assert all(f'"{category}"' in problem.expected for category in Category)


def test_a_pattern_that_is_none_is_an_error() -> None:
    with pytest.raises(ValidationError, match="expected a regular expression that RE2 compiles"):
        Settings(allow_agents=("(",))


def configured(**settings: object) -> Loaded:
    return load({"policies": {"scrapers": settings}}, policies={"scrapers": Settings}, environ={})


def test_a_flood_of_agents_does_not_fill_the_memory() -> None:
    policy = Scrapers(Settings())
    for number in range(MAX_REMEMBERED + 100):
        policy.on_request(from_agent(b"Acme/%d" % number))
    assert len(policy._findings) <= MAX_REMEMBERED
    assert not policy.on_request(from_agent(CHROME))


@given(st.binary(max_size=800))
def test_any_agent_is_judged(agent: bytes) -> None:
    assert len(STRICT.on_request(from_agent(agent))) <= 1
