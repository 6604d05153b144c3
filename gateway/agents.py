"""What a User-Agent says about who sends it: a kind of robot, or nothing when people's browsers and apps say the same.

Robots are known by the patterns of the package crawler-user-agents and by the tools named below, all in one RE2 set;
any other is told by the shape of what it says (RFC 9110 section 10.1.5). A User-Agent proves nothing: whoever lies in
it is taken for what it claims to be.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeVar

import re2

T = TypeVar("T")

MAX_LENGTH: Final = 512
"""Bytes of a User-Agent that are read; people's longest, those of in-app browsers, have about 400."""

MAX_REMEMBERED: Final = 8192
"""User-Agents whose meaning is remembered. Clients choose them, so the memory starts afresh when it is full."""

_log = logging.getLogger("aupgate.agents")


class Category(StrEnum):
    """What kind of robot a User-Agent names; the worst first, and the worst holds when it names several."""

    SCANNER = "scanner"
    BROWSER_AUTOMATION = "browser-automation"
    AI_CRAWLER = "ai-crawler"
    SCRAPER = "scraper"
    SEARCH_ENGINE = "search-engine"
    HTTP_LIBRARY = "http-library"
    UNKNOWN_BOT = "unknown-bot"


class Classification(NamedTuple):
    """What a User-Agent was taken for, and why: the pattern that it matches, or the rule in words."""

    category: Category
    reason: str


TAGS: Final[Mapping[str, Category]] = {
    "scanner": Category.SCANNER,
    "browser-automation": Category.BROWSER_AUTOMATION,
    "ai-crawler": Category.AI_CRAWLER,
    "search-engine": Category.SEARCH_ENGINE,
    "http-library": Category.HTTP_LIBRARY,
    # Both copy a site for use elsewhere. The package tags webhooks and web services "seo" as well: only what calls
    # itself a robot is taken for a scraper, see `_named`.
    "archiver": Category.SCRAPER,
    "seo": Category.SCRAPER,
    # Whoever runs the site may have asked for these.
    "academic": Category.UNKNOWN_BOT,
    "advertising": Category.UNKNOWN_BOT,
    "feed-reader": Category.UNKNOWN_BOT,
    "monitoring": Category.UNKNOWN_BOT,
    "social-preview": Category.UNKNOWN_BOT,
}
"""What the tags of crawler-user-agents mean here. A tag that is not listed, or none, means an unknown bot."""

TOOLS: Final[Mapping[Category, Sequence[str]]] = {
    # Programs that look for weaknesses, by the name they send unless told otherwise.
    Category.SCANNER: (
        "acunetix", "amass", "arachni", "burp ?(?:suite|collaborator)", "commix", "dalfox", "dirb(?:uster)?",
        "dirsearch", "feroxbuster", "ffuf", "fimap", "fuzz faster", "gobuster", "gospider", "hakrawler", "havij",
        "interactsh", "jaeles", "joomscan", "masscan", r"mozilla/5\.0 \(hydra\)", "nessus", "netsparker", "nikto",
        "nmap", "nuclei", "openvas", "owasp", "patator", "projectdiscovery", "skipfish", "sqlmap", "sqlninja",
        "sslyze", "testssl", "thc-hydra", "w3af", "wapiti", "wfuzz", "whatweb", "wpscan", "xsstrike", "zgrab", "zmap",
    ),
    # Browsers that a program drives or that show nothing on a screen.
    Category.BROWSER_AUTOMATION: (
        "[a-z]*headless[a-z]*", "browser-?use", "browserbase", "browserless", "casperjs", "chromedriver", "cypress/",
        "geckodriver", "happy-?dom", "htmlunit", "jsdom", "lightpanda", "phantomjs", "playwright", "puppeteer",
        "selenium", "slimerjs", "splash version", "stagehand", "testcafe", "webdriver[a-z]*", "wkhtmlto(?:image|pdf)",
        r"zombie\.js",
    ),
    # Frameworks for crawlers, offline readers, and services that scrape to order.
    Category.SCRAPER: (
        "[a-z]*web ?(?:copier|copy|reaper|ripper|stripper|sucker|whacker|zip)", "apify", "colly", "crawlee",
        "crawler4j", "grab-site", "heritrix", "httrack", "nutch", "offline ?(?:browser|explorer|navigator|reader)",
        "pavuk", "phpcrawl", "pholcus", "scraper-?api", "scrapingbee", "scrapy", "simplecrawler",
        "site-?(?:copier|snagger|sucker)", "stormcrawler", "teleport ?pro", "trafilatura", "webmagic", "wpull",
    ),
    # It begins as a browser does, and is none.
    Category.HTTP_LIBRARY: ("[a-z]*powershell",),
    # The one that is a browser on a phone, to all appearances.
    Category.UNKNOWN_BOT: ("chrome-lighthouse",),
}  # fmt: skip
"""Well-known tools by name, in any case, as whole words: their makers' own word, so it holds whatever else is said."""


