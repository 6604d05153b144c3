"""The example application and the gateway before it, each a process of its own, for tests that see them from outside.

Nothing here knows what the gateway is made of: it is started by its command line, watched through what it writes, asked
over sockets and ended by its process id. Clients come from addresses of their own in 127.0.0.0/8 and with keys of their
own, so that no test uses up the limits of another.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httpx
import pytest

from tests.services import short_directory

__all__ = ["browser", "customer", "robot", "site"]

ROOT: Final = Path(__file__).parents[2]
SAAS: Final = ROOT / "examples" / "saas"
CONFIG: Final = SAAS / "config.toml"
MIB: Final = 1024 * 1024

FIREFOX: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
PERSON: Final = {
    "User-Agent": FIREFOX,
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.7",
}
"""What a person's browser sends."""
CURL: Final = {"User-Agent": "curl/8.11.0", "Accept": "*/*"}

_KEYS: Final = [f"key of test customer {number}" for number in range(100)]
_WITHIN: Final = 30.0
"""Seconds for anything to happen that is waited for."""
_POLL: Final = 0.01

_addresses: Final = (f"127.{high}.{low}.1" for high, low in itertools.product(range(1, 255), repeat=2))
_unused_keys: Final = iter(_KEYS)

T = TypeVar("T")


def until(look: Callable[[], T | None], what: str) -> T:
    """Return what `look` returns as soon as that is true; fail the test, naming `what`, when it never is."""
    deadline = time.monotonic() + _WITHIN
    while not (found := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {_WITHIN:g} seconds", pytrace=False)
        time.sleep(_POLL)
    return found


# --- processes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Program:
    """A running process and what it has written so far."""

    process: "subprocess.Popen[bytes]"
    output: Path
    errors: Path

    def wait_for(self, pattern: str) -> "re.Match[str]":
        """Return the match of `pattern` in standard error, once it is there."""

        def look() -> "re.Match[str] | None":
            ended, written = self.process.poll() is not None, self.errors.read_text("utf-8")
            if (found := re.search(pattern, written)) is None and ended:
                pytest.fail(f"{self.process.args!r} ended: {written[-2000:]}", pytrace=False)
            return found

        return until(look, f"{pattern!r} in the output of {self.process.args!r}")

    def end(self) -> int:
        """Tell it to end, and return its exit code."""
        self.process.terminate()
        return self.process.wait(_WITHIN)

    def failures(self) -> list[str]:
        """Return what it wrote of errors, and of exceptions that nobody expected."""
        written = self.errors.read_text("utf-8")
        return re.findall(r"^(?:ERROR|CRITICAL|Traceback|\S*(?:Error|Exception)\b).*", written, re.MULTILINE)

    def memory(self, field: str) -> int:
        """Return a field of /proc/PID/status in bytes: VmRSS is what it holds, VmHWM the most that it held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024

    def forget_peak(self) -> None:
        """Let VmHWM begin anew at what is held now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", "ascii")


def environment(**added: str) -> dict[str, str]:
    """Return the environment for a process, without what would configure it or send it through a proxy."""
    kept = {key: text for key, text in os.environ.items() if not key.upper().startswith(("AUPGATE_", "UVICORN_"))}
    return {key: text for key, text in kept.items() if not key.lower().endswith("_proxy")} | added


@contextlib.contextmanager
def start(directory: Path, name: str, *command: str, **added: str) -> Iterator[Program]:
    """Run `command` from the root of the repository until the end of the context, writing to files named `name`."""
    output, errors = directory / f"{name}.out", directory / f"{name}.err"
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(**added), stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
    try:
        yield Program(process, output, errors)
    finally:
        process.terminate()
        try:
            process.wait(_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_aupgate(
    *arguments: str, stdin: bytes = b"", settings: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command of `aupgate` to its end; return it with its exit code and what it wrote."""
    command = [sys.executable, "-m", "aupgate", *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(**settings or {}),
        input=stdin,
        capture_output=True,
        timeout=_WITHIN,
        check=False,
    )
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


@contextlib.contextmanager
def run_app(
    directory: Path, app: str = "examples.saas.app:app", at: Path | None = None
) -> Iterator[tuple[Program, str]]:
    """Run an application on a free port, or on the unix socket `at`; give the process and the address."""
    where = ["--port", "0"] if at is None else ["--uds", str(at)]
    command = [sys.executable, "-m", "uvicorn", app, *where, "--no-access-log", "--timeout-graceful-shutdown", "1"]
    with start(directory, "app", *command) as program:
        running = program.wait_for(r"Uvicorn running on (?P<address>http://\S+|unix socket)")
        yield program, running["address"] if at is None else f"unix:{at}"


@contextlib.contextmanager
def run_gateway(
    directory: Path, upstream: str, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[Program, str]]:
    """Run the gateway on a free port, its listener for operators on a unix socket; give the process and the address.

    It has the example's configuration, and `settings`, which are variables of its environment.
    """
    serve = [sys.executable, "-m", "aupgate", "serve", "--config", str(CONFIG), "--upstream", upstream]
    added = {"AUPGATE_ADMIN__LISTEN": f"unix:{directory}/gateway.admin"} | dict(settings or {})
    with start(directory, "gateway", *serve, "--listen", "127.0.0.1:0", **added) as program:
        yield program, program.wait_for(r"listening on (?P<address>http://\S+),")["address"]


# --- the application behind the gateway -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """The example application, the gateway before it, and where they are."""

    app: Program
    gateway: Program
    app_url: str
    url: str
    admin: Path

    def received(self) -> Mapping[str, int]:
        """Return how many request bodies, and how many bytes of them, have reached the application."""
        counts: Mapping[str, int] = httpx.get(f"{self.app_url}/internal/received", trust_env=False).json()
        return counts

    def operator(self) -> httpx.Client:
        """Return a client of the gateway's listener for operators."""
        transport = httpx.HTTPTransport(uds=str(self.admin))
        return httpx.Client(transport=transport, base_url="http://operators.example", trust_env=False)

    def findings(self, response: httpx.Response) -> Sequence[Mapping[str, Any]]:
        """Return the audit lines of a refused request, once they are written."""
        return until(lambda: self._lines(self.gateway.errors, response), "a line in the audit log")

    def access(self, response: httpx.Response) -> Mapping[str, Any]:
        """Return the access line of a request, once it is written."""
        [line] = until(lambda: self._lines(self.gateway.output, response), "a line in the access log")
        return line

    @staticmethod
    def _lines(log: Path, response: httpx.Response) -> Sequence[Mapping[str, Any]]:
        whole = [line for line in log.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
        parsed = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in parsed if line["request_id"] == response.headers["x-request-id"]]


@contextlib.contextmanager
def run_site() -> Iterator[Site]:
    """Run the application and the gateway as examples/saas/config.toml has it, with keys for many customers."""
    with short_directory("site") as directory:
        keys = directory / "keys.toml"
        keys.write_text((SAAS / "keys.toml").read_text("utf-8") + "".join(map(_entry, _KEYS)), encoding="utf-8")
        settings = {"AUPGATE_ACCOUNT__KEYS__FILE": str(keys)}
        with run_app(directory) as (app, app_url), run_gateway(directory, app_url, settings) as (gateway, url):
            yield Site(app, gateway, app_url, url, directory / "gateway.admin")


def _entry(key: str) -> str:
    return f'\n[[keys]]\nid = "{key}"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n'


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """The example behind its gateway, one for each test process."""
    if sys.platform != "linux":
        pytest.skip("only Linux has all of 127.0.0.0/8 on its loopback interface")
    with run_site() as running:
        yield running


# --- its visitors -----------------------------------------------------------------------------------------------------


def new_address() -> str:
    """Return a loopback address that no other test uses."""
    return next(_addresses)


def visitor(url: str, headers: Mapping[str, str], address: str | None = None) -> httpx.Client:
    """Return a client that comes from `address`, by default one of its own."""
    transport = httpx.HTTPTransport(local_address=address or new_address())
    return httpx.Client(transport=transport, base_url=url, headers=headers, trust_env=False, timeout=_WITHIN)


def new_key() -> dict[str, str]:
    """Return the header of a customer whom no other test is."""
    return {"X-API-Key": next(_unused_keys)}


@pytest.fixture
def browser(site: Site) -> Iterator[httpx.Client]:
    """A person with a browser."""
    with visitor(site.url, PERSON) as client:
        yield client


@pytest.fixture
def robot(site: Site) -> Iterator[httpx.Client]:
    """A program that says so and has no key."""
    with visitor(site.url, CURL) as client:
        yield client


@pytest.fixture
def customer(site: Site) -> Iterator[httpx.Client]:
    """A program with a key of its own."""
    with visitor(site.url, CURL | new_key()) as client:
        yield client


def connect(site: Site) -> socket.socket:
    """Return a connection to the gateway, from an address of its own, for what an HTTP client would not do."""
    parts = urlsplit(site.url)
    return socket.create_connection((str(parts.hostname), int(parts.port or 0)), _WITHIN, (new_address(), 0))


def request_head(target: str, fields: Mapping[str, str], method: str = "GET") -> bytes:
    """Return the head of a request of HTTP/1.1."""
    lines = [f"{method} {target} HTTP/1.1", "Host: stockroom.example", *(f"{name}: {fields[name]}" for name in fields)]
    return "\r\n".join([*lines, "", ""]).encode()
