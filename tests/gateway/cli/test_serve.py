"""`aupgate serve` as operators run it: a process of its own in front of an application, told what to do by signals."""

import http.client
import json
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from aupgate.build import read
from aupgate.cli.serve import reverse_proxy, upstream_app
from aupgate.metrics import Metrics
from aupgate.proxy.app import ReverseProxy
from tests.gateway.cli.running import Server, aupgate, serving
from tests.services import short_directory

ENFORCED = """
[aup]
packs = ["infince", "cimcon"]
contact = "mailto:abuse@acme.example"
[client]
trusted_proxies = []
[policies.scrapers]
mode = "enforce"
"""
ROBOT = {"user-agent": "sqlmap/1.8"}
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}


class Application(ThreadingHTTPServer):
    """Answers with the header fields it was sent; `/slow` sends one byte, and the other when `gate` is opened."""

    daemon_threads = True

    def __init__(self) -> None:
        self.gate = threading.Event()
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Application

    def do_GET(self) -> None:
        body = b"ab" if self.path == "/slow" else json.dumps([name.lower() for name in self.headers]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1])
        self.wfile.flush()
        if self.path == "/slow":
            self.server.gate.wait()
        self.wfile.write(body[1:])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@pytest.fixture(scope="module")
def app() -> Iterator[Application]:
    with Application() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(ENFORCED, encoding="utf-8")
    return tmp_path / "config.toml"


@contextmanager
def asking(
    server: Server, path: str = "/", **fields: str
) -> Iterator[tuple[http.client.HTTPResponse, http.client.HTTPConnection]]:
    connection = http.client.HTTPConnection(server.address)
    connection.request("GET", path, headers=BROWSER | fields)
    yield connection.getresponse(), connection
    connection.close()


def ask(server: Server, path: str = "/", **fields: str) -> tuple[int, bytes]:
    with asking(server, path, **fields) as (response, _):
        return response.status, response.read()


def accepts_connections(server: Server) -> bool:
    host, _, port = server.address.rpartition(":")
    with socket.socket() as connection:
        return connection.connect_ex((host, int(port))) == 0


