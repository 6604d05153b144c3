"""A real browser before the gateway: headless Chromium, driven by chromedriver, which speaks the W3C's WebDriver."""

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.examples.running import SAAS, Site, start, until
from tests.services import EICAR

pytestmark = pytest.mark.xdist_group("chromium")  # one browser is enough for all test processes

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # it asks nobody but the gateway
)


@dataclass(frozen=True)
class Browser:
    """One browser session."""

    driver: httpx.Client
    session: str

    def command(self, path: str, **body: Any) -> Any:
        """Run a command of the session and return its value."""
        answered = self.driver.post(f"/session/{self.session}/{path}", json=body)
        assert answered.status_code == 200, answered.text
        return answered.json()["value"]

    def open(self, url: str) -> None:
        """Load a page."""
        self.command("url", url=url)

    def run(self, script: str) -> Any:
        """Return what a script in the page returns."""
        return self.command("execute/sync", script=script, args=[])

    def text(self, selector: str) -> str:
        """Return the text of an element of the page."""
        return str(self.run(f"return document.querySelector({json.dumps(selector)}).textContent"))

    def choose_file(self, selector: str, path: Path) -> None:
        """Put a file into a form, as a person who picks it does."""
        [element] = self.command("element", using="css selector", value=selector).values()
        self.command(f"element/{element}/value", text=str(path))

    def problems(self) -> list[str]:
        """Return what the browser complained of since it was asked the last time."""
        entries = self.command("se/log", type="browser")
        return [f"{entry['level']}: {entry['message']}" for entry in entries]


@pytest.fixture(scope="module")
def chromedriver() -> Iterator[httpx.Client]:
    """A running chromedriver; without Chromium, which is large and no service, the tests skip wherever they run."""
    program, chromium = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
    if program is None or chromium is None:
        pytest.skip("Chromium is not installed; install the Debian packages chromium and chromium-driver")
    with (
        tempfile.TemporaryDirectory(prefix="aupgate-chromium-", ignore_cleanup_errors=True) as directory,
        start(Path(directory), "chromedriver", program, "--port=0", TMPDIR=directory, HOME=directory) as driver,
    ):
        started = r"started successfully on port (\d+)"
        port = until(lambda: re.search(started, driver.output.read_text("utf-8")), "the start of chromedriver")[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            yield client


@contextlib.contextmanager
def browse(driver: httpx.Client, *flags: str) -> Iterator[Browser]:
    """Run a browser with a profile that is new and empty."""
    with tempfile.TemporaryDirectory(prefix="aupgate-profile-", ignore_cleanup_errors=True) as profile:
        options = {"args": [*FLAGS, f"--user-data-dir={profile}", *flags]}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "WARNING"}}}
        answered = driver.post("/session", json={"capabilities": wanted})
        assert answered.status_code == 200, answered.text
        session = answered.json()["value"]["sessionId"]
        try:
            yield Browser(driver, session)
        finally:
            driver.delete(f"/session/{session}")


@pytest.fixture(scope="module")
def person(chromedriver: httpx.Client) -> Iterator[Browser]:
    """Chromium as people use it: with the User-Agent that it has when it is not headless."""
    release = chromedriver.get("/status").json()["value"]["build"]["version"].partition(".")[0]
    system = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
    with browse(chromedriver, f"--user-agent={system} Chrome/{release}.0.0.0 Safari/537.36") as browser:
        yield browser


@pytest.fixture
def page(person: Browser, site: Site) -> Browser:
    """The home page, all of whose cards work."""
    person.open(f"{site.url}/")
    until(lambda: person.run("return document.documentElement.dataset.ready") == "true", "that all cards work")
    return person


def test_a_browser_that_a_program_drives_is_refused_with_a_page_that_says_why(
    chromedriver: httpx.Client, site: Site
) -> None:
    with browse(chromedriver) as robot:
        robot.open(f"{site.url}/")
        assert "HeadlessChrome/" in robot.run("return navigator.userAgent")
        assert robot.text("h1") == "Automated browser"
        assert "cimcon.wrongful.interfaces" in robot.text("body")


def test_every_card_of_the_page_works_and_the_browser_complains_of_nothing(page: Browser) -> None:
    states = page.run("return [...document.querySelectorAll('.state')].map((state) => state.dataset.state)")
    assert states == ["works", "works", "works"]
    assert "Cedar board" in page.text("#items")
    assert page.text("#echoed") == "hello"
    assert page.problems() == []


def test_the_page_has_all_of_its_assets(page: Browser) -> None:
    loaded = page.run("""
        const entries = performance.getEntriesByType("resource");
        return entries.map((entry) => [new URL(entry.name).pathname, entry.responseStatus]);
    """)
    assert {"/assets/style.css", "/assets/app.js", "/assets/logo.svg"} <= {path for path, _ in loaded}
    assert {status for path, status in loaded if path.startswith("/assets/")} == {200}
    assert page.run("return document.querySelector('.brand img').naturalWidth") > 0


def test_events_and_websocket_go_on(page: Browser) -> None:
    until(lambda: int(page.text("#ticks")) >= 3, "the third event")
    page.run("""
        document.querySelector("#socket-form [name=text]").value = "Grüße";
        document.querySelector("#socket-form").requestSubmit();
    """)
    until(lambda: page.text("#echoed") == "Grüße", "the echo")


def test_a_form_adds_an_item(page: Browser) -> None:
    page.run("""
        document.querySelector("#item-form [name=name]").value = "Elm wedge";
        document.querySelector("#item-form").requestSubmit();
    """)
    until(lambda: "Elm wedge" in page.text("#items"), "the new item")


def test_a_picture_is_stored_and_a_virus_is_not_and_the_page_says_why(page: Browser, tmp_path: Path) -> None:
    def upload(path: Path) -> str:
        page.run("document.querySelector('#upload-result').textContent = ''")
        page.choose_file("#upload-form [name=file]", path)
        page.run("document.querySelector('#upload-form').requestSubmit()")
        return until(lambda: page.text("#upload-result"), "the answer to the upload")

    infected = tmp_path / "infected.txt"
    infected.write_bytes(EICAR)
    assert upload(SAAS / "assets" / "picture.png").startswith("Stored picture.png, ")
    refused = upload(infected)
    assert refused.startswith("422: ")
    assert "infince.content.harmful" in refused


def test_a_person_who_goes_from_page_to_page_is_never_refused(page: Browser, site: Site) -> None:
    for _ in range(4):
        for path in ("/", "/login", "/profile"):
            page.open(f"{site.url}{path}")
            assert page.text("a.brand") == "Stockroom"
            assert page.run("return performance.getEntriesByType('navigation')[0].responseStatus") == 200
