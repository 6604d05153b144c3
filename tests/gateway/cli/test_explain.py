import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.cli.running import Result, aupgate, on_a_terminal
from tests.services import EICAR

CONFIG = """
[aup]
packs = ["infince", "cimcon"]
contact = "mailto:abuse@acme.example"

[client]
trusted_proxies = []

[account]
sources = ["key:x-api-key", "cookie:session"]
[account.keys]
file = "keys.toml"

[log]
audit = "audit.jsonl"

[policies.interfaces]
mode = "enforce"
default = "refuse"
allow = [{ path = "/", methods = ["GET"] }, { path = "/items", methods = ["GET", "POST", "PUT"] }]
deny = [{ path = "/internal/{rest:path}" }]

[policies.scrapers]
mode = "enforce"
exempt = [{ client = "198.51.100.0/24" }]

[policies.uploads]
max_size = "1 KiB"
"""

BROWSER = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    key = f'[[keys]]\nid = "acme"\nsha256 = "{sha256(b"demo").hexdigest()}"\n'
    (tmp_path / "keys.toml").write_text(key, encoding="utf-8")
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path / "config.toml"


def request(line: str = "GET / HTTP/1.1", *fields: str, body: bytes = b"", end: str = "\r\n") -> bytes:
    length = [f"Content-Length: {len(body)}"] if body else []
    return end.join([line, "Host: app.example", BROWSER, *fields, *length, "", ""]).encode() + body


def multipart(content: bytes, end: bytes = b"\r\n") -> bytes:
    disposition = b'Content-Disposition: form-data; name="file"; filename="notes.txt"'
    return end.join([b"--b", disposition, b"Content-Type: text/plain", b"", content, b"--b--", b""])


def explain(config: Path, raw: bytes, *options: str) -> Result:
    return aupgate("explain", "--config", config, "--request", "-", *options, stdin=raw)


