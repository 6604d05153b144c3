"""`scrapers`: what names itself a robot in its User-Agent is refused, noted or let pass, by what kind of robot it is.

A User-Agent proves nothing, so this turns away only who says what it is. A person is not refused for what the maker of
a phone or an app put there. docs/robots.md says what each kind is, and how a refused person gets through.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, Self

import re2
from pydantic import model_validator

from aupgate.agents import AgentClassifier, AgentMemory, Category, is_empty
from aupgate.config import AgentPattern, PolicySettings, expectation
from aupgate.http import is_cors_preflight
from aupgate.model import Action, Finding, Request, Rule


class Settings(PolicySettings):
    """What becomes of robots, by their kind. A kind that is in neither list passes."""

    refuse: tuple[Category, ...] = (
        Category.SCRAPER,
        Category.AI_CRAWLER,
        Category.BROWSER_AUTOMATION,
        Category.SCANNER,
    )
    """Kinds of robots that are refused."""
    note: tuple[Category, ...] = (Category.HTTP_LIBRARY, Category.UNKNOWN_BOT, Category.SEARCH_ENGINE)
    """Kinds of robots that pass and are written down. What only one of the lists names explicitly is in that one."""
    empty_agent: Literal["refuse", "note", "allow"] = "refuse"
    """What becomes of a request without User-Agent."""
    allow_agents: tuple[AgentPattern, ...] = ()
    """Regular expressions; a User-Agent that one of them finds passes, whatever else it says."""
    accounts_exempt: bool = True
    """Whether a verified account may use any program."""

    @model_validator(mode="after")
    def _lists_agree(self) -> Self:
        both = set(self.refuse) & set(self.note)
        if both and {"refuse", "note"} <= self.model_fields_set:
            raise expectation(f'"{min(both)}" is in refuse as well: expected each kind in one list', at="note")
        return self


_RULES: Final[Mapping[Category, tuple[str, str]]] = {
    Category.SCRAPER: (
        "Scraper or site copier",
        "this site is not open to programs that copy it; ask for access, or use an API key",
    ),
    Category.AI_CRAWLER: (
        "Crawler for artificial intelligence",
        "this site is not open to crawlers that collect for artificial intelligence; ask for access",
    ),
    Category.BROWSER_AUTOMATION: (
        "Automated browser",
        "this site is not open to browsers that a program drives; use your own browser, or ask for access",
    ),
    Category.SCANNER: ("Security scanner", "this site may not be scanned or probed; ask for permission first"),
    Category.HTTP_LIBRARY: (
        "HTTP library",
        "this site is not open to HTTP libraries without an API key; sign in, or ask for access",
    ),
    Category.UNKNOWN_BOT: ("Unknown robot", "this site is not open to robots that it does not know; ask for access"),
    Category.SEARCH_ENGINE: ("Search engine", "this site is not open to search engines; ask for access"),
}
_EMPTY: Final = Rule("scrapers.empty_agent", "No User-Agent")
_EMPTY_DETAIL: Final = "the request has no User-Agent; send one that names your browser or program"

_SHOWN: Final = 200
"""Bytes of a User-Agent that evidence holds."""


def _rule_name(category: Category) -> str:
    return f"scrapers.{category.replace('-', '_')}"


def _actions(settings: Settings) -> Mapping[Category, Action]:
    """Return what becomes of each kind. Defaults go first: a kind moves to the list that names it explicitly."""
    lists = sorted((Action.REFUSE, Action.NOTE), key=lambda action: action in settings.model_fields_set)
    return {category: action for action in lists for category in getattr(settings, action)}


def _finding(rule: str, action: Action, detail: str, points: int, **evidence: str) -> Finding:
    if action is Action.NOTE:
        return Finding(rule, action, 0, detail, evidence=evidence)
    return Finding(rule, action, 403, detail, points=points, evidence=evidence)


class _Allowed:
    """The User-Agents that the operator lets pass."""

    def __init__(self, patterns: Iterable[str]) -> None:
        options = re2.Options()
        options.log_errors = False
        self._patterns = [re2.compile(pattern, options) for pattern in patterns]

    def __contains__(self, agent: bytes) -> bool:
        text = agent.decode("utf-8", "replace")
        return any(pattern.search(text) for pattern in self._patterns)


class Scrapers:
    """Judges the User-Agent. What it finds is remembered per value, so a known one costs a look-up."""

    name = "scrapers"
    rules = (*(Rule(_rule_name(category), title) for category, (title, _) in _RULES.items()), _EMPTY)

    def __init__(self, settings: Settings) -> None:
        self._actions = _actions(settings)
        self._empty = None if settings.empty_agent == "allow" else Action(settings.empty_agent)
        self._allowed = _Allowed(settings.allow_agents)
        self._accounts_exempt = settings.accounts_exempt
        self._classify = AgentClassifier().classify
        self._findings = AgentMemory(self._judge)

    def on_request(self, request: Request) -> Sequence[Finding]:
        """Return what the User-Agent shows, unless the request is one that robots may always make."""
        findings = self._findings[request.header(b"user-agent") or b""]
        return () if not findings or self._passes(request) else findings

    def _passes(self, request: Request) -> bool:
        """Return True for verified accounts, and for what a robot must be able to read: the rules that are for it."""
        if self._accounts_exempt and request.account is not None and request.account.verified:
            return True
        if request.method in {"GET", "HEAD"}:
            return request.path == "/robots.txt" or request.path.startswith("/.well-known/")
        return is_cors_preflight(request)

    def _judge(self, agent: bytes) -> tuple[Finding, ...]:
        if agent in self._allowed:
            return ()
        if is_empty(agent):
            return () if self._empty is None else (_finding(_EMPTY.name, self._empty, _EMPTY_DETAIL, 1),)
        robot = self._classify(agent)
        action = self._actions.get(robot.category) if robot else None
        if robot is None or action is None:
            return ()
        category, reason = robot
        points = 5 if category is Category.SCANNER else 1
        shown = agent[:_SHOWN].decode("latin-1")
        detail = _RULES[category][1]
        return (_finding(_rule_name(category), action, detail, points, agent=shown, category=category, reason=reason),)
