"""The gateway as its operators see it: logs, metrics, health, the runtime switch, the commands and their complaints."""

import json
import re
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.examples.running import (
    CURL,
    PERSON,
    Site,
    new_key,
    run_app,
    run_aupgate,
    run_gateway,
    until,
    visitor,
)
from tests.services import short_directory

# --- logs -------------------------------------------------------------------------------------------------------------


def test_every_finding_is_a_line_of_json_with_the_id_of_the_request(site: Site, robot: httpx.Client) -> None:
    refused = robot.get("/api/items?token=secret")
    [line] = site.findings(refused)
    assert refused.json()["instance"] == f"urn:uuid:{line['request_id']}"
    assert (line["event"], line["rule"], line["mode"], line["enforced"]) == (
        "finding", "scrapers.http_library", "enforce", True
    )  # fmt: skip
    assert line["clauses"] == [clause["id"] for clause in refused.json()["clauses"]]
    assert line["evidence"]["agent"] == CURL["User-Agent"]


def test_no_secret_is_in_any_log(site: Site) -> None:
    key = new_key()
    with visitor(site.url, CURL | key | {"Cookie": "session=hush-hush"}) as client:
        answered = client.delete("/api/items?password=hush-hush&page=2")
    assert answered.status_code == 405
    [finding] = site.findings(answered)
    lines = json.dumps([finding, site.access(answered)])
    assert "hush-hush" not in lines
    assert key["X-API-Key"] not in lines
    assert "page=2" in finding["target"]
    assert finding["account_verified"] is True


def test_every_request_is_a_line_of_json_with_what_became_of_it(site: Site, browser: httpx.Client) -> None:
    answered = browser.post("/login", data={"email": "demo@example.com", "password": "wrong"})
    line = site.access(answered)
    assert {name: line[name] for name in ("event", "method", "target", "status", "refused", "aborted", "agent")} == {
        "event": "access",
        "method": "POST",
        "target": "/login",
        "status": 401,
        "refused": False,
        "aborted": False,
        "agent": PERSON["User-Agent"],
    }
    assert (line["bytes_in"], line["bytes_out"]) == (len(answered.request.content), len(answered.content))


# --- the listener for operators ---------------------------------------------------------------------------------------


def test_operators_see_health_and_metrics_and_visitors_do_not(site: Site, robot: httpx.Client) -> None:
    assert robot.get("/").status_code == 403
    with site.operator() as operator:
        assert operator.get("/healthz").json() == {"status": "ok"}
        assert operator.get("/readyz").json() == {"status": "ready"}
        metrics = operator.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    assert re.search(r'^aupgate_findings_total\{.*rule="scrapers.http_library".*\} [1-9]', metrics.text, re.MULTILINE)
    for path in ("/metrics", "/healthz", "/readyz"):
        assert robot.get(path, headers=new_key()).status_code == 404


def test_a_signal_makes_everything_observe_and_another_enforce_again(site: Site, robot: httpx.Client) -> None:
    assert robot.get("/").status_code == 403
    site.gateway.process.send_signal(signal.SIGUSR1)
    try:
        until(lambda: robot.get("/").status_code == 200, "the switch to observing")
        with site.operator() as operator:
            assert re.search(r"^aupgate_observing 1", operator.get("/metrics").text, re.MULTILINE)
        [line] = site.findings(robot.get("/"))
        assert (line["rule"], line["mode"], line["enforced"]) == ("scrapers.http_library", "observe", False)
    finally:
        site.gateway.process.send_signal(signal.SIGUSR1)
    until(lambda: robot.get("/").status_code == 403, "the switch to enforcing")


# --- an application that is away --------------------------------------------------------------------------------------


def test_the_gateway_waits_for_an_application_that_starts_later_and_answers_for_one_that_is_away() -> None:
    with short_directory("away") as directory:
        where = directory / "app.sock"
        with (
            run_gateway(directory, f"unix:{where}") as (gateway, url),
            visitor(url, CURL | {"X-API-Key": "demo"}) as client,
        ):
            with httpx.Client(transport=httpx.HTTPTransport(uds=f"{directory}/gateway.admin")) as operator:
                ready = "http://operators.example/readyz"
                assert operator.get("http://operators.example/healthz").status_code == 200
                waits = operator.get(ready)
                assert (waits.status_code, waits.json()["waiting"]) == (503, ["interfaces"])
                assert refused(client.get("/api/items")) == 503
                assert refused(client.get("/internal/users")) == 404
                with run_app(directory, at=where):
                    until(lambda: operator.get(ready).status_code == 200, "readiness")
                    assert client.get("/api/items").status_code == 200
                    assert refused(client.get("/nothing")) == 404
            away = client.get("/api/items")
            assert refused(away) == 502
            assert str(where) not in away.text
        assert gateway.process.returncode == 0
        assert gateway.failures() == []


