"""The example behind its gateway: who gets through unchanged, and who is refused with the clause that says so."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.examples.running import CURL, PERSON, Site, new_address, new_key, visitor

SPOOFED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Real-IP": "6.6.6.6",
    "X_Forwarded_For": "6.6.6.6",
    "Forwarded": "for=6.6.6.6;host=evil.example",
    "X-Original-URL": "/internal/users",
    "X-HTTP-Method-Override": "DELETE",
    "X-Remote-User": "admin",
}


def problem(response: httpx.Response) -> Mapping[str, Any]:
    """Return the problem details of a refusal, which says who asked, why, and by which clauses."""
    assert response.headers["content-type"] == "application/problem+json"
    told: Mapping[str, Any] = response.json()
    assert told["status"] == response.status_code
    assert told["instance"] == f"urn:uuid:{response.headers['x-request-id']}"
    return told


def clauses(response: httpx.Response) -> set[str]:
    """Return the ids of the clauses that a refusal cites."""
    return {clause["id"] for clause in problem(response)["clauses"]}


# --- people -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/login", "/api/items", "/openapi.json", "/assets/app.js", "/assets/picture.png"]
)
def test_a_browser_gets_what_the_application_sends(site: Site, browser: httpx.Client, path: str) -> None:
    answered = browser.get(path)
    sent = httpx.get(f"{site.app_url}{path}", headers=PERSON, trust_env=False)
    assert (answered.status_code, answered.content) == (200, sent.content)
    assert "server" not in answered.headers  # what runs the application is nobody's business
    unchanged = sent.headers.keys() - {"date", "content-length", "server"}
    assert {name: answered.headers[name] for name in unchanged} == {name: sent.headers[name] for name in unchanged}


def test_a_person_signs_in_changes_the_profile_and_signs_out(browser: httpx.Client) -> None:
    signed_in = browser.post("/login", data={"email": "demo@example.com", "password": "demo"})
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/profile")
    saved = browser.post("/profile", data={"display_name": "Ada", "about": "Likes cedar."}, follow_redirects=True)
    assert (saved.status_code, "Likes cedar." in saved.text) == (200, True)
    assert browser.post("/logout").status_code == 303
    assert browser.get("/profile").headers["location"] == "/login"


def test_a_person_who_goes_through_many_pages_is_never_refused(browser: httpx.Client) -> None:
    of_one_page = ["/", "/assets/style.css", "/assets/app.js", "/assets/logo.svg", "/favicon.ico", "/api/items"]
    assert {browser.get(path).status_code for _ in range(15) for path in of_one_page} == {200}


def test_a_name_with_any_letters_arrives_as_it_was_sent(browser: httpx.Client) -> None:
    item = {"name": "Ä 橡木 peg \N{HAMMER}", "quantity": 3}
    created = browser.post("/api/items", json=item)
    assert (created.status_code, created.json()) == (201, {**item, "id": created.json()["id"]})
    assert browser.delete(created.headers["location"]).status_code == 204


# --- spoofing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoofed", [*([name] for name in SPOOFED), list(SPOOFED)], ids=[*SPOOFED, "all together"])
def test_the_application_sees_the_real_peer_and_nothing_that_a_client_must_not_set(
    site: Site, spoofed: list[str]
) -> None:
    address = new_address()
    with visitor(site.url, PERSON, address) as client:
        echoed = client.get("/echo", headers={name: SPOOFED[name] for name in spoofed}).json()
    assert (echoed["method"], echoed["path"]) == ("GET", "/echo")
    seen = [(name, text) for name, text in echoed["headers"] if name.replace("_", "-") in map(str.lower, SPOOFED)]
    assert sorted(seen) == [("x-forwarded-for", address), ("x-real-ip", address)]
    assert "6.6.6.6" not in json.dumps(echoed)
    assert ["x-forwarded-proto", "http"] in echoed["headers"]


def test_a_spoofed_address_is_not_whom_limits_and_logs_speak_of(site: Site) -> None:
    address = new_address()
    with visitor(site.url, CURL, address) as client:
        refused = client.get("/", headers=SPOOFED)
    [line] = [line for line in site.findings(refused) if line["action"] == "refuse"]
    assert (line["client"], line["network"]) == (address, address)


# --- robots -----------------------------------------------------------------------------------------------------------


def test_a_robot_is_refused_and_told_by_which_clauses(robot: httpx.Client) -> None:
    refused = robot.get("/api/items")
    assert refused.status_code == 403
    assert clauses(refused) == {"infince.network.crawling", "cimcon.wrongful.interfaces"}
    told = problem(refused)
    assert (told["type"], told["contact"]) == (
        "urn:aupgate:rule:scrapers.http_library",
        "mailto:abuse@stockroom.example",
    )
    assert all(clause["url"] == "https://stockroom.example/acceptable-use" for clause in told["clauses"])


def test_a_refused_person_reads_a_page(robot: httpx.Client) -> None:
    refused = robot.get("/", headers={"Accept": PERSON["Accept"]})
    assert (refused.status_code, refused.headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert "infince.network.crawling" in refused.text
    assert refused.headers["x-request-id"] in refused.text


def test_the_demo_key_opens_the_api_to_a_robot(robot: httpx.Client) -> None:
    assert robot.get("/api/items", headers={"X-API-Key": "demo"}).status_code == 200


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param({"X-API-Key": "guessed"}, id="a made-up key"),
        pytest.param({"X-API-Key": ""}, id="an empty key"),
        pytest.param({"X-API-Key": "2a97516c354b68848cdbd8f54a226a0a55b21ed138e207ad6c5cbb9c00aa5aea"}, id="a digest"),
        pytest.param({"Cookie": "session=guessed"}, id="a made-up session"),
        pytest.param({"Cookie": "session=demo; x-api-key=demo"}, id="a key as a cookie"),
        pytest.param({"Authorization": "Bearer demo"}, id="a key as a token"),
        pytest.param({"X-Remote-User": "demo"}, id="a user said by a header"),
    ],
)
def test_made_up_credentials_open_nothing(robot: httpx.Client, credentials: dict[str, str]) -> None:
    refused = robot.get("/api/items", headers=credentials)
    assert (refused.status_code, "cimcon.wrongful.interfaces" in clauses(refused)) == (403, True)


def test_a_real_session_does_not_open_the_api_to_a_robot(robot: httpx.Client, browser: httpx.Client) -> None:
    signed_in = browser.post("/login", data={"email": "demo@example.com", "password": "demo"})
    robot.cookies.update(signed_in.cookies)
    assert robot.get("/api/items").status_code == 403


# --- interfaces -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/internal/users",
        "/internal/received",
        "/internal/",
        "/Internal/users",
        "/internal//users",
        "//internal/users",
        "/%69nternal/users",
        "/internal%2fusers",
        "/assets/../internal/users",
        "/assets/%2e%2e/internal/users",
        "/api/items/..%2f..%2finternal/users",
        "/assets/..;/internal/users",
        "/internal/users?x=/api/items",
        "/internal/users.json",
        "/.env",
        "/admin",
    ],
)
def test_what_is_no_public_interface_does_not_exist(site: Site, customer: httpx.Client, target: str) -> None:
    answered = customer.get(httpx.URL(site.url, raw_path=target.encode()))
    assert answered.status_code in {400, 404}
    assert "ops@example.com" not in answered.text
    assert "x-request-id" in answered.headers


def test_a_path_that_nobody_may_reach_says_nothing_of_itself(customer: httpx.Client) -> None:
    denied = customer.get("/internal/users")
    assert (denied.status_code, problem(denied)["title"]) == (404, "Not Found")
    assert "clauses" not in problem(denied)


def test_a_method_that_is_not_offered_is_refused_with_those_that_are(customer: httpx.Client) -> None:
    refused = customer.delete("/api/items")
    assert refused.status_code == 405
    assert {"GET", "POST"} <= set(refused.headers["allow"].split(", "))
    assert "DELETE" not in refused.headers["allow"]
    assert "cimcon.wrongful.interfaces" in clauses(refused)


def test_a_body_of_a_type_that_is_not_taken_is_refused_before_the_application_reads_it(
    site: Site, customer: httpx.Client
) -> None:
    before = site.received()
    refused = customer.post("/api/items", content=b"<item/>", headers={"Content-Type": "application/xml"})
    assert (refused.status_code, refused.headers["accept"]) == (415, "application/json")
    assert "cimcon.wrongful.interfaces" in clauses(refused)
    assert site.received() == before


# --- limits -----------------------------------------------------------------------------------------------------------


def test_300_quick_requests_with_one_key_are_too_many_and_nobody_else_notices(site: Site) -> None:
    address, key = new_address(), new_key()
    with visitor(site.url, CURL | key, address) as greedy:
        answers = [greedy.get("/api/items") for _ in range(300)]
    passed, refused = [answer for answer in answers if answer.status_code == 200], answers[-1]
    assert refused.status_code == 429
    assert 240 <= len(passed) < 250, "where a minute ends in between, the sliding window lets a few more through"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit"].startswith('"api";r=0;t=')
    assert '"api";q=240;w=60' in refused.headers["ratelimit-policy"]
    assert {"cimcon.disruption.parameters", "cimcon.disruption.overload"} <= clauses(refused)
    with visitor(site.url, CURL | key) as elsewhere:
        assert elsewhere.get("/api/items").status_code == 429, "the key is counted wherever it is used"
    with visitor(site.url, PERSON, address) as neighbour:
        assert neighbour.get("/api/items").status_code == 200
    with visitor(site.url, CURL | new_key(), address) as colleague:
        assert colleague.get("/api/items").status_code == 200


def test_a_made_up_session_for_every_request_is_no_way_around_a_limit(site: Site) -> None:
    with visitor(site.url, PERSON) as greedy:
        statuses = [greedy.get("/api/items", headers={"Cookie": f"session={n}"}).status_code for n in range(300)]
    assert (statuses[0], statuses[-1]) == (200, 429)


def test_passwords_cannot_be_guessed_quickly(site: Site) -> None:
    with visitor(site.url, PERSON | {"Accept": "*/*"}) as thief:
        guesses = [{"email": "demo@example.com", "password": f"guess {number}"} for number in range(11)]
        answers = [thief.post("/login", data=guess) for guess in guesses]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert "infince.security.access" in clauses(answers[-1])
