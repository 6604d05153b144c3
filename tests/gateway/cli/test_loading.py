"""Every mistake at once: those of the file, of what it names, and of the places where the gateway would write."""

import os
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from aupgate.cli.loading import open_config, tls_context, upstream_tls
from aupgate.config import Loaded
from aupgate.errors import ConfigError
from tests.gateway.cli.running import aupgate

EVERYTHING = """\
[gateway.tls]
cert = "cert.pem"
key = "key.pem"
[aup]
packs = ["nope", "own.toml", "default"]
[account]
sources = ["key:x-api-key"]
[account.keys]
file = "keys.toml"
[spool]
dir = "nowhere"
[log]
audit = "nowhere/audit.jsonl"
access = "."
[policies.headers.rules]
spoofd = "off"
[policies.uploads]
scanners = ["yara:own.yar"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith("AUPGATE_"):
            monkeypatch.delenv(name)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    (folder / "config.toml").write_text(text, encoding="utf-8")
    return folder / "config.toml"


def mistakes(folder: Path, text: str, *, serving: bool = True) -> list[tuple[int | None, str]]:
    """Return line and key of each mistake that loading `text` reports in the file."""
    config = written(folder, text)
    with pytest.raises(ConfigError) as raised:
        open_config(config, serving=serving)
    return [(problem.line, problem.key) for problem in raised.value.problems if problem.source == str(config)]


def loaded(folder: Path, text: str, *, serving: bool = True) -> Loaded:
    return open_config(written(folder, text), serving=serving).loaded


def test_mistakes_in_what_the_file_names_come_all_at_once_with_their_lines(folder: Path) -> None:
    (folder / "own.yar").write_text("rule x { condition: unknown }", encoding="utf-8")

    found = mistakes(folder, EVERYTHING)

    assert found == [
        (2, "gateway.tls.cert"),
        (5, "aup.packs[0]"),
        (5, "aup.packs[1]"),
        (11, "spool.dir"),
        (13, "log.audit"),
        (14, "log.access"),
        (16, "policies.headers.rules.spoofd"),
        (18, "policies.uploads.scanners"),
    ]


def test_keys_and_scanners_are_looked_at_in_the_same_go(folder: Path) -> None:
    (folder / "own.yar").write_text("rule x { condition: unknown }", encoding="utf-8")
    (folder / "keys.toml").write_text("[[keys]]\nid = 1\n", encoding="utf-8")

    result = aupgate("check", "-c", written(folder, EVERYTHING))

    assert result.code == 2
    assert f"{folder / 'keys.toml'}: keys[0].id = 1: " in result.err
    assert f"{folder / 'keys.toml'}: keys[0].sha256 = " in result.err
    assert "config.toml:18: policies.uploads.scanners" in result.err
    assert "expected YARA rules that compile" in result.err
    assert result.err.endswith("aupgate: 10 problems in the configuration\n")


def test_mistakes_in_the_file_do_not_hide_those_in_what_its_sound_tables_name(folder: Path) -> None:
    found = mistakes(folder, f"{EVERYTHING}\n[gateway]\nlisen = 1\n[policies.scrapers]\nrefuse = 1\n")

    assert found == [
        (5, "aup.packs[0]"),
        (5, "aup.packs[1]"),
        (11, "spool.dir"),
        (13, "log.audit"),
        (14, "log.access"),
        (16, "policies.headers.rules.spoofd"),
        (18, "policies.uploads.scanners"),
        (21, "gateway.lisen"),
        (23, "policies.scrapers.refuse"),
    ]


def test_clauses_are_not_looked_up_in_packs_that_are_not_known(folder: Path) -> None:
    limit = '[[policies.rate_limits.limits]]\nname = "a"\nrate = "1/minute"\nclauses = ["cimcon.remedies"]\n'

    assert mistakes(folder, f'[aup]\npacks = ["cimcon"]\nnme = "Acme"\n{limit}') == [(3, "aup.nme")]
    assert mistakes(folder, f'[aup]\nname = "Acme"\n{limit}') == [(3, "policies.rate_limits")]


def test_a_variable_that_is_a_mistake_hides_nothing_either(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUPGATE_GATEWAY__WORKERS", "many")
    monkeypatch.setenv("AUPGATE_SPOOL__DIR", str(folder))

    assert mistakes(folder, '[spool]\ndir = "nowhere"\n[log]\naudit = "nowhere/audit.jsonl"\n') == [(4, "log.audit")]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[gateway\n", id="no TOML"),
        pytest.param("gateway = 1\npolicies = 2\n", id="no tables"),
        pytest.param('[policies]\nheaders = 1\nnope = 2\n"a.b" = 3\n', id="no policies"),
    ],
)
def test_a_file_that_is_wrong_altogether_is_reported_as_such(text: str, folder: Path) -> None:
    assert mistakes(folder, text)


def test_a_configuration_may_come_through_a_pipe(folder: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"[gateway]\nlisen = 1\n")
    os.close(writer)

    result = aupgate("check", "-c", f"/dev/fd/{reader}")
    os.close(reader)

    assert (result.code, result.err.count("\n")) == (2, 2)


def test_options_of_the_command_line_are_checked_like_the_file(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r'command line: gateway.listen = "8080": expected'):
        open_config(written(folder, ""), {"gateway.listen": "8080"}, serving=True)


def test_without_a_file_the_defaults_are_loaded(folder: Path) -> None:
    assert open_config(None, serving=True).loaded.config.gateway.listen == "127.0.0.1:8080"


def test_who_only_looks_needs_neither_certificate_nor_places_to_write(folder: Path) -> None:
    text = EVERYTHING.partition("[aup]")[0] + '[spool]\ndir = "nowhere"\n[log]\naudit = "nowhere/audit.jsonl"\n'

    assert loaded(folder, text, serving=False).config.log.audit == "nowhere/audit.jsonl"


@pytest.mark.parametrize("target", ["stderr", "stdout", "off", "audit.jsonl", "old.jsonl", "/dev/null"])
def test_logs_that_can_be_written_are_no_mistake_and_not_made(target: str, folder: Path) -> None:
    (folder / "old.jsonl").touch()

    loaded(folder, f'[log]\naudit = "{target}"\naccess = "{target}"\n')

    assert sorted(path.name for path in folder.iterdir()) == ["config.toml", "old.jsonl"]


def test_the_gateway_for_looking_writes_no_log_and_knows_the_whole_configuration(folder: Path) -> None:
    config = written(folder, '[log]\naudit = "audit.jsonl"\naccess = "access.jsonl"\n')

    loaded, gateway = open_config(config, serving=True)

    assert gateway.loaded is loaded
    assert (gateway.access, list(gateway.writers)) == (None, [])
    assert [path.name for path in folder.iterdir()] == ["config.toml"]


# -- certificates ------------------------------------------------------------------------------------------------------

TLS = '[gateway.tls]\ncert = "cert.pem"\nkey = "key.pem"\n'


@pytest.fixture(scope="module")
def certificate() -> trustme.LeafCert:
    return trustme.CA().issue_cert("app.example")


def place(folder: Path, certificate: trustme.LeafCert) -> None:
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")


def encrypt(key: Path) -> None:
    private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )


def test_a_certificate_and_its_key_make_a_context(folder: Path, certificate: trustme.LeafCert) -> None:
    place(folder, certificate)

    assert tls_context(loaded(folder, TLS)) is not None


def test_without_a_certificate_there_is_no_context(folder: Path) -> None:
    assert tls_context(loaded(folder, "")) is None


def test_a_certificate_that_is_not_there_is_a_mistake(folder: Path) -> None:
    assert mistakes(folder, TLS) == [(2, "gateway.tls.cert")]


def test_a_key_of_another_certificate_is_a_mistake(folder: Path, certificate: trustme.LeafCert) -> None:
    place(folder, certificate)
    trustme.CA().issue_cert("app.example").private_key_pem.write_to_path(folder / "key.pem")

    assert mistakes(folder, TLS) == [(2, "gateway.tls.cert")]


def test_an_encrypted_key_is_a_mistake_and_asks_nobody(folder: Path, certificate: trustme.LeafCert) -> None:
    place(folder, certificate)
    encrypt(folder / "key.pem")

    assert mistakes(folder, TLS) == [(2, "gateway.tls.cert")]


UPSTREAM_TLS = (
    '[gateway.upstream_tls]\nca_file = "ca.pem"\nserver_name = "app.test"\ncert = "cert.pem"\nkey = "key.pem"\n'
)


def test_what_upstreams_are_spoken_to_with_starts_where_the_file_is(
    folder: Path, certificate: trustme.LeafCert
) -> None:
    place(folder, certificate)
    trustme.CA().cert_pem.write_to_path(str(folder / "ca.pem"))

    tls = upstream_tls(loaded(folder, UPSTREAM_TLS))

    names = tuple(str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    assert (tls.verify, tls.server_name) == (True, "app.test")
    assert (tls.ca_file, tls.cert, tls.key) == names


def test_files_for_upstreams_that_cannot_be_read_are_mistakes(folder: Path) -> None:
    assert mistakes(folder, UPSTREAM_TLS) == [(2, "gateway.upstream_tls.ca_file"), (4, "gateway.upstream_tls.cert")]
    assert loaded(folder, UPSTREAM_TLS, serving=False).config.gateway.upstream_tls.verify


@pytest.mark.parametrize(
    "content", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_ca_file_without_a_certificate_is_a_mistake_that_check_tells(folder: Path, content: str) -> None:
    (folder / "ca.pem").write_text(content, encoding="utf-8")

    result = aupgate("check", "-c", written(folder, '[gateway.upstream_tls]\nca_file = "ca.pem"\n'))

    assert result.code == 2
    assert 'config.toml:2: gateway.upstream_tls.ca_file = "ca.pem": ca file "' in result.err
    assert "name a PEM file with certificates" in result.err


@pytest.mark.parametrize("upstream", ["https://app.test", "http://app.test"])
def test_a_file_for_upstreams_is_looked_at_whatever_these_are(folder: Path, upstream: str) -> None:
    text = f'[gateway]\nupstream = "{upstream}"\n[gateway.upstream_tls]\nca_file = "ca.pem"\n'

    assert mistakes(folder, text) == [(4, "gateway.upstream_tls.ca_file")]