def ask_unix(path: Path, target: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            return answer.read()


def json_lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_it_forwards_refuses_and_logs_and_ends_with_0_when_told_to(app: Application, config: Path) -> None:
    with serving("--config", config, "--upstream", app.url) as server:
        announced = server.log[-1]
        passed = ask(server, **{"x-remote-user": "root"})
        refused = ask(server, "/?token=secret", **ROBOT)
        result = server.stop(signal.SIGTERM)

    assert f"listening on http://{server.address}, in front of {app.url}\n" in announced
    assert passed[0] == 200
    assert "x-forwarded-for" in json.loads(passed[1])
    assert "x-remote-user" not in json.loads(passed[1])
    problem = json.loads(refused[1])
    assert (refused[0], problem["type"]) == (403, "urn:aupgate:rule:scrapers.scanner")
    assert "cimcon.disruption.probing" in [clause["id"] for clause in problem["clauses"]]
    assert result.code == 0
    assert [line["status"] for line in json_lines(result.out)] == [200, 403]
    assert [line["rule"] for line in json_lines(result.err)] == ["headers.spoofed", "scrapers.scanner"]
    assert "secret" not in result.out + result.err
    assert "Traceback" not in result.err


def test_what_runs_may_end_before_it_does(app: Application) -> None:
    app.gate.clear()
    with serving("--upstream", app.url) as server, asking(server, "/slow") as (response, _):
        first = response.read(1)
        server.process.send_signal(signal.SIGTERM)
        while accepts_connections(server):
            time.sleep(0.01)
        app.gate.set()
        rest = response.read()
        server.process.communicate()

    assert first + rest == b"ab"
    assert server.process.returncode == 0


def test_sigusr1_drops_everything_to_observe_and_back(app: Application, config: Path) -> None:
    statuses = []
    with serving("--config", config, "--upstream", app.url) as server:
        for said in ("every policy observes only", "the configured modes hold again"):
            statuses.append(ask(server, **ROBOT)[0])
            server.process.send_signal(signal.SIGUSR1)
            server.read_until(said)
            statuses.append(ask(server, **ROBOT)[0])

    assert statuses == [403, 200, 200, 403]


def test_operators_have_a_listener_of_their_own(app: Application) -> None:
    with short_directory("admin") as folder:
        with serving("--upstream", app.url, AUPGATE_ADMIN__LISTEN=f"unix:{folder}/admin.sock") as server:
            ask(server, **ROBOT)
            healthy, metrics = (ask_unix(folder / "admin.sock", path) for path in ("/healthz", "/metrics"))
        assert b" 200 OK\r\n" in healthy
        assert b'aupgate_findings_total{action="refuse",mode="observe",policy="scrapers"' in metrics


def test_connections_of_one_client_are_bounded_and_counted(app: Application, tmp_path: Path) -> None:
    bounds = "[gateway.connections]\nper_client = 2\n[client]\ntrusted_proxies = []\n"
    (tmp_path / "config.toml").write_text(bounds, encoding="utf-8")
    with short_directory("bounds") as folder:
        environ = {"AUPGATE_ADMIN__LISTEN": f"unix:{folder}/admin.sock"}
        with serving("--config", tmp_path / "config.toml", "--upstream", app.url, **environ) as server:
            with asking(server) as (first, _), asking(server) as (second, _):
                statuses = [first.status, second.status, ask(server)[0]]
            metrics = ask_unix(folder / "admin.sock", "/metrics")
    assert statuses == [200, 200, 429]
    assert b'aupgate_connections_refused_total{reason="client"} 1.0' in metrics


def test_a_trusted_proxy_says_whom_it_connects_for(app: Application, tmp_path: Path) -> None:
    limit = '[[policies.rate_limits.limits]]\nname = "few"\nrate = "1/day"\nkey = ["client"]\n'
    (tmp_path / "config.toml").write_text(
        '[gateway]\nproxy_protocol = true\n[client]\ntrusted_proxies = ["127.0.0.1"]\n'
        f'[policies.rate_limits]\nmode = "enforce"\n{limit}',
        encoding="utf-8",
    )
    statuses = []
    with serving("--config", tmp_path / "config.toml", "--upstream", app.url) as server:
        host, _, port = server.address.rpartition(":")
        for client in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
            with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as answer:
                preamble = f"PROXY TCP4 {client} 127.0.0.1 4000 {port}\r\n"
                connection.sendall(f"{preamble}GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                statuses.append(answer.readline().split()[1])
    assert statuses == [b"200", b"429", b"200"]


def test_an_application_that_is_away_is_a_problem_that_cites_the_request(config: Path, tmp_path: Path) -> None:
    with (
        serving("--config", config, "--upstream", f"unix:{tmp_path}/gone.sock") as server,
        asking(server) as (answer, _),
    ):
        problem = json.loads(answer.read())

    assert (answer.status, problem["title"]) == (502, "The application cannot be reached")
    assert problem["contact"] == "mailto:abuse@acme.example"
    assert problem["instance"] == f"urn:uuid:{answer.headers['x-request-id']}"
    assert answer.headers["retry-after"] == "5"


def test_with_a_certificate_it_speaks_tls(app: Application, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    (tmp_path / "config.toml").write_text('[gateway.tls]\ncert = "cert.pem"\nkey = "key.pem"\n', encoding="utf-8")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)

    with serving("--config", tmp_path / "config.toml", "--upstream", app.url) as server:
        port = int(server.address.rpartition(":")[2])
        connection = http.client.HTTPSConnection("localhost", port, context=trust)
        connection.request("GET", "/")
        status = connection.getresponse().status
        connection.close()

    assert server.address.startswith("https://")
    assert status == 200


@contextmanager
def over_tls(authority: trustme.CA) -> Iterator[Application]:
    """An application that speaks TLS, with a certificate of `authority` for `app.test`."""
    with Application() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("app.test").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_an_upstream_with_an_authority_of_its_own_is_verified_unless_told_not_to(tmp_path: Path) -> None:
    known, unknown = trustme.CA(), trustme.CA()
    known.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    config = tmp_path / "config.toml"
    config.write_text('[gateway.upstream_tls]\nca_file = "ca.pem"\nserver_name = "app.test"\n', encoding="utf-8")
    unverified = {"AUPGATE_GATEWAY__UPSTREAM_TLS__VERIFY": "false"}
    results = []
    for authority, environ in ((known, {}), (unknown, {}), (unknown, unverified)):
        with over_tls(authority) as app:
            url = app.url.replace("http:", "https:")
            with serving("--config", config, "--upstream", url, **environ) as server:
                status = ask(server)[0]
                result = server.stop(signal.SIGTERM)
        results.append((status, "certificate does not hold" in result.err, "verify = false" in "".join(server.log)))

    assert results == [(200, False, False), (502, True, False), (200, False, True)]


def test_an_upstream_that_pauses_for_too_long_inside_a_response_is_cut_off(app: Application) -> None:
    app.gate.clear()
    try:
        with (
            serving("--upstream", app.url, AUPGATE_GATEWAY__TIMEOUTS__PAUSE="50ms") as server,
            asking(server, "/slow") as (response, _),
            pytest.raises(http.client.IncompleteRead) as cut,
        ):
            response.read()
    finally:
        app.gate.set()

    assert cut.value.partial == b"a"


def test_operators_see_which_upstreams_are_there(app: Application) -> None:
    with short_directory("admin") as folder:
        upstreams = f'["{app.url}", "unix:{folder}/gone.sock"]'
        environ = {"AUPGATE_ADMIN__LISTEN": f"unix:{folder}/admin.sock", "AUPGATE_GATEWAY__UPSTREAM": upstreams}
        with serving(**environ) as server:
            statuses = [ask(server)[0] for _ in range(8)]
            metrics = ask_unix(folder / "admin.sock", "/metrics").decode()
            result = server.stop(signal.SIGTERM)

    assert statuses == [200] * 8
    assert f'aupgate_upstream_up{{upstream="{app.url}"}} 1.0' in metrics
    assert f'aupgate_upstream_up{{upstream="unix:{folder}/gone.sock"}} 0.0' in metrics
    assert f'aupgate_upstream_failures_total{{upstream="unix:{folder}/gone.sock"}} ' in metrics
    assert f'upstream "unix:{folder}/gone.sock" is down after 3 failures in a row' in result.err


def test_an_address_that_is_taken_ends_with_1_and_one_line(app: Application) -> None:
    taken = app.url.removeprefix("http://")

    result = aupgate("serve", "--listen", taken, environ={"AUPGATE_ADMIN__LISTEN": "off"})

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f'aupgate: cannot listen on "{taken}": ')
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(
            ("--engine", "mitmproxy"),
            'command line: gateway.engine = "mitmproxy": the mitmproxy engine is not part of this version',
            id="an engine of the future",
        ),
        pytest.param(("--upstream", "app:8000"), 'command line: gateway.upstream = "app:8000": ', id="no URL"),
        pytest.param(("--listen", ":8080"), 'command line: gateway.listen = ":8080": expected', id="no host"),
    ],
)
def test_mistakes_in_options_are_told_like_those_in_the_file(options: tuple[str, ...], said: str) -> None:
    result = aupgate("serve", *options)

    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_several_upstreams_are_one_application() -> None:
    upstreams = ["http://127.0.0.1:8001", "http://127.0.0.1:8002"]

    loaded = read({"gateway": {"upstream": upstreams}}, environ={})
    assert isinstance(reverse_proxy(loaded, Metrics()), ReverseProxy)


async def test_the_application_can_be_asked_past_the_gateway(app: Application) -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "scheme": "http", "path": "/", "raw_path": b"/", "query_string": b"",
        "headers": [(b"host", b"app.example")], "http_version": "1.1", "client": None, "server": None,
    }  # fmt: skip
    async with upstream_app(read({"gateway": {"upstream": app.url}}, environ={})) as forward:
        await forward(scope, _nothing, send)

    assert sent[0]["status"] == 200


async def _nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}
