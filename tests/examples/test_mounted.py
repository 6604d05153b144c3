"""AcceptableUse mounted in an application without any configuration: it refuses attacks, and nobody who browses."""

from collections.abc import Iterator

import httpx
import pytest

from tests.examples.running import CURL, PERSON, SAAS, Program, new_address, run_app, visitor
from tests.examples.test_protected import SPOOFED
from tests.services import EICAR, short_directory


@pytest.fixture(scope="module")
def mounted() -> Iterator[tuple[Program, str]]:
    with short_directory("mounted") as directory, run_app(directory, "tests.examples.mounted:app") as running:
        yield running


@pytest.fixture
def url(mounted: tuple[Program, str]) -> str:
    return mounted[1]


def test_spoofed_fields_never_reach_the_application(url: str) -> None:
    with visitor(url, PERSON) as client:
        echoed = client.get("/echo", headers=SPOOFED).json()
    seen = {name.replace("_", "-") for name, _ in echoed["headers"]}
    assert seen.isdisjoint(map(str.lower, SPOOFED))


@pytest.mark.parametrize("form", [False, True], ids=["alone", "in a form"])
def test_a_virus_is_refused(url: str, form: bool) -> None:
    with visitor(url, PERSON | {"Accept": "*/*"}) as client:
        before = client.get("/internal/received").json()
        refused = (
            client.post("/uploads", files={"file": ("a.txt", EICAR)})
            if form
            else client.put("/uploads/a.txt", content=EICAR)
        )
        assert client.get("/internal/received").json() == before
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:aupgate:rule:uploads.infected")
    assert refused.json()["clauses"]


@pytest.mark.parametrize(
    "agent",
    [
        PERSON["User-Agent"],
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
        CURL["User-Agent"],
        "my company's cron job",
    ],
)
def test_nobody_who_browses_is_refused(url: str, agent: str) -> None:
    paths = ["/", "/api/items", "/assets/app.js", "/login", "/openapi.json", "/nothing"]
    with visitor(url, PERSON | {"User-Agent": agent}) as client:
        statuses = {path: {client.get(path).status_code for _ in range(40)} for path in paths}
    assert statuses == {path: {404 if path == "/nothing" else 200} for path in paths}


def test_a_harmless_file_passes(url: str) -> None:
    picture = (SAAS / "assets" / "picture.png").read_bytes()
    with visitor(url, PERSON) as client:
        stored = client.post("/uploads", files={"file": ("cat.png", picture, "image/png")})
        assert (stored.status_code, stored.json()["size"]) == (201, len(picture))


def test_the_application_reads_its_own_state_and_who_asks(url: str) -> None:
    address = new_address()
    with visitor(url, PERSON, address) as client:
        answered = client.get("/opened")
    assert answered.json() == {
        "opened": "a pool of connections",
        "client": address,
        "id": answered.headers["x-request-id"],
    }


def test_the_lifespan_of_the_application_runs_from_start_to_stop() -> None:
    with short_directory("mounted") as directory:
        with run_app(directory, "tests.examples.mounted:app") as (program, url):
            assert httpx.get(f"{url}/opened", trust_env=False).status_code == 200
            assert "lifespan started" in program.output.read_text("utf-8")
        assert program.output.read_text("utf-8").splitlines()[-1] == "lifespan stopped"
        assert program.process.returncode in {0, -15}
