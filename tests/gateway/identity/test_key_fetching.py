"""Key sets that issuers publish, over real connections."""

import json
import os
import ssl
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import trustme

from aupgate.identity import key_fetching
from aupgate.identity.key_fetching import KeyFetcher
from aupgate.identity.key_sets import MAX_DOCUMENT, KeySet
from tests.gateway.identity.issuers import document, jwk, key_set, publishing

OLD, NEW = key_set(jwk("RS256", "old")), key_set(jwk("RS256", "new", 1))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    ca, path = trustme.CA(), tmp_path_factory.mktemp("tls") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return ca, path


@pytest.fixture(scope="module")
def tls(authority: tuple[trustme.CA, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority[0].issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Keys:
    """What a fetcher gave to be used."""

    def __init__(self) -> None:
        self.sets: list[KeySet] = []
        self.changed = threading.Semaphore(0)

    def __call__(self, keys: KeySet) -> None:
        self.sets.append(keys)
        self.changed.release()

    @property
    def names(self) -> list[str]:
        """Which of the keys the tests know are in force."""
        return [name for name in ("old", "new") if self.sets and self.sets[-1].fitting("RS256", name)]


def fetcher(url: str, keys: Keys, ca_file: Path | None = None, algorithms: Sequence[str] = ("RS256",)) -> KeyFetcher:
    return KeyFetcher(url, algorithms, keys, every=600, ca_file=ca_file)


def test_keys_are_fetched_over_tls(tls: ssl.SSLContext, authority: tuple[trustme.CA, Path]) -> None:
    keys = Keys()
    with publishing(document(OLD), tls) as (server, url):
        assert fetcher(url, keys, authority[1]).fetch()
        assert server.paths == ["/keys"]
    assert keys.names == ["old"]


def test_keys_that_disappear_are_dropped(tls: ssl.SSLContext, authority: tuple[trustme.CA, Path]) -> None:
    keys = Keys()
    with publishing(document(OLD), tls) as (server, url):
        fetching, seen = fetcher(url, keys, authority[1]), []
        for body in (OLD, OLD, json.dumps({"keys": [jwk("RS256", "old"), jwk("RS256", "new", 1)]}).encode(), NEW):
            server.answer = document(body)
            assert fetching.fetch()
            seen.append(keys.names)

    assert seen == [["old"], ["old"], ["old", "new"], ["new"]]
    assert len(keys.sets) == 3  # the same keys are not used anew: that would forget verified tokens


def test_a_certificate_of_nobody_known_is_refused(tls: ssl.SSLContext, caplog: pytest.LogCaptureFixture) -> None:
    keys = Keys()
    with publishing(document(OLD), tls) as (_, url):
        assert not fetcher(url, keys).fetch()
    assert keys.sets == []
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text


def test_a_certificate_of_another_host_is_refused(
    tls: ssl.SSLContext, authority: tuple[trustme.CA, Path], caplog: pytest.LogCaptureFixture
) -> None:
    keys = Keys()
    with publishing(document(OLD), tls) as (_, url):
        assert not fetcher(url.replace("127.0.0.1", "localhost"), keys, authority[1]).fetch()
    assert keys.sets == []


def dripping(handler: BaseHTTPRequestHandler) -> None:
    """Send a head that never ends, byte by byte."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while not handler.server.ended.wait(0.02):  # type: ignore[attr-defined]
        handler.wfile.write(b"x")


def dripping_body(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not handler.server.ended.wait(0.02):  # type: ignore[attr-defined]
        handler.wfile.write(b" ")


def silent(handler: BaseHTTPRequestHandler) -> None:
    handler.server.ended.wait(10)  # type: ignore[attr-defined]


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
    for _ in range(MAX_DOCUMENT // 1024 * 4):
        handler.wfile.write(b" " * 1024)


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")


def no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")


@pytest.mark.parametrize("over_tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(document(b"", 404), id="not found"),
        pytest.param(document(b"", 500), id="broken"),
        pytest.param(document(NEW, 503), id="keys with an error"),
        pytest.param(document(b"<html>sign in</html>"), id="a page"),
        pytest.param(document(b""), id="nothing"),
        pytest.param(document(b"[]"), id="no key set"),
        pytest.param(document(NEW + b" " * MAX_DOCUMENT), id="huge"),
        pytest.param(document(b"", 302, [("Location", "http://127.0.0.2:1/keys")]), id="redirect to another host"),
        pytest.param(document(b"", 302, [("Location", "file:///etc/passwd")]), id="redirect to a file"),
        pytest.param(document(b"", 302, [("Location", "/keys")]), id="redirect to itself"),
        pytest.param(document(b"", 304), id="not modified"),
        pytest.param(endless, id="endless"),
        pytest.param(hangs_up, id="hangs up"),
        pytest.param(no_http, id="no HTTP"),
        pytest.param(silent, id="silent"),
        pytest.param(dripping, id="a head byte by byte"),
        pytest.param(dripping_body, id="a body byte by byte"),
    ],
)
def test_when_fetching_fails_the_keys_from_before_hold(
    answer: Any,
    over_tls: bool,
    tls: ssl.SSLContext,
    authority: tuple[trustme.CA, Path],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_fetching, "TIMEOUT", 0.3)
    monkeypatch.setattr(key_fetching, "DEADLINE", 0.6)
    keys = Keys()
    with publishing(document(OLD), tls if over_tls else None) as (server, url):
        fetching = fetcher(url, keys, authority[1])
        assert fetching.fetch()
        server.answer = answer
        assert not fetching.fetch()

    assert keys.names == ["old"]
    assert fetching.counts == {"ok": 1, "failed": 1}
    assert "the keys from before hold" in caplog.text


def test_nobody_there_is_a_failure() -> None:
    keys = Keys()
    with publishing(document(OLD)) as (_, url):
        pass
    assert not fetcher(url, keys).fetch()


def test_a_redirect_on_the_same_host_is_followed() -> None:
    def moved(handler: BaseHTTPRequestHandler) -> None:
        answer = document(OLD) if handler.path == "/new" else document(b"", 302, [("Location", "/new")])
        answer(handler)

    keys = Keys()
    with publishing(moved) as (_, url):
        assert fetcher(url, keys).fetch()
    assert keys.names == ["old"]


def test_an_issuer_withdraws_its_keys_by_publishing_none(caplog: pytest.LogCaptureFixture) -> None:
    keys = Keys()
    with publishing(document(OLD)) as (server, url):
        fetching = fetcher(url, keys)
        fetching.fetch()
        server.answer = document(key_set())
        assert fetching.fetch()
    assert keys.names == []
    assert "tokens name nobody" in caplog.text


def test_secrets_are_not_taken_from_the_network() -> None:
    keys = Keys()
    with publishing(document(key_set(jwk("HS256", "old")))) as (_, url):
        assert fetcher(url, keys, algorithms=["HS256"]).fetch()
    assert keys.sets[0].size == 0


# -- the thread --------------------------------------------------------------------------------------------------------


@pytest.fixture
def started() -> Iterator[list[KeyFetcher]]:
    """Stop those that a test has started."""
    fetchers: list[KeyFetcher] = []
    yield fetchers
    for each in fetchers:
        each.stop()


def test_the_start_waits_for_the_first_keys(started: list[KeyFetcher]) -> None:
    keys = Keys()
    with publishing(document(OLD)) as (_, url):
        started.append(fetcher(url, keys))
        started[0].start(30)
        assert keys.names == ["old"]


def test_the_start_goes_on_without_an_answer(started: list[KeyFetcher], caplog: pytest.LogCaptureFixture) -> None:
    with publishing(silent) as (_, url):
        started.append(fetcher(url, Keys()))
        started[0].start(0.01)
    assert "has not answered yet: until it does, tokens name nobody" in caplog.text


def test_a_key_that_is_missed_is_fetched(started: list[KeyFetcher], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_fetching, "PAUSE", 0.01)
    keys = Keys()
    with publishing(document(OLD)) as (server, url):
        started.append(fetcher(url, keys))
        started[0].start(30)
        server.answer = document(NEW)
        assert keys.changed.acquire(timeout=30)
        started[0].missed()
        assert keys.changed.acquire(timeout=30)
    assert keys.names == ["new"]


def test_keys_that_are_missed_again_and_again_are_not_fetched_again_and_again(started: list[KeyFetcher]) -> None:
    with publishing(document(OLD)) as (server, url):
        started.append(fetcher(url, Keys()))
        started[0].start(30)
        for _ in range(1000):
            started[0].missed()
        assert server.paths == ["/keys"]


def test_keys_are_fetched_again_by_and_by(started: list[KeyFetcher], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_fetching, "PAUSE", 0.01)
    keys = Keys()
    with publishing(document(OLD)) as (server, url):
        started.append(KeyFetcher(url, ["RS256"], keys, every=0.02, ca_file=None))
        started[0].start(30)
        server.answer = document(NEW)
        assert keys.changed.acquire(timeout=30)
        assert keys.changed.acquire(timeout=30)
    assert keys.names == ["new"]


def test_pauses_grow_with_failures_up_to_the_interval() -> None:
    fetching, pauses = fetcher("http://127.0.0.1:1/", Keys()), []
    for failures in (0, 1, 2, 3, 5, 10, 10_000):
        fetching._failures = failures
        pauses.append(fetching.pause())

    assert pauses == [600, 30, 60, 120, 480, 600, 600]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_process_that_was_forked_off_fetches_for_itself(started: list[KeyFetcher]) -> None:
    with publishing(document(OLD)) as (server, url):
        started.append(fetcher(url, Keys()))
        started[0].start(30)
        asked = threading.Event()

        def answer(handler: BaseHTTPRequestHandler) -> None:
            document(OLD)(handler)
            asked.set()

        server.answer = answer
        child = os.fork()
        if child == 0:
            threading.Event().wait(30)
            os._exit(0)
        try:
            assert asked.wait(30)
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
    assert server.paths == ["/keys", "/keys"]
