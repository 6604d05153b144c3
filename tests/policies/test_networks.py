"""`networks`: who passes by address and country, what a file may hold, and what becomes of requests without TLS."""

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aupgate.build import build, read
from aupgate.errors import ConfigError
from aupgate.gateway import Gateway
from aupgate.model import Action, Client, Finding, Request
from aupgate.policies import networks
from aupgate.policies.networks import JudgingNetworks, Networks, Settings
from aupgate.policy import JudgesRequests, ReadsFiles
from tests.gateway.cli.running import aupgate, serving
from tests.gateway.country_databases import write_database
from tests.gateway.scripted import a_request, opened
from tests.middleware.wrapped import App, call, http_scope, websocket_scope


def policy(base: Path = Path("/nonexistent"), **settings: Any) -> JudgingNetworks:
    """Return the policy with `settings`, its files read from `base`."""
    built = networks.build(Settings.model_validate(settings))
    assert isinstance(built, JudgingNetworks)
    built.read_files(base)
    return built


def from_address(address: str, **given: Any) -> Request:
    return a_request(client=Client(address, address, address), **given)


def rules(judging: JudgingNetworks, request: Request) -> list[str]:
    return [finding.rule.removeprefix("networks.") for finding in judging.on_request(request)]


def verdicts(judging: JudgingNetworks, *addresses: str) -> list[str]:
    """Return for each address the rule that refuses it, or nothing."""
    return [",".join(rules(judging, from_address(address))) for address in addresses]


def only(judging: JudgingNetworks, request: Request) -> Finding:
    (finding,) = judging.on_request(request)
    return finding


def a_gateway(base: Path | None = None, **settings: Any) -> Gateway:
    """Return a gateway that enforces this policy; its files are in `base`."""
    config: dict[str, Any] = {
        "log": {"audit": "off", "access": "off"},
        "client": {"trusted_proxies": ["10.0.0.0/8"]},
        "policies": {"networks": {"mode": "enforce", **settings}},
    }
    if base is None:
        return build(read(config, environ={}))
    (base / "config.toml").write_text(
        "[log]\naudit = 'off'\naccess = 'off'\n[client]\ntrusted_proxies = ['10.0.0.0/8']\n[policies.networks]\n"
        + "\n".join(f"{name} = {json.dumps(value)}" for name, value in {"mode": "enforce", **settings}.items()),
        encoding="utf-8",
    )
    return build(read(base / "config.toml", environ={}))


# -- nothing configured ------------------------------------------------------------------------------------------------


def test_without_configuration_it_has_no_phase_that_a_request_would_pay_for() -> None:
    built: object = networks.build(Settings())

    assert isinstance(built, Networks)
    assert not isinstance(built, JudgesRequests)
    assert not isinstance(built, ReadsFiles)


@pytest.mark.parametrize(
    "settings",
    [{"allow": ["192.0.2.1"]}, {"deny": ["192.0.2.1"]}, {"allow_files": ["a"]}, {"deny_files": ["a"]},
     {"deny_countries": ["KP"], "country_file": "a"}, {"unknown_country": "refuse", "country_file": "a"},
     {"require_tls": True}],
    ids=lambda settings: next(iter(settings)),
)  # fmt: skip
def test_any_one_setting_makes_it_judge_requests(settings: dict[str, Any]) -> None:
    built: object = networks.build(Settings.model_validate(settings))

    assert isinstance(built, JudgesRequests)
    assert isinstance(built, ReadsFiles)


# -- ranges ------------------------------------------------------------------------------------------------------------

DENY: dict[str, Any] = {"deny": ["203.0.113.0/24", "2001:db8::/32"]}
ALLOW: dict[str, Any] = {"allow": ["198.51.100.0/24", "2001:db8::/32"]}


