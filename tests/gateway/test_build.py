"""The composition root: from a configuration to the gateway that it describes."""

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from aupgate.build import (
    NEVER_EXEMPT,
    REGISTRY,
    build,
    default_mode,
    enforcements,
    mode_of,
    read,
    resolve,
    settings_classes,
    warn_of_shared_memory,
)
from aupgate.config import PolicySettings
from aupgate.errors import ConfigError, ServiceError
from aupgate.fields import Fields
from aupgate.gateway import Gateway
from aupgate.meters import Outcome
from aupgate.model import Mode, OnError, Request
from tests.gateway.scripted import a_request, opened

QUIET: dict[str, Any] = {"log": {"audit": "off", "access": "off"}}
SCANNER = [(b"host", b"app.example"), (b"user-agent", b"sqlmap/1.8")]


def a_gateway(**config: Any) -> Gateway:
    return build(read({**QUIET, **config}, environ={}))


def mistakes(config: Mapping[str, Any] | Path) -> list[str]:
    """Return everything that building reports of a configuration that reads well."""
    loaded = read(config, environ={})
    with pytest.raises(ConfigError) as raised:
        build(loaded)
    return [str(problem) for problem in raised.value.problems]


def serve(gateway: Gateway, request: Request, status: int = 200) -> str | None:
    """Run one exchange; return the rule that refused it."""
    exchange, verdict = opened(gateway, request)
    gateway.close(exchange, Outcome(status, 0, 0, 0.1, aborted=False, refused=not verdict.allow))
    gateway.flush()
    return verdict.refusal.finding.rule if verdict.refusal else None


# -- the registry ------------------------------------------------------------------------------------------------------


def test_policies_are_asked_in_this_order() -> None:
    order = ["protocol", "headers", "networks", "interfaces", "scrapers", "rate_limits", "uploads"]

    assert list(REGISTRY) == order
    assert [each.name for each in a_gateway().engine.enforcements] == order


def test_every_policy_has_settings_that_derive_from_those_of_all() -> None:
    assert list(settings_classes()) == list(REGISTRY)
    assert all(issubclass(settings, PolicySettings) for settings in settings_classes().values())


def test_a_reference_is_resolved_by_importing_its_module() -> None:
    assert resolve("json:loads") is json.loads
    with pytest.raises(AttributeError):
        resolve("json:nothing")


def test_what_is_off_is_not_built() -> None:
    gateway = a_gateway(policies={"uploads": {"mode": "off"}, "scrapers": {"mode": "off"}})

    assert [each.name for each in gateway.engine.enforcements] == [
        "protocol", "headers", "networks", "interfaces", "rate_limits",
    ]  # fmt: skip


def test_what_is_off_imports_nothing_of_what_it_needs() -> None:
    program = (
        "import sys\nfrom aupgate.build import build, read\n"
        "build(read({'policies': {'uploads': {'mode': sys.argv[1]}}}, environ={}))\nprint(*sys.modules)"
    )

    def imported(mode: str) -> list[str]:
        command = [sys.executable, "-c", program, mode]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return [name for name in names if name.startswith(("yara_x", "aupgate.inspection.pipeline", "multipart"))]

    assert imported("enforce")
    assert imported("off") == []


# -- modes -------------------------------------------------------------------------------------------------------------


def test_without_configuration_what_needs_no_knowledge_of_the_app_is_enforced() -> None:
    loaded = read(None, environ={})

    modes = {name: mode_of(loaded, name) for name in REGISTRY}
    assert [name for name, mode in modes.items() if mode is Mode.ENFORCE] == ["protocol", "headers", "uploads"]
    assert [name for name, mode in modes.items() if mode is Mode.OBSERVE] == [
        "networks", "interfaces", "scrapers", "rate_limits",
    ]  # fmt: skip
    assert modes == {name: default_mode(name) for name in REGISTRY}


@pytest.mark.parametrize(
    ("gateway", "policy", "expected"),
    [
        ("enforce", "enforce", "enforce"),
        ("enforce", "observe", "observe"),
        ("observe", "enforce", "observe"),
        ("observe", "off", "off"),
        ("off", "enforce", "off"),
    ],
)
def test_the_weaker_mode_of_gateway_and_policy_holds(gateway: str, policy: str, expected: str) -> None:
    loaded = read({"gateway": {"mode": gateway}, "policies": {"headers": {"mode": policy}}}, environ={})

    assert mode_of(loaded, "headers") is Mode(expected)


def test_modes_reach_the_rules() -> None:
    scrapers = {"mode": "enforce", "rules": {"scanner": "observe"}}

    assert (
        serve(a_gateway(policies={"scrapers": {"mode": "enforce"}}), a_request(headers=SCANNER)) == "scrapers.scanner"
    )
    assert serve(a_gateway(policies={"scrapers": scrapers}), a_request(headers=SCANNER)) is None