# --- shapes -----------------------------------------------------------------------------------------------------------


class _Sign(StrEnum):
    """What the shape of a User-Agent shows."""

    BROWSER = "a graphical browser"
    OTHER_BROWSER = "a text browser, an old phone, a television"
    APP = "a phone, or an app that shows pages"
    SCRAPER = "calls itself a scraper"
    ROBOT = "calls itself a robot"
    SOURCE_CODE = "links to its source code"
    FRANK = "introduces itself as robots do"
    CHORE = "names a robot's work"
    BROWSER_WORDS = "speaks as a browser and has not the shape of one"
    PRODUCTS = "names products, and no browser"


_PLATFORM: Final = (
    "Windows|Macintosh|X11|Linux|LINUX|Android|iPhone|iPad|iPod|CrOS|Mobile;|Tablet;|SMART-TV|Web0S|webOS|hpwOS|Tizen"
    "|PlayStation|PLAYSTATION|Nintendo|Symbian|Series[346]0|BlackBerry|BB10|PlayBook|MeeGo|Maemo|Haiku|OpenHarmony"
    "|(?:Free|Net|Open)BSD|OS/2|AmigaOS|BeOS|SunOS"
)
_ENGINE: Final = r"AppleWebKit/[0-9.+]+ \(KHTML, like Gecko|(?:Gecko|Goanna|KHTML|Trident|Servo|Ladybird)/"
_SCRAPE: Final = "(?i:scrap(?:e[rs]?|ing|y)(?:[^a-z]|$))"
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PRODUCT: Final = f"{_WORD}(?:/{_WORD})?"
_COMMENT: Final = r"\((?:[^()]|\([^()]*\))*\)"

_SIGNS: Final[Mapping[_Sign, str]] = {
    _Sign.BROWSER: (
        rf"^Mozilla/[0-9.]+ \((?:[^)]*(?:{_PLATFORM})[^)]*\).*(?:{_ENGINE})"
        # Internet Explorer, Konqueror and some consoles say all within the comment.
        rf"|compatible; (?:MSIE|Konqueror)|Nintendo|PLAYSTATION|[^)]*(?:{_PLATFORM})[^)]*Trident/)"
    ),
    _Sign.OTHER_BROWSER: (
        r"^(?:Opera/[0-9.]+ \(|Lynx/|w3m/|E?[Ll]inks[ /]|URL/Emacs|Emacs-W3/|Dillo/|NetSurf/|edbrowse/|iCab/|IBrowse/"
        r"|HbbTV/|UCWEB/|DoCoMo/|KDDI-|J-PHONE/|SoftBank/|Vodafone/)|Profile/MIDP|Configuration/CLDC|UP\.Browser"
    ),
    _Sign.APP: "Android|iPhone|iPad|iPod|Electron/",
    _Sign.SCRAPER: _SCRAPE,
    _Sign.ROBOT: f"[Bb]ots?(?:[^a-z]|$)|BOTS?(?:[^A-Za-z]|$)|(?i:crawl|spider|archiver(?:[^a-z]|$))|{_SCRAPE}",
    _Sign.SOURCE_CODE: r"//(?:www\.)?(?:github\.com|gitlab\.com|codeberg\.org|npmjs\.com|pypi\.org)/",
    # A link, an address to write to, "compatible" with what is no browser, a name where the engine is described.
    _Sign.FRANK: (
        r"https?:|www\.|[(;] ?\+[a-z]|[\w.+-]@(?:[\w-]+\.)+[A-Za-z]{2}"
        "|[Cc]ompatible; *(?:[^ MKU]|M[^S]|K[^o]|U[^;])|like Gecko[;,] ?[A-Za-z]"
    ),
    _Sign.CHORE: "(?i:(?:checker|fetcher|harvester|indexer|monitor(?:ing)?|slurp|validator)(?:[^a-z]|$))",
    _Sign.BROWSER_WORDS: f"^Mozilla/|(?i:browser)|{_ENGINE}",
    _Sign.PRODUCTS: rf"^{_PRODUCT}(?:[ \t]+(?:{_PRODUCT}|{_COMMENT}))*$",  # RFC 9110 section 10.1.5
}