@pytest.mark.parametrize(
    ("settings", "address", "rule"),
    [
        pytest.param(DENY, "203.0.113.7", "denied", id="denied"),
        pytest.param(DENY, "203.0.114.7", "", id="not denied"),
        pytest.param(DENY, "2001:db8::7", "denied", id="IPv6 denied"),
        pytest.param(DENY, "2001:db9::7", "", id="IPv6 not denied"),
        pytest.param(DENY, "::ffff:203.0.113.7", "denied", id="IPv4 in IPv6 denied"),
        pytest.param(ALLOW, "198.51.100.7", "", id="allowed"),
        pytest.param(ALLOW, "198.51.101.7", "not_allowed", id="not allowed"),
        pytest.param(ALLOW, "2001:db8::7", "", id="IPv6 allowed"),
        pytest.param(ALLOW, "2001:db9::7", "not_allowed", id="IPv6 not allowed"),
        pytest.param({"deny": ["::ffff:203.0.113.0/120"]}, "203.0.113.7", "denied", id="a range of IPv4 in IPv6"),
        pytest.param({"deny": ["0.0.0.0/0"]}, "2001:db8::7", "", id="all of IPv4 is not IPv6"),
        pytest.param({"deny": ["0.0.0.0/0", "::/0"]}, "2001:db8::7", "denied", id="all of both"),
        pytest.param({"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"]}, "10.1.2.3", "denied", id="deny is narrower"),
        pytest.param({"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"]}, "10.2.2.3", "", id="allow holds alone"),
        pytest.param({"allow": ["10.1.0.0/16"], "deny": ["10.0.0.0/8"]}, "10.1.2.3", "", id="allow is narrower"),
        pytest.param({"allow": ["10.1.0.0/16"], "deny": ["10.0.0.0/8"]}, "10.2.2.3", "denied", id="deny holds alone"),
        pytest.param({"allow": ["10.0.0.0/8"], "deny": ["10.0.0.0/8"]}, "10.1.2.3", "denied", id="equals: deny"),
        pytest.param({"allow": ["10.0.0.0/8"], "deny": ["192.0.2.1"]}, "192.0.2.2", "not_allowed", id="in neither"),
        pytest.param(
            {"allow": ["10.0.0.0/8", "10.1.2.3"], "deny": ["10.1.0.0/16"]}, "10.1.2.3", "", id="three ranges deep"
        ),
        pytest.param(DENY, "", "", id="no address is in no range, so not denied"),
        pytest.param(ALLOW, "", "not_allowed", id="no address is in no range, so not allowed"),
        pytest.param(ALLOW, "testclient", "not_allowed", id="a name is no address"),
    ],
)
def test_the_narrowest_range_decides(settings: dict[str, Any], address: str, rule: str) -> None:
    assert verdicts(policy(**settings), address) == [rule]
    assert verdicts(policy(**settings), address, address) == [rule, rule]


def test_a_refusal_is_403_and_tells_the_operator_and_nobody_else_which_entry_it_was() -> None:
    denied = only(policy(**DENY), from_address("203.0.113.7"))

    assert (denied.action, denied.status, denied.points) == (Action.REFUSE, 403, 0)
    assert denied.evidence == {"network": "203.0.113.0/24", "list": "deny"}
    assert denied.detail == "the network you use may not reach this service"


@pytest.mark.parametrize("settings", [DENY, {"allow": ["192.0.2.1"]}, {"require_tls": True}])
def test_a_client_that_may_be_a_proxy_for_many_is_only_noted(settings: dict[str, Any]) -> None:
    client = Client("203.0.113.7", "203.0.113.7", "203.0.113.7", certain=False)

    finding = only(
        policy(**settings), a_request(client=client, scheme="http" if "require_tls" in settings else "https")
    )

    assert (finding.action, finding.status, finding.headers) == (Action.NOTE, 0, ())
    assert finding.detail.endswith("only noted, because the client may be a proxy for many")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "MAX_REMEMBERED", 10)
    judging = policy(**DENY)

    for number in range(100):
        verdicts(judging, f"192.0.2.{number}", "a" * 1000)

    assert len(judging._findings) <= 10


# -- files -------------------------------------------------------------------------------------------------------------


