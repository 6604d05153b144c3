"""What holds for an application behind aupgate, whatever framework it is written with.

Each behaviour is a function whose name says it. The applications that the test files build serve:

    GET  /            a page                            POST /items    answers with the JSON it got
    GET  /seen        what the handler sees             POST /upload   name, size and digest of the part "file"
    GET  /stream      "first", and "last" once released POST /release  releases it
    GET  /state       what the start of the lifespan left for handlers, or "none"
    GET  /limited, /internal/users, /openapi.json
    GET  /boom        fails; the application's own page for errors is "our own 500"
    GET  /teapot      raises an exception that the application answers with 418 "our own 418"
    GET  /nowhere     is not there; the application's own page for that is "our own 404"
    POST /later       does work after its answer         ws /echo, /internal/echo    send back what they get
    GET  /part/seen, /part/internal/users                a mounted application, which also shows its root_path
"""

import json
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, Final

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.integrations.given import DESCRIBED, EXACT, ORIGIN, PNG, SPELLINGS, SPOOFED, STRICT
from tests.integrations.site import BROWSER, GUARD, Seen, Site, Sites, serving
from tests.services import EICAR

Behaviour = Callable[[Sites], None]


def problem(response: Any, status: int) -> dict[str, Any]:
    """Return the problem details of a refusal."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = json.loads(response.content)
    assert found["status"] == status
    return found


def ask_problem(site: Site, path: str, status: int, **options: Any) -> dict[str, Any]:
    return problem(site.get(path, headers={"accept": "application/json", **options}), status)


def as_client(address: str, **headers: str) -> dict[str, str]:
    """Return the fields that a trusted proxy sends for the client at `address`."""
    return {"x-forwarded-for": address, "accept": "application/json", **headers}


def upload(site: Site, content: bytes, name: str = "photo.png", type_: str = "image/png") -> Any:
    files = {"file": (name, content, type_)}
    return site.post("/upload", files=files, data={"title": "Holidays"}, headers={"accept": "application/json"})


# -- what passes -------------------------------------------------------------------------------------------------------


def a_browser_is_not_refused_without_configuration(sites: Sites) -> None:
    site = sites.site()
    page = site.get("/")
    assert (page.status_code, page.text) == (200, "<h1>hello</h1>")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["x-request-id"]
    assert site.post("/items", json={"name": "caf\u00e9"}).json() == {"name": "caf\u00e9"}


def a_picture_is_uploaded_without_configuration(sites: Sites) -> None:
    answer = upload(sites.site(), PNG)
    assert answer.json() == {"name": "photo.png", "size": len(PNG), "sha256": sha256(PNG).hexdigest()}


def the_applications_own_errors_pass(sites: Sites) -> None:
    alone = {"connection": "close"}  # uvicorn closes the connection after a failure, at any moment
    for config in (None, STRICT):
        answers = [sites.site(config).get(path, headers=alone) for path in ("/nowhere", "/teapot", "/boom")]
        assert [(answer.status_code, answer.text) for answer in answers] == [
            (404, "our own 404"),
            (418, "our own 418"),
            (500, "our own 500"),
        ]


def a_response_streams(sites: Sites) -> None:
    """The last piece is made only after the first has arrived here."""
    site = sites.site(STRICT)
    with site.client.stream("GET", "/stream") as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"first"
        assert site.post("/release").status_code == 200
        assert b"".join(pieces) == b"last"


def the_application_learns_that_a_client_went_away(sites: Sites) -> None:
    site = sites.site(STRICT)
    for method, body in (("GET", None), ("POST", b"{}")):
        site.seen.ended.clear()
        with site.client.stream(method, "/stream", content=body) as response:
            assert next(response.iter_raw()) == b"first"
        assert site.seen.ended.wait(GUARD)


def work_after_the_response_is_done(sites: Sites) -> None:
    site = sites.site(STRICT)
    assert site.post("/later", json={}).status_code < 300
    assert site.seen.worked.wait(GUARD)


def a_websocket_echoes(sites: Sites) -> None:
    for config in (None, STRICT):
        address = f"ws://127.0.0.1:{sites.site(config).port}/echo"
        with connect(address, user_agent_header=BROWSER["user-agent"], open_timeout=GUARD) as socket:
            for message in ("hello", "caf\u00e9"):
                socket.send(message)
                assert socket.recv(GUARD) == message
            assert socket.response is not None
            assert socket.response.headers["x-request-id"]


# -- what the application sees -----------------------------------------------------------------------------------------


def what_clients_must_not_set_does_not_reach_the_application(sites: Sites) -> None:
    seen = sites.site().get("/seen", headers=SPOOFED).json()
    assert "203.0.113.6" not in json.dumps(seen)
    assert {name.lower() for name in SPOOFED} & seen["headers"].keys() == set()
    assert seen["headers"]["user-agent"] == BROWSER["user-agent"]
    assert seen["findings"] == ["headers.override", "headers.spoofed"]


def the_application_reads_what_was_decided(sites: Sites) -> None:
    answer = sites.site().get("/seen", headers={"x-request-id": "chosen by the client"})
    seen = answer.json()
    assert seen["request_id"] == seen["headers"]["x-request-id"] == answer.headers["x-request-id"]
    assert (seen["address"], seen["path"], seen["account"]) == ("127.0.0.1", "/seen", None)


def behind_a_trusted_proxy_the_application_sees_the_client(sites: Sites) -> None:
    seen = sites.site(STRICT).get("/seen", headers=as_client("198.51.100.9")).json()
    assert seen["remote"] == seen["address"] == "198.51.100.9"


def the_session_names_the_account(sites: Sites) -> None:
    """`account=` as documented. A verified account may use any program; one that is made up is none."""
    site, robot = sites.site(STRICT, "account"), {"user-agent": "Scrapy/2.11", "accept": "application/json"}
    answer = site.post("/login")
    assert answer.status_code == 200
    [(name, session)] = answer.cookies.items()
    site.client.cookies.clear()
    for cookie, account, status in ((session, "ann", 200), (session[:-1], None, 403), ("", None, 403)):
        fields = {"cookie": f"{name}={cookie}"}
        assert site.get("/seen", headers=fields).json()["account"] == account
        assert site.get("/seen", headers=fields | robot).status_code == status


# -- what is refused ---------------------------------------------------------------------------------------------------


def an_infected_upload_is_refused_and_the_application_gets_no_byte(sites: Sites) -> None:
    site = sites.site()
    paths, received = list(site.seen.paths), site.seen.received
    found = problem(upload(site, EICAR, "invoice.txt", "text/plain"), 422)
    assert found["type"] == "urn:aupgate:rule:uploads.infected"
    assert found["clauses"]
    assert (site.seen.paths, site.seen.received) == (paths, received)


def a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(sites: Sites) -> None:
    site = sites.site()
    paths = list(site.seen.paths)
    answer = site.raw(
        b"POST /upload HTTP/1.1\r\nhost: app.example\r\ncontent-type: image/png\r\n"
        b"content-length: 27262976\r\naccept: application/json\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert site.seen.paths == paths


def a_body_that_turns_out_too_large_is_refused(sites: Sites) -> None:
    site = sites.site(STRICT)
    paths = list(site.seen.paths)
    answer = site.post("/items", content=iter([b"x" * 40_000] * 2), headers={"accept": "application/json"})
    problem(answer, 413)
    assert site.seen.paths == paths


def an_internal_path_is_not_there(sites: Sites) -> None:
    assert sites.site().get("/internal/users").text == "secret"
    site = sites.site(STRICT)
    for spelling in ("/internal/users", "/%69nternal/users"):
        assert "detail" not in ask_problem(site, spelling, 404)
    assert ask_problem(site, "/internal%2Fusers", 400)["type"].endswith("protocol.ambiguous_path")
    assert "/internal/users" not in site.seen.paths


def no_spelling_of_a_denied_path_reaches_it(sites: Sites) -> None:
    """Frameworks read paths each in its own way; none may find what the rule for it does not."""
    site = sites.site(EXACT)
    for target in SPELLINGS.split():
        answer = site.raw(f"GET {target} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ")), f"{target} -> {answer!r}"


def a_client_over_its_limit_is_told_when_to_come_again_and_others_are_not(sites: Sites) -> None:
    site, client = sites.site(STRICT), as_client("198.51.100.20")
    assert [site.get("/limited", headers=client).status_code for _ in range(2)] == [200, 200]
    refused = site.get("/limited", headers=client)
    problem(refused, 429)
    assert 0 < int(refused.headers["retry-after"]) <= 3600
    assert site.get("/limited", headers=as_client("198.51.100.21")).status_code == 200


def a_refused_websocket_is_answered_with_403(sites: Sites) -> None:
    site = sites.site(STRICT)
    paths = list(site.seen.paths)
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{site.port}/echo", user_agent_header="Scrapy/2.11", open_timeout=GUARD)
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body or b"")["type"] == "urn:aupgate:rule:scrapers.scraper"
    assert site.seen.paths == paths


def a_websocket_to_an_internal_path_is_not_there(sites: Sites) -> None:
    site = sites.site(STRICT)
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{site.port}/internal/echo", open_timeout=GUARD)
    assert refused.value.response.status_code == 404
    assert "/internal/echo" not in site.seen.paths


# -- where it is mounted -----------------------------------------------------------------------------------------------


def the_lifespan_runs_and_its_state_reaches_handlers(sites: Sites) -> None:
    with sites.started(STRICT, lifespan="on") as site:
        assert site.get("/state").text == "ready"
        assert site.seen.events == ["start"]
    assert site.seen.events == ["start", "end"]


def without_a_lifespan_everything_works_too(sites: Sites) -> None:
    site = sites.site(STRICT, lifespan="off")
    assert site.get("/").status_code == 200
    assert site.get("/state").text == "none"
    ask_problem(site, "/internal/users", 404)
    problem(upload(site, EICAR), 422)
    assert site.seen.events == []


def below_a_root_path_rules_match_what_the_application_routes(sites: Sites) -> None:
    site = sites.site(STRICT, root_path="/shop")
    assert site.get("/").status_code == 200
    assert site.get("/seen").json()["path"] == "/seen"
    ask_problem(site, "/internal/users", 404)
    assert "/shop/internal/users" not in site.seen.paths


def around_a_mounted_application_rules_match_the_path_below_it(sites: Sites) -> None:
    seen = Seen()
    outer = Starlette(routes=[Mount("/api", sites.mounted(seen, STRICT))])
    with serving(outer, seen) as site:
        assert site.get("/api/").text == "<h1>hello</h1>"
        assert site.get("/api/seen").json()["path"] == "/seen"
        ask_problem(site, "/api/internal/users", 404)


def a_mounted_application_is_protected_with_the_one_it_is_in(sites: Sites) -> None:
    site = sites.site(STRICT)
    seen = site.get("/part/seen", headers=SPOOFED).json()
    assert (seen["path"], seen["root_path"]) == ("/part/seen", "/part")
    assert "x-real-ip" not in seen["headers"]
    ask_problem(site, "/part/internal/users", 404)
    assert sites.site().get("/part/internal/users").text == "secret"


def a_script_of_another_origin_can_read_a_refusal(sites: Sites) -> None:
    """CORSMiddleware outside, as documented."""
    site = sites.site(STRICT, "cors")
    refused = site.get("/internal/users", headers={"origin": ORIGIN, "accept": "application/json"})
    problem(refused, 404)
    assert refused.headers["access-control-allow-origin"] == ORIGIN
    assert "X-Request-Id" in refused.headers["access-control-expose-headers"]
    problem(upload_from(site, EICAR), 422)
    assert site.get("/", headers={"origin": ORIGIN}).headers["access-control-allow-origin"] == ORIGIN


def upload_from(site: Site, content: bytes) -> Any:
    answer = site.post("/upload", files={"file": ("a.txt", content)}, headers={"origin": ORIGIN, "accept": "*/*"})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    return answer


def preflights_are_not_counted(sites: Sites) -> None:
    """Neither where CORSMiddleware answers them nor where they pass through to the application."""
    asked = {"origin": ORIGIN, "access-control-request-method": "GET"}
    for number, site in enumerate([sites.site(STRICT, "cors"), sites.site(STRICT)]):
        client = as_client(f"198.51.100.{30 + number}")
        preflights = [site.client.options("/limited", headers=client | asked) for _ in range(4)]
        assert {preflight.status_code for preflight in preflights} & {403, 429} == set()
        statuses = [site.get("/limited", headers=client).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]


def the_applications_own_description_says_what_is_offered(sites: Sites) -> None:
    """It is read from the application: at its start, or with the first request where there is no lifespan."""
    config = DESCRIBED.format(openapi=sites.framework.openapi)
    for lifespan in ("auto", "off"):
        site = sites.site(config, lifespan=lifespan)
        assert site.get("/").status_code == 200
        assert ask_problem(site, "/not-described", 404)["type"] == "urn:aupgate:rule:interfaces.unknown_path"


# -- the table ---------------------------------------------------------------------------------------------------------

NEEDS: Final[dict[Behaviour, frozenset[str]]] = {
    a_browser_is_not_refused_without_configuration: frozenset(),
    a_picture_is_uploaded_without_configuration: frozenset(),
    the_applications_own_errors_pass: frozenset(),
    a_response_streams: frozenset(),
    the_application_learns_that_a_client_went_away: frozenset(),
    work_after_the_response_is_done: frozenset({"background"}),
    a_websocket_echoes: frozenset({"websocket"}),
    what_clients_must_not_set_does_not_reach_the_application: frozenset(),
    the_application_reads_what_was_decided: frozenset(),
    behind_a_trusted_proxy_the_application_sees_the_client: frozenset(),
    the_session_names_the_account: frozenset({"session"}),
    an_infected_upload_is_refused_and_the_application_gets_no_byte: frozenset(),
    a_body_that_says_it_is_too_large_is_refused_before_it_is_sent: frozenset(),
    a_body_that_turns_out_too_large_is_refused: frozenset(),
    an_internal_path_is_not_there: frozenset(),
    no_spelling_of_a_denied_path_reaches_it: frozenset(),
    a_client_over_its_limit_is_told_when_to_come_again_and_others_are_not: frozenset(),
    a_refused_websocket_is_answered_with_403: frozenset({"websocket"}),
    a_websocket_to_an_internal_path_is_not_there: frozenset({"websocket"}),
    the_lifespan_runs_and_its_state_reaches_handlers: frozenset({"lifespan"}),
    without_a_lifespan_everything_works_too: frozenset(),
    below_a_root_path_rules_match_what_the_application_routes: frozenset(),
    around_a_mounted_application_rules_match_the_path_below_it: frozenset(),
    a_mounted_application_is_protected_with_the_one_it_is_in: frozenset({"mount"}),
    a_script_of_another_origin_can_read_a_refusal: frozenset(),
    preflights_are_not_counted: frozenset(),
    the_applications_own_description_says_what_is_offered: frozenset(),
}
"""Every behaviour, and what a framework must have for it."""


def behaviours(*has: str) -> Iterable[Any]:
    """Return the behaviours that a framework with these features shows, as parameters of a test."""
    return [pytest.param(each, id=each.__name__) for each, needs in NEEDS.items() if needs <= set(has)]
