"""What a User-Agent says: tables of people and of robots, and what holds for any value at all."""

import json
import logging
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from hypothesis import given
from hypothesis import strategies as st

from aupgate.agents import (
    MAX_LENGTH,
    MAX_REMEMBERED,
    TAGS,
    AgentClassifier,
    AgentMemory,
    Category,
    Classification,
    is_empty,
)

TABLES = tomllib.loads((Path(__file__).parent / "agents.toml").read_text(encoding="utf-8"))
PEOPLE: dict[str, str] = TABLES["people"]
ROBOTS = [(agent, Category(category)) for category, agents in TABLES["robots"].items() for agent in agents]
CLASSIFIER = AgentClassifier()
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
PHONE = (
    "Mozilla/5.0 (Linux; Android 14; {model} Build/UP1A; wv) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36{app}"
)


def category(agent: str) -> Category | None:
    found = CLASSIFIER.classify(agent.encode())
    return found and found.category


@pytest.mark.parametrize("agent", PEOPLE.values(), ids=PEOPLE.keys())
def test_what_people_use_says_nothing(agent: str) -> None:
    assert CLASSIFIER.classify(agent.encode()) is None


@pytest.mark.parametrize(("agent", "expected"), ROBOTS, ids=[agent[-60:] for agent, _ in ROBOTS])
def test_robots_are_told_by_kind(agent: str, expected: Category) -> None:
    assert category(agent) is expected


@pytest.mark.parametrize("model", ["Cubot X30", "SpiderPhone 3", "Robot One", "CrawlBot", "Googlebot"])
def test_the_name_of_a_phone_makes_nobody_a_robot(model: str) -> None:
    assert category(PHONE.format(model=model, app="")) is None


@pytest.mark.parametrize("app", ["Viber", "WhatsApp/2.24", "Bluesky/1.86", "Notion/0.6", "Pinterest", "SomeNewApp/1.0"])
def test_an_app_that_shows_pages_is_a_person_and_the_same_name_alone_is_none(app: str) -> None:
    assert category(PHONE.format(model="SM-S918B", app=f" {app}")) is None
    assert category(f"{CHROME.removesuffix(' Safari/537.36')} Electron/31.2.0 Safari/537.36 {app}") is None
    assert category(app) is not None


def test_a_robot_in_an_apps_clothes_is_still_one() -> None:
    assert category(PHONE.format(model="SM-S918B", app=" AcmeBot/1.0")) is Category.UNKNOWN_BOT
    assert category(PHONE.format(model="SM-S918B", app=" (+https://acme.example)")) is Category.UNKNOWN_BOT
    assert category(PHONE.format(model="SM-S918B", app=" Headless")) is Category.BROWSER_AUTOMATION


def test_a_listed_name_in_a_desktop_browser_is_noted_and_never_more() -> None:
    crawlers = [{"pattern": "AcmeScan", "tags": ["scanner"]}]
    classifier = AgentClassifier(crawlers)
    assert classifier.classify(f"{CHROME} AcmeScan".encode()) == (Category.UNKNOWN_BOT, "AcmeScan")
    assert classifier.classify(b"AcmeScan/1.0") == (Category.SCANNER, "AcmeScan")


def test_a_listed_pattern_that_fits_everybody_refuses_nobody() -> None:
    classifier = AgentClassifier([{"pattern": ".", "tags": ["scanner"]}])
    found = {classifier.classify(agent.encode()) for agent in PEOPLE.values()}
    assert found <= {None, Classification(Category.UNKNOWN_BOT, ".")}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["search-engine", "ai-crawler"], Category.AI_CRAWLER),
        (["browser-automation", "scanner"], Category.SCANNER),
        (["seo"], Category.UNKNOWN_BOT),
        (["a tag of the future"], Category.UNKNOWN_BOT),
        ([], Category.UNKNOWN_BOT),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else value,
)
def test_the_worst_tag_of_a_listed_robot_holds(tags: list[str], expected: Category) -> None:
    found = AgentClassifier([{"pattern": "Acme/", "tags": tags}]).classify(b"Acme/1.0")
    assert found == (expected, "Acme/")


def test_what_is_tagged_seo_is_a_scraper_when_it_calls_itself_a_robot() -> None:
    classifier = AgentClassifier([{"pattern": "Acme", "tags": ["seo"]}])
    assert classifier.classify(b"AcmeBot/1.0") == (Category.SCRAPER, "Acme")
    assert classifier.classify(b"Acme-Webhooks/1.0") == (Category.UNKNOWN_BOT, "Acme")