_PERSON: Final = frozenset({_Sign.BROWSER, _Sign.OTHER_BROWSER})
_PERSONS_DEVICE: Final = frozenset({_Sign.APP, _Sign.OTHER_BROWSER})
_ROBOTIC: Final = frozenset({_Sign.ROBOT, _Sign.FRANK, _Sign.CHORE})

_BY_SHAPE: Final[Mapping[_Sign, Category]] = {
    _Sign.SCRAPER: Category.SCRAPER,
    _Sign.ROBOT: Category.UNKNOWN_BOT,
    _Sign.SOURCE_CODE: Category.HTTP_LIBRARY,
    _Sign.FRANK: Category.UNKNOWN_BOT,
    _Sign.BROWSER_WORDS: Category.UNKNOWN_BOT,
    _Sign.PRODUCTS: Category.HTTP_LIBRARY,
}
"""What a User-Agent that no browser sends and nobody has listed is taken for; the first sign holds."""

_ANDROID_DEVICE: Final = re.compile(rb"(Android[^;)]*(?:; ?[a-z]{2}[-_][A-Za-z]{2})?);(?! ?compatible)[^;)]*")
_CUBOT: Final = re.compile(rb"(?i)cubot")
_MEANINGFUL: Final = re.compile(rb"[0-9A-Za-z\x80-\xff]").search


def is_empty(agent: bytes) -> bool:
    """Return True when a User-Agent says nothing: it has not one letter or digit."""
    return _MEANINGFUL(agent) is None


def _without_device(agent: bytes) -> bytes:
    """Return `agent` without model and build of an Android phone: its maker chose them, and some read as robots do.

    Cubot makes phones, and apps repeat that where they please.
    """
    return _CUBOT.sub(b"", _ANDROID_DEVICE.sub(rb"\1", agent, count=1))


# --- names ------------------------------------------------------------------------------------------------------------


def _load_crawlers() -> Iterable[Mapping[str, Any]]:
    # Half a megabyte of JSON, read by the import: only a gateway that classifies pays for it.
    from crawleruseragents import CRAWLER_USER_AGENTS_DATA  # noqa: PLC0415

    crawlers: Iterable[Mapping[str, Any]] = CRAWLER_USER_AGENTS_DATA
    return crawlers


_RANK: Final = {category: rank for rank, category in enumerate(Category)}


def _tagged(tags: Iterable[str]) -> Category:
    return min(
        (TAGS.get(tag, Category.UNKNOWN_BOT) for tag in tags), key=_RANK.__getitem__, default=Category.UNKNOWN_BOT
    )


class _Reading(NamedTuple):
    """What one pass over a User-Agent found: signs, the worst of the tools and the worst of the listed it names."""

    signs: frozenset[_Sign]
    tool: Classification | None
    listed: Classification | None