def test_files_add_to_the_lists(tmp_path: Path) -> None:
    (tmp_path / "vpn.txt").write_text("198.51.100.0/24 # office\n")
    (tmp_path / "tor.txt").write_text("198.51.100.7\n203.0.113.7\n")
    judging = policy(tmp_path, allow=["192.0.2.0/24"], allow_files=["vpn.txt"], deny_files=["tor.txt"])

    found = verdicts(judging, "192.0.2.1", "198.51.100.1", "198.51.100.7", "203.0.113.7", "203.0.113.8")

    assert found == ["", "", "denied", "denied", "not_allowed"]
    assert only(judging, from_address("203.0.113.7")).evidence == {"network": "203.0.113.7/32", "list": "tor.txt"}


def test_a_file_of_allowed_ranges_lets_nobody_else_pass_even_when_it_holds_none(tmp_path: Path) -> None:
    (tmp_path / "vpn.txt").write_text("# none yet\n")

    assert verdicts(policy(tmp_path, allow_files=["vpn.txt"]), "192.0.2.1") == ["not_allowed"]


def test_all_files_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "MAX_RANGES", 3)
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("192.0.2.1\n192.0.2.2\n")

    with pytest.raises(ConfigError, match=r"b\.txt:2: too many entries: expected 1 more at most, all files together"):
        policy(tmp_path, deny_files=["a.txt", "b.txt"])


def test_mistakes_in_files_are_reported_when_the_gateway_is_built(tmp_path: Path) -> None:
    (tmp_path / "tor.txt").write_text("192.0.2.1\n192.0.2\n")

    with pytest.raises(ConfigError) as raised:
        a_gateway(tmp_path, deny_files=["tor.txt"])

    (problem,) = raised.value.problems
    assert (problem.source, problem.line) == (str(tmp_path / "tor.txt"), 2)


def gateway_verdict(gateway: Gateway, address: str) -> str | None:
    _, verdict = opened(gateway, from_address(address))
    return verdict.refusal.finding.rule if verdict.refusal else None


def test_a_file_that_changes_is_read_again_and_what_was_remembered_is_forgotten(tmp_path: Path) -> None:
    tor = tmp_path / "tor.txt"
    tor.write_text("203.0.113.7\n")
    gateway = a_gateway(tmp_path, deny_files=["tor.txt"])
    before = [gateway_verdict(gateway, address) for address in ("203.0.113.7", "203.0.113.8")]

    tor.write_text("203.0.113.8 # moved\n")
    gateway.watcher.look()

    after = [gateway_verdict(gateway, address) for address in ("203.0.113.7", "203.0.113.8")]
    assert (before, after) == (["networks.denied", None], [None, "networks.denied"])
    gateway.watcher.stop()


@pytest.mark.parametrize("content", ["", "nonsense\n", None], ids=["emptied", "wrong", "removed"])
def test_a_file_that_goes_wrong_leaves_in_force_what_it_held(content: str | None, tmp_path: Path) -> None:
    tor = tmp_path / "tor.txt"
    tor.write_text("203.0.113.7\n")
    gateway = a_gateway(tmp_path, deny_files=["tor.txt"])

    if content is None:
        tor.unlink()
    else:
        tor.write_text(content)
    gateway.watcher.look()

    assert gateway_verdict(gateway, "203.0.113.7") == "networks.denied"
    gateway.watcher.stop()


# -- countries ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("countries")
    write_database(folder / "countries.mmdb")
    return folder


DE, KP, FR, UNKNOWN = "198.51.100.7", "203.0.113.7", "203.0.113.200", "10.9.9.9"


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        pytest.param({"deny_countries": ["KP"]}, [KP, "2001:db8::7"], id="some are denied"),
        pytest.param({"allow_countries": ["DE"]}, [KP, FR, "2001:db8::7"], id="one is allowed"),
        pytest.param({"allow_countries": ["DE"], "deny_countries": ["KP"]}, [KP, FR, "2001:db8::7"], id="both"),
        pytest.param({"unknown_country": "refuse"}, [UNKNOWN, ""], id="the unknown are denied"),
        pytest.param(
            {"allow_countries": ["DE", "FR"], "unknown_country": "refuse"}, [KP, UNKNOWN, "2001:db8::7", ""],
            id="only what is known to be allowed",
        ),
    ],
)  # fmt: skip
def test_countries_decide(settings: dict[str, Any], refused: list[str], base: Path) -> None:
    judging = policy(base, country_file="countries.mmdb", **settings)
    addresses = [DE, KP, FR, UNKNOWN, "2001:db8::7", ""]

    found = dict(zip(addresses, verdicts(judging, *addresses), strict=True))

    assert [address for address, rule in found.items() if rule == "countries"] == refused
    assert all(rule == "" for address, rule in found.items() if address not in refused)