def test_a_share_of_nobody_enforces_for_nobody() -> None:
    scrapers = {"mode": "enforce", "share": "0%"}

    assert serve(a_gateway(policies={"scrapers": scrapers}), a_request(headers=SCANNER)) is None


def test_exemptions_are_compiled() -> None:
    scrapers = {"mode": "enforce", "exempt": [{"client": "192.0.2.0/24", "path": "/hooks/{rest:path}"}]}
    gateway = a_gateway(policies={"scrapers": scrapers})

    assert serve(gateway, a_request(headers=SCANNER, path="/hooks/a")) is None
    assert serve(gateway, a_request(headers=SCANNER)) == "scrapers.scanner"


def test_a_failing_policy_refuses_where_passing_would_be_dangerous() -> None:
    on_error = {each.name: each.on_error for each in enforcements(read(None, environ={}))}

    refusing = [name for name, each in on_error.items() if each is OnError.REFUSE]
    assert refusing == ["protocol", "headers", "networks", "uploads"]


def test_what_a_failing_policy_does_can_be_configured() -> None:
    policies = {"headers": {"on_error": "allow"}, "scrapers": {"on_error": "refuse"}}

    on_error = {each.name: each.on_error for each in enforcements(read({"policies": policies}, environ={}))}

    assert (on_error["headers"], on_error["scrapers"]) == (OnError.ALLOW, OnError.REFUSE)


def test_the_switch_drops_every_policy_to_observe_and_back() -> None:
    gateway = a_gateway(policies={"scrapers": {"mode": "enforce"}})
    found = []
    for on in (True, False):
        gateway.observe(on=on)
        found.append(serve(gateway, a_request(headers=SCANNER)))

    assert found == [None, "scrapers.scanner"]


# -- mistakes in what is named -----------------------------------------------------------------------------------------


def test_a_rule_that_no_policy_has_is_a_mistake() -> None:
    (mistake,) = mistakes({"policies": {"headers": {"rules": {"spoofd": "off"}}}})

    assert mistake == (
        '<mapping>: policies.headers.rules.spoofd = "off": unknown rule, '
        "expected one of spoofed, override, internal, alias, host, forwarding, banner, hsts"
    )


def test_the_rules_of_limits_are_those_of_the_configuration() -> None:
    limits = {"limits": [{"name": "orders", "rate": "10/minute"}], "rules": {"orders": "off", "concurrency": "off"}}

    a_gateway(policies={"rate_limits": limits})
    assert mistakes({"policies": {"rate_limits": {**limits, "rules": {"human_pace": "off"}}}})


def test_a_clause_that_no_pack_has_is_a_mistake() -> None:
    limits = {"limits": [{"name": "orders", "rate": "10/minute", "clauses": ["cimcon.remedies"]}]}

    a_gateway(policies={"rate_limits": limits}, aup={"packs": ["cimcon"]})
    (mistake,) = mistakes({"policies": {"rate_limits": limits}})
    assert "rate_limits.orders names the clause `cimcon.remedies`, which no pack in aup.packs has" in mistake


@pytest.mark.parametrize("policy", sorted(NEVER_EXEMPT))
def test_nobody_is_exempt_from_what_would_mislead_the_application(policy: str) -> None:
    (mistake,) = mistakes({"policies": {policy: {"exempt": [{"client": "192.0.2.0/24"}]}}})

    assert f"policies.{policy}.exempt: nobody can be exempted" in mistake


def test_mistakes_of_all_kinds_come_at_once_with_their_lines(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        """\
[aup]
packs = ["default", "nope"]
[account]
sources = ["key:x-api-key"]
keys.file = "gone.toml"
[log]
audit = "gone/audit.jsonl"
[policies.headers.rules]
spoofd = "off"
[policies.uploads]
scanners = ["yara:gone.yar"]
""",
        encoding="utf-8",
    )

    found = mistakes(config)

    assert len(found) == 5
    assert any(each.startswith(f'{config}:2: aup.packs[1] = "nope": ') for each in found)
    assert any(each.startswith(f"{tmp_path / 'gone.toml'}: ") for each in found)
    assert any(each.startswith(f'{config}:7: log.audit = "gone/audit.jsonl": ') for each in found)
    assert any(each.startswith(f'{config}:9: policies.headers.rules.spoofd = "off": ') for each in found)
    assert any("policies.uploads.scanners" in each and "yara:gone.yar" in each for each in found)


# -- the parts ---------------------------------------------------------------------------------------------------------


