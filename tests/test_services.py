"""The private servers do what tests rely on: they answer, they know their signatures, and they end."""

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.services import EICAR, MARKER, Clamd, Nginx, Redis, find_server, run_nginx, run_redis


def ask(path: Path, question: bytes) -> bytes:
    """Send `question` to the server at `path` and return its first answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(question)
        return connection.recv(4096)


def scan(path: Path, content: bytes) -> bytes:
    """Return what clamd says of `content` (INSTREAM: chunks with their length in front, an empty one at the end)."""
    return ask(path, b"zINSTREAM\0" + struct.pack("!I", len(content)) + content + struct.pack("!I", 0))


def test_redis_answers_on_its_unix_socket(redis_server: Redis) -> None:
    assert ask(redis_server.socket, b"PING\r\n") == b"+PONG\r\n"


def test_redis_listens_on_no_port(redis_server: Redis) -> None:
    assert ask(redis_server.socket, b"CONFIG GET port\r\n") == b"*2\r\n$4\r\nport\r\n$1\r\n0\r\n"


def test_clamd_answers_on_its_unix_socket(clamd: Clamd) -> None:
    assert ask(clamd.socket, b"zPING\0") == b"PONG\0"


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        pytest.param(EICAR, b"stream: Aupgate.Test.Eicar.UNOFFICIAL FOUND\0", id="EICAR"),
        pytest.param(b"before " + EICAR, b"stream: Aupgate.Test.Eicar.UNOFFICIAL FOUND\0", id="EICAR inside"),
        pytest.param(MARKER, b"stream: Aupgate.Test.Marker.UNOFFICIAL FOUND\0", id="marker"),
        pytest.param(b"a letter to a friend", b"stream: OK\0", id="harmless"),
    ],
)
def test_clamd_knows_its_two_signatures_and_nothing_else(clamd: Clamd, content: bytes, answer: bytes) -> None:
    assert scan(clamd.socket, content) == answer


def test_nginx_serves_what_the_test_configures(nginx: Callable[[str], Nginx]) -> None:
    server = nginx('location /greeting { return 200 "hello"; }')

    answer = ask(server.socket, b"GET /greeting HTTP/1.0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nhello")


def test_two_nginx_run_side_by_side(nginx: Callable[[str], Nginx]) -> None:
    first, second = nginx('return 200 "first";'), nginx('return 200 "second";')

    assert ask(first.socket, b"GET / HTTP/1.0\r\n\r\n").endswith(b"first")
    assert ask(second.socket, b"GET / HTTP/1.0\r\n\r\n").endswith(b"second")


def test_a_server_is_gone_when_its_context_ends() -> None:
    with run_redis() as server:
        os.kill(server.pid, 0)

    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)
    assert not server.socket.parent.exists()


def test_a_server_that_cannot_start_fails_the_test_with_what_it_said() -> None:
    with pytest.raises(pytest.fail.Exception, match="unknown directive"), run_nginx("nonsense;"):
        pass


def test_a_missing_server_skips_the_test_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUPGATE_REQUIRE_SERVICES", raising=False)

    with pytest.raises(
        pytest.skip.Exception, match="no-such-server is not installed; install the Debian package nothing"
    ):
        find_server("no-such-server", "nothing")


def test_a_missing_server_fails_the_test_where_services_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUPGATE_REQUIRE_SERVICES", "1")

    with pytest.raises(pytest.fail.Exception, match="AUPGATE_REQUIRE_SERVICES"):
        find_server("no-such-server", "nothing")


def test_the_repository_holds_no_eicar_file_in_one_piece() -> None:
    assert EICAR not in Path(__file__).with_name("services.py").read_bytes()
    assert len(EICAR) == 68