def test_a_country_is_refused_with_451_and_told_in_the_evidence(base: Path) -> None:
    judging = policy(base, country_file="countries.mmdb", deny_countries=["KP"], unknown_country="refuse")

    embargoed, unknown = (only(judging, from_address(address)) for address in (KP, UNKNOWN))

    assert (embargoed.status, embargoed.evidence) == (451, {"country": "KP"})
    assert (unknown.status, unknown.evidence) == (451, {"country": "unknown"})


def test_ranges_and_countries_are_judged_apart_because_either_may_only_observe(base: Path) -> None:
    judging = policy(base, deny=["203.0.113.0/24"], country_file="countries.mmdb", deny_countries=["KP"])

    assert verdicts(judging, KP, FR) == ["denied,countries", "denied"]


def test_a_database_that_changes_is_read_again_and_a_damaged_one_is_not_taken(tmp_path: Path) -> None:
    database = write_database(tmp_path / "countries.mmdb")
    gateway = a_gateway(tmp_path, country_file="countries.mmdb", deny_countries=["KP"])
    found = [gateway_verdict(gateway, DE)]

    write_database(database, {"198.51.100.0/24": {"country": {"iso_code": "KP"}}})
    gateway.watcher.look()
    found.append(gateway_verdict(gateway, DE))

    database.write_bytes(database.read_bytes()[:100])
    gateway.watcher.look()
    found.append(gateway_verdict(gateway, DE))

    assert found == [None, "networks.countries", "networks.countries"]
    gateway.watcher.stop()


def test_a_record_that_cannot_be_read_refuses_the_request(tmp_path: Path) -> None:
    database = write_database(tmp_path / "countries.mmdb")
    database.write_bytes(database.read_bytes().replace(b"\x42DE", b"\x5f\xff\xff"))
    gateway = a_gateway(tmp_path, country_file="countries.mmdb", deny_countries=["KP"])

    assert [gateway_verdict(gateway, address) for address in (DE, "192.0.2.1")] == ["internal.error", None]
    gateway.watcher.stop()