class AgentClassifier:
    """Tells what kind of robot a User-Agent names. Building one takes some 30 ms; classifying is pure."""

    def __init__(self, crawlers: Iterable[Mapping[str, Any]] | None = None) -> None:
        """`crawlers` are entries as crawler-user-agents has them (`pattern`, `tags`); unset: the package's own."""
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1  # clients send any bytes
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        for pattern in _SIGNS.values():
            self._set.Add(pattern)
        self._tools = self._add(
            (rf"(?i)(?:^|[^a-z]){tool}(?:[^a-z]|$)", Classification(category, tool))
            for category, tools in TOOLS.items()
            for tool in tools
        )
        self._listed = self._add(
            (crawler["pattern"], Classification(_tagged(crawler.get("tags", ())), crawler["pattern"]))
            for crawler in (_load_crawlers() if crawlers is None else crawlers)
        )
        self._set.Compile()

    def _add(self, names: Iterable[tuple[str, Classification]]) -> Mapping[int, Classification]:
        added: dict[int, Classification] = {}
        for pattern, name in names:
            try:
                added[self._set.Add(pattern)] = name
            except re2.error:
                # The list is written for other engines; a pattern beyond RE2's syntax must not stop a gateway.
                _log.warning("pattern %r of crawler-user-agents is left out, RE2 cannot compile it", pattern)
        return added

    def classify(self, agent: bytes) -> Classification | None:
        """Return what kind of robot `agent` names, or None when a person's browser or app says the same.

        Reads the first 512 bytes. Never raises.
        """
        signs, tool, listed = self._read(_without_device(agent[:MAX_LENGTH].strip()))
        if tool:
            return tool
        if signs & _PERSON and not signs & _ROBOTIC:
            return None if signs & _PERSONS_DEVICE else _in_browser(listed)
        return listed or _by_shape(signs)

    def _read(self, agent: bytes) -> _Reading:
        found = self._set.Match(agent) or ()
        signs = frozenset(_ALL_SIGNS[index] for index in found if index < len(_ALL_SIGNS))
        tools = (self._tools[index] for index in found if index in self._tools)
        listed = (_named(self._listed[index], signs) for index in found if index in self._listed)
        return _Reading(signs, min(tools, key=_rank, default=None), min(listed, key=_rank, default=None))


_ALL_SIGNS: Final = tuple(_SIGNS)


def _rank(name: Classification) -> int:
    return _RANK[name.category]


def _named(name: Classification, signs: frozenset[_Sign]) -> Classification:
    """Return what a listed name stands for: a scraper is only who calls itself a robot, see TAGS."""
    if name.category is Category.SCRAPER and _Sign.ROBOT not in signs:
        return name._replace(category=Category.UNKNOWN_BOT)
    return name


def _in_browser(listed: Classification | None) -> Classification | None:
    """Return what a listed name stands for in a desktop browser's User-Agent that shows nothing else of a robot.

    Apps open pages in a web view and add their name, on phones and, made with Electron, on desktops. Many have a robot
    of the same name that fetches previews, and the list means that one: there a listed name says nothing. In a
    desktop's browser it is most likely a robot's, but that is no ground to refuse anybody.
    """
    return listed._replace(category=Category.UNKNOWN_BOT) if listed else None


def _by_shape(signs: frozenset[_Sign]) -> Classification:
    for sign, category in _BY_SHAPE.items():
        if sign in signs:
            return Classification(category, sign.value)
    return Classification(Category.UNKNOWN_BOT, "no browser's User-Agent")


class AgentMemory(dict[bytes, T]):
    """What User-Agents mean, worked out by `judge` on first sight: `memory[agent]` is then one look-up.

    Holds at most 8,192 of at most 512 bytes and starts afresh when full; of longer ones the first 512 bytes count.
    """

    def __init__(self, judge: Callable[[bytes], T]) -> None:
        super().__init__()
        self._judge = judge

    def __missing__(self, agent: bytes) -> T:
        if len(agent) > MAX_LENGTH:
            return self[agent[:MAX_LENGTH]]
        meaning = self._judge(agent)
        if len(self) >= MAX_REMEMBERED:
            self.clear()
        self[agent] = meaning
        return meaning