def test_a_pattern_that_re2_cannot_compile_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    crawlers = [{"pattern": "(?<!x)Acme", "tags": ["scanner"]}, {"pattern": "Other", "tags": ["scanner"]}]
    with caplog.at_level(logging.WARNING):
        classifier = AgentClassifier(crawlers)
    assert classifier.classify(b"Other/1.0") == (Category.SCANNER, "Other")
    assert "'(?<!x)Acme'" in caplog.text


def test_every_pattern_of_the_package_is_compiled(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        AgentClassifier()
    assert not caplog.records


def test_every_tag_of_the_package_has_a_meaning() -> None:
    assert {tag for crawler in CRAWLER_USER_AGENTS_DATA for tag in crawler["tags"]} <= set(TAGS)


def test_nearly_all_robots_that_the_package_shows_are_told() -> None:
    agents = [agent for crawler in CRAWLER_USER_AGENTS_DATA for agent in crawler["instances"]]
    told = sum(category(agent) is not None for agent in agents)
    assert told / len(agents) >= 0.99


def test_browsers_that_the_rules_were_not_made_from_are_let_pass() -> None:
    pytest.importorskip("fake_useragent", reason="fake-useragent is not installed, pip install fake-useragent")
    lines = resources.files("fake_useragent.data").joinpath("browsers.jsonl").read_text(encoding="utf-8").splitlines()
    agents = {json.loads(line)["useragent"] for line in lines}
    flagged = {agent for agent in agents if category(agent) is not None}
    assert len(agents) > 500
    assert len(flagged) / len(agents) <= 0.002


@pytest.mark.parametrize("agent", [b"", b" ", b"\t", b"-", b'""', b"()", b"..."], ids=repr)
def test_what_has_no_letter_or_digit_is_empty(agent: bytes) -> None:
    assert is_empty(agent)


@pytest.mark.parametrize("agent", [b"curl", b"0", "Ж".encode(), "日本".encode()], ids=repr)
def test_what_has_a_letter_or_digit_is_not_empty(agent: bytes) -> None:
    assert not is_empty(agent)


@given(st.binary(max_size=1500))
def test_any_bytes_are_classified(agent: bytes) -> None:
    found = CLASSIFIER.classify(agent)
    assert found is None or found.category in Category


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=200))
def test_free_text_is_no_person(text: str) -> None:
    found = CLASSIFIER.classify(f"x {text}".encode())
    assert found is not None or any(word in text for word in ("Profile/MIDP", "Configuration/CLDC", "UP.Browser"))


@given(st.sampled_from(sorted(PEOPLE.values())), st.sampled_from(["AcmeBot/2", "HeadlessChrome/1", "sqlmap/1"]))
def test_whoever_adds_a_robots_name_is_told(agent: str, name: str) -> None:
    assert category(f"{agent} {name}") is not None


def test_only_the_first_512_bytes_count() -> None:
    assert category(CHROME + " " * (MAX_LENGTH - len(CHROME)) + "sqlmap") is None


def test_a_nest_of_comments_is_no_burden() -> None:
    assert category("a " + "(" * 500) is Category.UNKNOWN_BOT
    assert category("a " + "(x)" * 160) is Category.UNKNOWN_BOT
    assert category("Mozilla/5.0 " + "(Windows " * 60) is Category.UNKNOWN_BOT


def test_the_memory_judges_a_value_once() -> None:
    seen: list[bytes] = []

    def judge(agent: bytes) -> int:
        seen.append(agent)
        return len(seen)

    memory = AgentMemory(judge)
    assert [memory[b"curl/8"], memory[b"curl/8"], memory[b"Wget/1"]] == [1, 1, 2]
    assert seen == [b"curl/8", b"Wget/1"]


def test_the_memory_stays_small_under_a_flood_of_values() -> None:
    memory = AgentMemory(len)
    sizes = []
    for number in range(3 * MAX_REMEMBERED):
        assert memory[b"agent %d" % number] == len(b"agent %d" % number)
        sizes.append(len(memory))
    assert max(sizes) == MAX_REMEMBERED


def test_the_memory_keeps_no_more_than_512_bytes_of_a_value() -> None:
    memory = AgentMemory(len)
    assert memory[b"x" * 100_000] == MAX_LENGTH
    assert memory[b"x" * 200_000] == MAX_LENGTH
    assert [len(agent) for agent in memory] == [MAX_LENGTH]