@pytest.mark.parametrize(
    ("settings", "key", "expected"),
    [
        ({"deny_countries": ["KP"]}, "deny_countries", "countries are told by a database: expected `country_file`"),
        ({"allow_countries": ["KP"]}, "allow_countries", "countries are told by a database"),
        ({"unknown_country": "refuse"}, "unknown_country", "countries are told by a database"),
        ({"deny_countries": ["UK"], "country_file": "a"}, "deny_countries[0]", '"UK" is no country'),
        ({"deny_countries": ["de"], "country_file": "a"}, "deny_countries[0]", "expected the two capitals"),
        ({"deny_countries": ["DE"], "allow_countries": ["DE"], "country_file": "a"}, "deny_countries",
         '"DE" is in allow_countries as well'),
        ({"deny": ["10.0.0.1/8"]}, "deny[0]", "bits are set behind the prefix"),
        ({"tls_port": 0}, "tls_port", ""),
        ({"tls_host": "https://app.example"}, "tls_host", "expected the name of a host"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_mistakes(settings: dict[str, Any], key: str, expected: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read({"policies": {"networks": settings}}, environ={})

    (problem,) = raised.value.problems
    assert problem.key == f"policies.networks.{key}"
    assert problem.expected.startswith(expected)


# -- TLS ---------------------------------------------------------------------------------------------------------------

TLS = policy(require_tls=True)


@pytest.mark.parametrize(
    ("method", "scheme", "kind", "expected"),
    [
        ("GET", "https", "http", None),
        ("POST", "https", "http", None),
        ("GET", "wss", "websocket", None),
        ("GET", "http", "http", (Action.ANSWER, 301)),
        ("HEAD", "http", "http", (Action.ANSWER, 301)),
        ("POST", "http", "http", (Action.REFUSE, 403)),
        ("PUT", "http", "http", (Action.REFUSE, 403)),
        ("OPTIONS", "http", "http", (Action.REFUSE, 403)),
        ("GET", "ws", "websocket", (Action.REFUSE, 403)),
        ("GET", "", "http", (Action.ANSWER, 301)),
    ],
)
def test_what_came_without_tls_is_redirected_or_refused(
    method: str, scheme: str, kind: str, expected: tuple[Action, int] | None
) -> None:
    findings = TLS.on_request(a_request(method=method, scheme=scheme, kind=kind))

    assert [(each.action, each.status) for each in findings] == ([] if expected is None else [expected])
    assert all(bool(each.headers) is (each.status == 301) for each in findings)


def test_a_request_that_names_no_host_to_be_sent_to_is_refused() -> None:
    finding = only(TLS, a_request(scheme="http", headers=[(b"host", b"a.example/@b.example")]))

    assert (finding.action, finding.status, finding.headers) == (Action.REFUSE, 403, ())


def test_host_and_port_of_the_redirect_can_be_set() -> None:
    judging = policy(require_tls=True, tls_host="app.example", tls_port=8443)

    finding = only(judging, a_request(scheme="http", target=b"/a?b=c", headers=[(b"host", b"evil.example")]))

    assert finding.headers == ((b"location", b"https://app.example:8443/a?b=c"),)


def fields(pairs: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    return dict(pairs)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_middleware_answers_with_a_redirect_that_nobody_keeps(method: str) -> None:
    app, gateway = App(), a_gateway(require_tls=True)

    server = await call(app, gateway, http_scope(method=method, path="/a", query_string=b"b=c"))

    answer = fields(server.headers)
    assert (server.status, answer[b"location"]) == (301, b"https://app.example/a?b=c")
    assert answer[b"cache-control"] == b"no-store"
    assert app.scopes == []


async def test_the_middleware_refuses_what_cannot_be_asked_again() -> None:
    app, gateway = App(), a_gateway(require_tls=True)

    server = await call(app, gateway, http_scope(method="POST"))

    assert (server.status, json.loads(server.body)["type"]) == (403, "urn:aupgate:rule:networks.tls_required")
    assert b"location" not in fields(server.headers)
    assert app.scopes == []


async def test_the_middleware_closes_a_websocket_without_tls() -> None:
    app, gateway = App(), a_gateway(require_tls=True)

    server = await call(app, gateway, websocket_scope(), [{"type": "websocket.connect"}])

    assert [message["type"] for message in server.sent] == ["websocket.close"]
    assert app.scopes == []


@pytest.mark.parametrize(
    ("peer", "proto", "status"),
    [
        pytest.param("10.0.0.1", b"https", 200, id="a trusted proxy says https"),
        pytest.param("10.0.0.1", b"http", 301, id="a trusted proxy says http"),
        pytest.param("198.51.100.7", b"https", 301, id="a client says https"),
    ],
)
async def test_tls_that_ends_at_a_trusted_proxy_counts(peer: str, proto: bytes, status: int) -> None:
    headers = [(b"host", b"app.example"), (b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", proto)]

    server = await call(App(), a_gateway(require_tls=True), http_scope(client=(peer, 1), headers=headers))

    assert server.status == status


@pytest.mark.parametrize("headers", [[], [(b"x-forwarded-for", b"10.0.0.2")]], ids=["alone", "for another proxy"])
async def test_a_trusted_proxy_itself_is_never_refused_as_in_its_health_checks(headers: list[Any]) -> None:
    gateway = a_gateway(deny=["10.0.0.0/8"], require_tls=True)

    server = await call(App(), gateway, http_scope(client=("10.0.0.1", 1), headers=[(b"host", b"a"), *headers]))

    assert server.status == 200


async def test_paths_can_be_exempt_as_for_certificates_and_health_checks() -> None:
    gateway = a_gateway(require_tls=True, exempt=[{"path": "/.well-known/acme-challenge/{rest:path}"}])

    served = [
        (await call(App(), gateway, http_scope(path=path))).status
        for path in ("/.well-known/acme-challenge/token", "/.well-known/acme", "/")
    ]

    assert served == [200, 301, 301]


# -- as operators see it -----------------------------------------------------------------------------------------------


CONFIG = """
[aup]
packs = ["infince", "cimcon"]
[client]
trusted_proxies = []
[policies.networks]
mode = "enforce"
deny_files = ["tor.txt"]
country_file = "countries.mmdb"
deny_countries = ["KP"]
require_tls = true
[policies.networks.rules]
denied = "observe"
"""


@pytest.fixture(scope="module")
def config(base: Path) -> Path:
    (base / "tor.txt").write_text("198.51.100.7\n")
    (base / "config.toml").write_text(CONFIG, encoding="utf-8")
    return base / "config.toml"


def explained(config: Path, client: str, *options: str) -> dict[str, Any]:
    raw = b"GET /a HTTP/1.1\r\nHost: app.example\r\nUser-Agent: Mozilla/5.0 (X11; rv:140.0) Firefox/140.0\r\n\r\n"
    result = aupgate("explain", "--config", config, "--request", "-", "--client", client, "--json", *options, stdin=raw)
    return dict(json.loads(result.out))


def test_explain_shows_range_and_country_and_the_clauses(config: Path) -> None:
    observed, refused = explained(config, DE), explained(config, KP)

    (step,) = [each for each in observed["steps"] if each["policy"] == "networks"]
    assert [(each["rule"], each["mode"], each["evidence"]) for each in step["findings"]] == [
        ("networks.denied", "observe", {"network": "198.51.100.7/32", "list": "tor.txt"})
    ]
    assert observed["verdict"] == {"allow": True}
    verdict = refused["verdict"]
    assert (verdict["rule"], verdict["status"]) == ("networks.countries", 451)
    assert [clause["id"] for clause in verdict["clauses"]] == ["cimcon.wrongful.law"]


def test_explain_shows_the_redirect(config: Path) -> None:
    verdict = explained(config, "192.0.2.1", "--scheme", "http")["verdict"]

    assert (verdict["rule"], verdict["status"]) == ("networks.tls_required", 301)
    assert verdict["headers"]["location"] == "https://app.example/a"
    assert {clause["id"] for clause in verdict["clauses"]} == {
        "infince.security.interception", "cimcon.disruption.deciphering",
    }  # fmt: skip


def curl(*arguments: str) -> list[str]:
    written = "%{http_code} %{redirect_url}"
    command = ["curl", "--silent", "--max-time", "10", "--output", "/dev/null", "--write-out", written, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_the_gateway_redirects_refuses_and_reads_a_list_again(config: Path) -> None:
    tor = config.parent / "loopback.txt"
    tor.write_text("# nobody\n")
    text = CONFIG.replace("tor.txt", "loopback.txt").replace('denied = "observe"', 'tls_required = "enforce"')
    (config.parent / "serve.toml").write_text(text, encoding="utf-8")
    with serving("--config", config.parent / "serve.toml", "--upstream", "http://127.0.0.1:9") as server:
        url = f"http://{server.address}/a?b=c"
        redirected = curl(url, "--header", "Host: app.example:8080")
        refused = curl(url, "--data", "password=secret")
        tor.write_text("127.0.0.0/8\n")
        server.read_until("loopback.txt changed and was read again")
        while (denied := curl(url))[0] == "301":  # whoever else read the file may have said so first
            pass
        server.stop(signal.SIGTERM)

    assert redirected == ["301", "https://app.example/a?b=c"]
    assert refused == ["403"]
    assert denied == ["403"]