def test_files_are_named_relative_to_the_configuration(tmp_path: Path) -> None:
    key = f'[[keys]]\nid = "acme"\nsha256 = "{sha256(b"demo").hexdigest()}"\n'
    (tmp_path / "keys.toml").write_text(key, encoding="utf-8")
    (tmp_path / "config.toml").write_text(
        '[account]\nsources = ["key:x-api-key"]\nkeys.file = "keys.toml"\n'
        '[log]\naudit = "audit.jsonl"\naccess = "access.jsonl"\n[spool]\ndir = "."\n',
        encoding="utf-8",
    )

    gateway = build(read(tmp_path / "config.toml", environ={}))
    serve(gateway, a_request(headers=SCANNER))

    headers = [(b"x-api-key", b"demo")]
    account = gateway.accounts.resolve(Fields(headers))
    assert account is not None
    assert (account.id, account.verified) == ("acme", True)
    assert gateway.spools.directory == tmp_path
    (finding,) = (tmp_path / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(finding)["rule"] == "scrapers.scanner"
    (access,) = (tmp_path / "access.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(access)["status"] == 200


@pytest.mark.parametrize(
    ("configured", "default", "logs"),
    [
        pytest.param(None, "off", False, id="off, as a mount has it"),
        pytest.param(None, "stderr", True, id="on, as serve has it"),
        pytest.param("off", "stderr", False, id="off, because the configuration says so"),
        pytest.param("stderr", "off", True, id="on, because the configuration says so"),
    ],
)
def test_the_configuration_decides_about_the_access_log_before_the_adapter(
    configured: str | None, default: str, logs: bool
) -> None:
    log = {"audit": "off"} | ({"access": configured} if configured else {})

    gateway = build(read({"log": log}, environ={}), access=default)

    assert (gateway.access is not None) is logs
    assert len(gateway.writers) == logs


def test_settings_reach_the_parts_they_are_for() -> None:
    gateway = a_gateway(
        client={"trusted_proxies": ["10.0.0.0/8"], "source": "x-real-ip", "ipv6_prefix": 48},
        spool={"memory": "1 KiB", "budget": "1 MiB"},
        aup={"packs": ["cimcon"], "contact": "mailto:abuse@acme.example"},
        policies={"scrapers": {"mode": "enforce"}},
    )

    client = gateway.clients.resolve("10.0.0.1", Fields([(b"x-real-ip", b"2001:db8:1:2::3")]))
    assert (client.address, client.network) == ("2001:db8:1:2::3", "2001:db8:1::/48")
    assert (gateway.spools.memory, gateway.spools.budget.limit) == (1024, 1024**2)
    request = a_request(headers=SCANNER)
    _, verdict = opened(gateway, request)
    assert verdict.refusal is not None
    problem = json.loads(gateway.refusals(request, verdict.refusal, ()).body)
    assert problem["contact"] == "mailto:abuse@acme.example"
    assert {clause["id"].partition(".")[0] for clause in problem["clauses"]} == {"cimcon"}


def test_policies_that_must_prepare_are_told_apart() -> None:
    assert [policy.name for policy in a_gateway().preparing()] == ["interfaces"]


async def test_documents_cannot_be_read_before_an_adapter_gives_the_means() -> None:
    with pytest.raises(ServiceError, match=r"'/openapi.json' cannot be read before"):
        await a_gateway().services.documents.fetch("/openapi.json")


def test_overrides_go_before_variables_and_those_before_the_file() -> None:
    config = {"gateway": {"listen": "127.0.0.1:1", "workers": 1, "shutdown_grace": "1s"}}
    environ = {"AUPGATE_GATEWAY__LISTEN": "127.0.0.1:2", "AUPGATE_GATEWAY__SHUTDOWN_GRACE": "2s"}

    gateway = read(config, environ=environ, overrides={"gateway.listen": "127.0.0.1:3"}).config.gateway

    assert (gateway.listen, gateway.shutdown_grace, gateway.workers) == ("127.0.0.1:3", 2.0, 1)


def test_without_being_told_otherwise_the_environment_is_the_processs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUPGATE_AUP__NAME", "Acme")

    assert read(None).config.aup.name == "Acme"
    assert read(None, environ={}).config.aup.name == ""


@pytest.mark.parametrize(
    ("workers", "warns"),
    [(None, False), ("", False), ("1", False), ("4", True)],
    ids=["unset", "empty", "one worker", "four workers"],
)
def test_several_server_processes_on_one_memory_store_are_noticed(
    workers: str | None, warns: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    if workers is not None:
        monkeypatch.setenv("WEB_CONCURRENCY", workers)

    with caplog.at_level(logging.WARNING, "aupgate"):
        warn_of_shared_memory()

    assert ("one of several worker processes" in caplog.text) is warns