def report(config: Path, raw: bytes, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(explain(config, raw, "--json", *options).out)
    return found


def step(found: dict[str, Any], policy: str) -> dict[str, Any]:
    (only,) = [each for each in found["steps"] if each["policy"] == policy]
    return dict(only)


def test_every_policy_has_a_step_and_a_person_passes(config: Path) -> None:
    result = explain(config, request())

    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == "GET / from 192.0.2.1, no account"
    assert [line.split()[0] for line in lines[1:-1]] == [
        "policy", "protocol", "headers", "networks", "interfaces", "scrapers", "rate_limits", "uploads",
    ]  # fmt: skip
    assert lines[-1] == "verdict: allow"


def test_a_refusal_names_policy_rule_status_and_clauses(config: Path) -> None:
    result = explain(config, request("GET /internal/users HTTP/1.1"))

    assert result.code == 3
    assert result.rows["interfaces"][:2] == ["enforce", "refuse"]
    verdict = result.out.partition("verdict: ")[2].splitlines()
    assert verdict[0] == "refuse with 404, rule interfaces.denied"
    assert "  clause cimcon.wrongful.interfaces: Supported interfaces only" in verdict


@pytest.mark.parametrize(
    ("raw", "rule", "status"),
    [
        pytest.param(request(end="\n"), None, None, id="LF line ends"),
        pytest.param(request("GET / HTTP/1.0"), None, None, id="HTTP/1.0"),
        pytest.param(request("GET / HTTP/2"), None, None, id="HTTP/2"),
        pytest.param(b"GET / HTTP/1.1\r\n" + BROWSER.encode() + b"\r\n\r\n", "protocol.host", 400, id="no Host"),
        pytest.param(request("GET / HTTP/1.1", " folded"), "protocol.syntax", 400, id="a folded line"),
        pytest.param(request("GET /%69nternal/users HTTP/1.1"), "interfaces.denied", 404, id="a path in disguise"),
        pytest.param(request("GET http://app.example/ HTTP/1.1"), None, None, id="the absolute form"),
        pytest.param(request("GET http://other.example/ HTTP/1.1"), "interfaces.open_proxy", 403, id="an open proxy"),
        pytest.param(request("PATCH /items HTTP/1.1"), "interfaces.method", 405, id="another method"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: sqlmap/1.8\r\n\r\n", "scrapers.scanner", 403, id="a scanner"
        ),
        pytest.param(
            request("POST /items HTTP/1.1", "Content-Type: text/plain", body=EICAR), "uploads.infected", 422, id="EICAR"
        ),
        pytest.param(
            request("PUT /items HTTP/1.1", "Content-Type: text/plain", body=b"a" * 1025), "uploads.too_large", 413,
            id="a body beyond its limit",
        ),
        pytest.param(
            request("POST /items HTTP/1.1", "Transfer-Encoding: chunked") + b"a" * 1025, "uploads.too_large", 413,
            id="a body beyond its limit, by counted bytes",
        ),
        pytest.param(
            request("POST /items HTTP/1.1", "Transfer-Encoding: chunked", "Content-Type: text/plain") + EICAR,
            "uploads.infected", 422, id="EICAR, chunked",
        ),
        pytest.param(
            request("POST /items HTTP/1.1", "Content-Type: multipart/form-data; boundary=b", body=multipart(EICAR)),
            "uploads.infected", 422, id="EICAR in a multipart body",
        ),
        pytest.param(
            request("POST /items HTTP/1.1", "Content-Type: multipart/form-data; boundary=b", body=multipart(EICAR),
                    end="\n"),
            "uploads.infected", 422, id="EICAR in a multipart body behind LF line ends",
        ),
        pytest.param(
            request("POST /items HTTP/1.1", "Content-Type: multipart/form-data; boundary=b", body=multipart(b"Hello")),
            None, None, id="a sound multipart body",
        ),
        pytest.param(
            request("POST /items HTTP/1.1", "Content-Type: multipart/form-data; boundary=b",
                    body=multipart(b"Hello", b"\n")),
            "uploads.malformed", 400, id="a multipart body with LF line ends",
        ),
        pytest.param(
            request("GET /items HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket"), None, None, id="a websocket"
        ),
        pytest.param(
            request("GET /ws HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket"), "interfaces.unknown_path", 404,
            id="a websocket where there is none",
        ),
    ],
)  # fmt: skip
def test_a_raw_request_is_judged_as_the_gateway_would(
    raw: bytes, rule: str | None, status: int | None, config: Path
) -> None:
    result = explain(config, raw, "--json")

    verdict = json.loads(result.out)["verdict"]
    assert (verdict["allow"], verdict.get("rule"), verdict.get("status")) == (rule is None, rule, status)
    assert result.code == (0 if rule is None else 3)


def test_the_json_report_holds_request_steps_and_the_answer(config: Path) -> None:
    found = report(config, request("GET /internal/users HTTP/1.1", "Cookie: session=abc"), "--client", "2001:db8::1")

    assert found["request"] == {
        "method": "GET",
        "path": "/internal/users",
        "kind": "http",
        "scheme": "https",
        "client": "2001:db8::1",
        "network": "2001:db8::/64",
        "certain": True,
        "account": {"id": "abc", "source": "cookie:session", "verified": False},
        "note": "",
    }
    denied = step(found, "interfaces")["findings"][0]
    assert (denied["rule"], denied["action"], denied["mode"], denied["status"]) == (
        "interfaces.denied", "refuse", "enforce", 404,
    )  # fmt: skip
    assert "cimcon.wrongful.interfaces" in denied["clauses"]
    verdict = found["verdict"]
    assert verdict["policy"] == "interfaces"
    assert verdict["headers"]["content-type"] == "application/problem+json"
    assert json.loads(verdict["body"])["contact"] == "mailto:abuse@acme.example"


def test_all_policies_are_asked_even_behind_the_one_that_refuses(config: Path) -> None:
    raw = b"GET /internal/x HTTP/1.1\r\nUser-Agent: sqlmap/1.8\r\n\r\n"

    found = report(config, raw)

    refusing = [each["policy"] for each in found["steps"] if each["result"] == "refuse"]
    assert refusing == ["protocol", "interfaces", "scrapers"]
    assert found["verdict"]["policy"] == "protocol"


def test_what_only_observes_is_said_and_refuses_nobody() -> None:
    result = aupgate("explain", "--request", "-", stdin=b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: sqlmap/1.8\r\n\r\n")

    assert result.code == 0
    assert result.rows["scrapers"][:2] == ["observe", "pass"]
    assert result.out.endswith("observed only: scrapers.scanner would refuse with 403\nverdict: allow\n")


def test_fields_that_are_taken_away_are_listed(config: Path) -> None:
    found = report(config, request("GET / HTTP/1.1", "X-Forwarded-For: 192.0.2.9", "X_Remote_User: root"))

    headers = step(found, "headers")
    assert headers["removes"] == ["x-forwarded-for", "x_remote_user"]
    assert [each["rule"] for each in headers["findings"]] == ["headers.spoofed"]
    assert found["request"]["client"] == "192.0.2.1"


def test_a_known_key_is_a_verified_account(config: Path) -> None:
    result = explain(config, request("GET / HTTP/1.1", "X-API-Key: demo"))

    assert result.out.startswith("GET / from 192.0.2.1, account acme (verified, key:x-api-key)\n")


def test_a_made_up_account_is_called_that(config: Path) -> None:
    result = explain(config, request("GET / HTTP/1.1", "Cookie: session=abc"))

    assert "account abc (not verified, cookie:session)" in result.out


def test_the_client_can_be_one_that_is_exempt(config: Path) -> None:
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: sqlmap/1.8\r\n\r\n"

    assert explain(config, raw).code == 3
    exempt = explain(config, raw, "--client", "198.51.100.7")
    assert exempt.code == 0
    assert exempt.rows["scrapers"] == ["enforce", "exempt", "nothing"]


def test_a_client_that_may_be_a_proxy_is_called_that() -> None:
    raw = request("GET / HTTP/1.1", "X-Forwarded-For: 203.0.113.9")

    result = aupgate("explain", "--request", "-", "--client", "10.0.0.1", stdin=raw)

    assert "from 10.0.0.1 (or a proxy for others), no account" in result.out


@pytest.mark.parametrize(
    ("fields", "scheme", "expected"),
    [
        pytest.param((), "https", "https", id="https"),
        pytest.param((), "http", "http", id="http"),
        pytest.param(("Connection: upgrade", "Upgrade: websocket"), "https", "wss", id="a websocket"),
        pytest.param(("Connection: upgrade", "Upgrade: websocket"), "http", "ws", id="a plain websocket"),
    ],
)
def test_the_scheme_is_what_servers_call_it(fields: tuple[str, ...], scheme: str, expected: str, config: Path) -> None:
    found = report(config, request("GET / HTTP/1.1", *fields), "--scheme", scheme)

    assert found["request"]["scheme"] == expected


def test_a_body_that_is_not_as_the_head_says_is_noted(config: Path) -> None:
    result = explain(
        config, request("POST /items HTTP/1.1", "Content-Length: 100", "Content-Type: text/plain") + b"abc"
    )

    assert "note: Content-Length is 100 and the body has 3 bytes" in result.out


def test_a_request_may_come_from_a_file(config: Path, tmp_path: Path) -> None:
    (tmp_path / "request.txt").write_bytes(request())

    assert aupgate("explain", "-c", config, "--request", tmp_path / "request.txt").code == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "cannot be read: No such file or directory", id="a missing file"),
        pytest.param("directory", "cannot be read: Is a directory", id="a directory"),
        pytest.param(b"", "the request is empty", id="an empty file"),
        pytest.param(bytes(range(256)) * 16, "is no request line", id="garbage"),
    ],
)
def test_what_is_no_request_ends_with_2(content: bytes | str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "request"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()

    result = aupgate("explain", "--request", path)

    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert "Traceback" not in result.err


def test_empty_standard_input_ends_with_2() -> None:
    result = aupgate("explain", "--request", "-")

    assert (result.code, result.out) == (2, "")
    assert "the request is empty" in result.err


def test_a_request_that_is_too_large_to_read_ends_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aupgate.cli.MAX_REQUEST", 10)

    result = aupgate("explain", "--request", "-", stdin=request())

    assert (result.code, "is too large" in result.err) == (2, True)


def test_nothing_is_logged_or_left_behind(config: Path, tmp_path: Path) -> None:
    explain(config, request("GET /internal/users HTTP/1.1"))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml", "keys.toml"]


def test_control_characters_of_a_request_do_not_reach_the_terminal(config: Path, tmp_path: Path) -> None:
    raw = b"GET /%1b%5b2J%07 HTTP/1.1\r\nHost: a\r\nX-\x1b[2J: \x07\r\n\r\n"
    (tmp_path / "request").write_bytes(raw)

    code, shown = on_a_terminal("explain", "-c", config, "--request", tmp_path / "request")

    assert code == 3
    assert "GET /\\x1b[2J\\x07 from" in shown
    assert "\x07" not in shown
    assert "\x1b[2J" not in shown


# -- documents that policies need --------------------------------------------------------------------------------------

DOCUMENT = json.dumps(
    {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/carts": {"get": {"responses": {}}}}}
)
WITH_DOCUMENT = '[policies.interfaces]\nmode = "enforce"\ndefault = "refuse"\nopenapi = "{}"\n'


@pytest.mark.parametrize(("path", "code"), [("/carts", 0), ("/other", 3)])
def test_an_openapi_document_beside_the_configuration_is_read(path: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_text(DOCUMENT, encoding="utf-8")
    (tmp_path / "config.toml").write_text(WITH_DOCUMENT.format("openapi.json"), encoding="utf-8")

    assert explain(tmp_path / "config.toml", request(f"GET {path} HTTP/1.1")).code == code


def test_a_policy_whose_document_cannot_be_had_says_so_without_a_stack_trace(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    upstream = f'[gateway]\nupstream = "unix:{tmp_path}/gone.sock"\n'
    config.write_text(upstream + WITH_DOCUMENT.format("/openapi.json"), encoding="utf-8")

    result = explain(config, request())

    assert (result.code, result.err) == (3, "")
    assert "interfaces.unready (refuse, enforce)" in result.out
    assert "not ready: the application answered GET /openapi.json with status 502" in result.out