def refused(response: httpx.Response) -> int:
    """Return the status of an answer of the gateway's own, which names the request as the logs do."""
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["instance"] == f"urn:uuid:{response.headers['x-request-id']}"
    return response.status_code


# --- what cannot start ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", ["listen", "admin"])
def test_an_address_that_is_in_use_is_told_in_one_line(site: Site, taken: str) -> None:
    address = site.url.removeprefix("http://")
    settings = {"AUPGATE_ADMIN__LISTEN": address if taken == "admin" else "off"}
    listen = address if taken == "listen" else "127.0.0.1:0"
    done = run_aupgate("serve", "--upstream", site.app_url, "--listen", listen, settings=settings)
    assert (done.returncode, done.stdout) == (1, "")
    *_, told = done.stderr.splitlines()  # before it may stand that few files may be open here
    assert "Traceback" not in done.stderr
    assert f'"{address}"' in told
    assert "in use" in told


BROKEN = """\
[gateway]
upstream = "ftp://127.0.0.1"
mode = "enforced"

[policies.scraper]
mode = "observe"

[policies.uploads]
max_size = "25 MegaBytes"

[[policies.rate_limits.limits]]
name = "api"
rate = "often"
"""


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_broken_configuration_is_told_whole_and_with_lines(tmp_path: Path, command: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(BROKEN, "utf-8")
    done = run_aupgate(command, "--config", str(config))
    assert (done.returncode, done.stdout) == (2, "")
    for line, key, value in [
        (2, "gateway.upstream", "ftp://127.0.0.1"),
        (3, "gateway.mode", "enforced"),
        (5, "policies.scraper", ""),
        (9, "policies.uploads.max_size", "25 MegaBytes"),
        (13, "policies.rate_limits.limits[0].rate", "often"),
    ]:
        [told] = [told for told in done.stderr.splitlines() if key in told]
        assert f"{config.name}:{line}" in told
        assert value in told
    assert "5 problems" in done.stderr
    assert "Traceback" not in done.stderr


# --- the commands -----------------------------------------------------------------------------------------------------


def explain(upstream: str, request: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["explain", "--config", "examples/saas/config.toml", "--request", "-", *arguments]
    return run_aupgate(*command, stdin=request.encode(), settings={"AUPGATE_GATEWAY__UPSTREAM": upstream})


def test_explain_names_policy_rule_and_clauses_of_a_refused_request(site: Site) -> None:
    done = explain(site.app_url, "GET /.env HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8.11.0\r\n\r\n")
    assert (done.returncode, done.stderr) == (3, "")
    assert re.search(r"^interfaces +enforce +refuse +interfaces\.unknown_path", done.stdout, re.MULTILINE)
    assert re.search(r"^scrapers +enforce +refuse +scrapers\.http_library", done.stdout, re.MULTILINE)
    assert "verdict: refuse with 404, rule interfaces.unknown_path" in done.stdout
    assert "clause cimcon.wrongful.interfaces" in done.stdout


def test_explain_speaks_json(site: Site) -> None:
    done = explain(site.app_url, "DELETE /api/items HTTP/1.1\r\nHost: localhost\r\nX-API-Key: demo\r\n\r\n", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["verdict"]["rule"], report["verdict"]["status"]) == (3, "interfaces.method", 405)
    assert report["request"]["account"] == {"id": "demo", "source": "key:x-api-key", "verified": True}
    assert "cimcon.wrongful.interfaces" in {clause["id"] for clause in report["verdict"]["clauses"]}


def test_explain_says_what_it_could_not_ask_the_application(tmp_path: Path) -> None:
    head = f"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {PERSON['User-Agent']}\r\n\r\n"
    done = explain(f"unix:{tmp_path}/nobody.sock", head)
    assert "not ready" in done.stdout
    assert "Traceback" not in done.stderr


def test_coverage_lists_every_clause_of_both_policies() -> None:
    plain = run_aupgate("coverage", "--config", "examples/saas/config.toml")
    listed = re.findall(r"^((?:infince|cimcon)\.\S+) ", plain.stdout, re.MULTILINE)
    assert (plain.returncode, len(listed), len(set(listed))) == (0, 49, 49)
    assert plain.stdout.splitlines()[-1].startswith("49 clauses: ")
    assert "not built" in plain.stdout
    as_json = run_aupgate("coverage", "--config", "examples/saas/config.toml", "--json")
    assert [clause["id"] for clause in json.loads(as_json.stdout)] == listed


def test_check_says_what_the_example_enforces() -> None:
    done = run_aupgate("check", "--config", "examples/saas/config.toml")
    assert (done.returncode, done.stderr) == (0, "")
    modes = re.findall(r"^(\w+) +(enforce|observe|off) ", done.stdout, re.MULTILINE)
    assert {mode for _, mode in modes} == {"enforce"}
    assert "note:" not in done.stdout
