"""Private servers for the tests: each on a unix socket in a temporary directory, ended by its process id.

A server that runs on the machine already is never used. A server that is not installed skips the tests that need it;
with `AUPGATE_REQUIRE_SERVICES=1` it fails them.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

__all__ = ["EICAR", "Clamd", "Nginx", "Redis", "clamd", "nginx", "redis_server"]

EICAR = b"".join([rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$", b"EICAR-STANDARD-", b"ANTIVIRUS-TEST-", b"FILE!$H+H*"])
"""The harmless file that every scanner reports. It is put together here, or scanners would take this file away."""

EICAR_SIGNATURE = "Aupgate.Test.Eicar"
MARKER = b"aupgate-marker-that-the-test-scanner-reports"
"""Reported by `clamd` as `Aupgate.Test.Marker`, for tests of what other scanners do not know."""

_MAX_SOCKET_PATH = 100
"""A unix socket's path has room for 108 bytes on Linux and 104 elsewhere."""

_READY_WITHIN = 20.0
_ENDS_WITHIN = 10.0
_POLL = 0.01


@dataclass(frozen=True)
class Redis:
    """A running Redis that holds nothing yet and writes nothing to disk."""

    socket: Path
    url: str
    pid: int


@dataclass(frozen=True)
class Clamd:
    """A running clamd that knows two signatures: the EICAR file and `MARKER`, anywhere in a file."""

    socket: Path
    pid: int


@dataclass(frozen=True)
class Nginx:
    """A running nginx with one server, on a unix socket."""

    socket: Path
    pid: int


def missing(program: str, package: str) -> NoReturn:
    """Skip the test that needs `program`, or fail it where services are required."""
    reason = f"{program} is not installed; install the Debian package {package}"
    if os.environ.get("AUPGATE_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{reason} (AUPGATE_REQUIRE_SERVICES=1 requires it)", pytrace=False)
    pytest.skip(reason)


def find_server(program: str, package: str) -> str:
    """Return the path of `program`, looked for where administrators' programs are too."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin")
    return found or missing(program, package)


@contextlib.contextmanager
def short_directory(name: str) -> Iterator[Path]:
    """Make a temporary directory, removed at the end, in which a socket's path is short enough."""
    base = tempfile.gettempdir()
    base = base if len(base) + len(name) + 40 < _MAX_SOCKET_PATH else "/tmp"
    with tempfile.TemporaryDirectory(prefix=f"aupgate-{name}-", dir=base, ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def accepts(path: Path) -> bool:
    """Return whether a server accepts connections on the unix socket at `path`."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


@contextlib.contextmanager
def running(command: Sequence[str], directory: Path, ready: Callable[[], bool]) -> Iterator[int]:
    """Run `command` in `directory` until the end of the context; yield its process id once it is `ready`."""
    log = directory / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _wait_until_ready(process, ready, log)
        yield process.pid
    finally:
        _end(process)


def _wait_until_ready(process: "subprocess.Popen[bytes]", ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"{process.args!r} did not start: {log.read_text(errors='replace')[-2000:]}", pytrace=False)
        time.sleep(_POLL)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def run_redis(*options: str) -> Iterator[Redis]:
    """Run a private redis-server on a unix socket; `options` go on its command line."""
    program = find_server("redis-server", "redis-server")
    with short_directory("redis") as directory:
        path = directory / "redis.sock"
        command = [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no", *options]
        with running(command, directory, lambda: accepts(path)) as pid:
            yield Redis(path, f"unix://{path}", pid)


def _clamd_settings(directory: Path) -> str:
    settings = {
        "LocalSocket": directory / "clamd.sock",
        "DatabaseDirectory": directory / "signatures",
        "TemporaryDirectory": directory,
        "Foreground": "yes",
        "OfficialDatabaseOnly": "no",
        "AlertExceedsMax": "yes",
        **({"User": "root"} if os.geteuid() == 0 else {}),
    }
    return "".join(f"{name} {setting}\n" for name, setting in settings.items())


@contextlib.contextmanager
def run_clamd(settings: str = "") -> Iterator[Clamd]:
    """Run a private clamd on a unix socket; `settings` are lines added to its configuration."""
    program = find_server("clamd", "clamav-daemon")
    with short_directory("clamd") as directory:
        (directory / "signatures").mkdir()
        signatures = f"{EICAR_SIGNATURE}:0:*:{EICAR.hex()}\nAupgate.Test.Marker:0:*:{MARKER.hex()}\n"
        (directory / "signatures" / "test.ndb").write_text(signatures, encoding="ascii")
        configuration = directory / "clamd.conf"
        configuration.write_text(_clamd_settings(directory) + settings, encoding="utf-8")
        path = directory / "clamd.sock"
        with running([program, f"--config-file={configuration}"], directory, lambda: accepts(path)) as pid:
            yield Clamd(path, pid)


_NGINX = """
{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen unix:{directory}/nginx.sock;
        {server}
    }}
}}
"""


@contextlib.contextmanager
def run_nginx(server: str) -> Iterator[Nginx]:
    """Run a private nginx on a unix socket; `server` is what its server block holds, such as a location."""
    program = find_server("nginx", "nginx")
    with short_directory("nginx") as directory:
        user = "user root;" if os.geteuid() == 0 else ""
        configuration = directory / "nginx.conf"
        configuration.write_text(_NGINX.format(user=user, directory=directory, server=server), encoding="utf-8")
        path = directory / "nginx.sock"
        command = [program, "-e", "stderr", "-p", str(directory), "-c", str(configuration)]
        with running(command, directory, lambda: accepts(path)) as pid:
            yield Nginx(path, pid)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A private Redis, one for each test process; a test that needs it empty flushes it first."""
    with run_redis() as server:
        yield server


@pytest.fixture(scope="session")
def clamd() -> Iterator[Clamd]:
    """A private clamd, one for each test process."""
    with run_clamd() as server:
        yield server


@pytest.fixture
def nginx() -> Iterator[Callable[[str], Nginx]]:
    """Starts an nginx with the given content of its server block; all are ended with the test."""
    with contextlib.ExitStack() as servers:
        yield lambda server: servers.enter_context(run_nginx(server))
