"""Sending load: wrk for as much as a server takes, `bench.pace` for a fixed rate; and reading what they print."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

from bench.configurations import ROOT
from bench.figures import NotMeasuredError
from bench.processes import last_line_of, pinned
from bench.provision import find
from bench.workloads import CLIENTS, Workload

CONNECTIONS: Final = 32
MARK: Final = "figures "
"""What the line with the figures begins with."""

_SCRIPT: Final = """
local prepared = {}
local sent = 0
function init(args)
  sent = tonumber(args[1])
  local file = assert(io.open("%(requests)s", "rb"))
  for text in file:read("*a"):gmatch("[^%%z]+") do
    prepared[#prepared + 1] = text
  end
  file:close()
end
function request()
  sent = sent + 1
  return prepared[sent %% #prepared + 1]
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '%(mark)s{"requests": %%d, "seconds": %%f, "p50": %%f, "p99": %%f, "refused": %%d, "broken": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What a load generator saw: seconds, and latencies in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    refused: int
    """Answers with a status of 400 or more."""
    broken: int
    """Requests that were not answered."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds

    def clean(self) -> "Load":
        """Return itself. Raises `NotMeasuredError` when not every request was answered as it should be."""
        if self.refused or self.broken or not self.requests:
            raise NotMeasuredError(f"of {self.requests} requests {self.refused} were refused and {self.broken} broke")
        return self


@dataclass(frozen=True, slots=True)
class Requests:
    """A file of requests separated by NUL, and the script with which wrk sends them in turn."""

    file: Path
    script: Path


def request_text(workload: Workload, client: int, *, forwarded: bool = False) -> str:
    """Return one client's request as HTTP/1.1."""
    target = f"{workload.path}?{workload.query}" if workload.query else workload.path
    fields = "".join(f"{name}: {value}\r\n" for name, value in workload.headers(client, forwarded=forwarded))
    return f"{workload.method} {target} HTTP/1.1\r\n{fields}\r\n{workload.body.decode()}"


def write_requests(directory: Path, workload: Workload, clients: int = CLIENTS, *, forwarded: bool = False) -> Requests:
    """Write the requests of `clients` clients into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    name = f"{workload.name}-{clients}{'-forwarded' if forwarded else ''}"
    texts = [request_text(workload, client, forwarded=forwarded) for client in range(clients)]
    written = Requests(directory / f"{name}.requests", directory / f"{name}.lua")
    written.file.write_bytes("\0".join(texts).encode())
    written.script.write_text(_SCRIPT % {"requests": written.file, "mark": MARK}, encoding="utf-8")
    return written


def wrk(core: int, port: int, requests: Requests, seconds: float, *, first: int = 0) -> Load:
    """Send as many requests as are answered, from the one numbered `first` on."""
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{ceil(seconds)}s", "-s", str(requests.script)]
    return parse(_output(core, [str(find("wrk")), *options, f"http://127.0.0.1:{port}/", "--", str(first)]))


def paced(core: int, port: int, requests: Requests, seconds: float, rate: float) -> Load:
    """Send `rate` requests a second, answered or not."""
    arguments = [str(port), str(requests.file), str(rate), str(seconds)]
    return parse(_output(core, [sys.executable, "-m", "bench.pace", *arguments]))


def parse(printed: str) -> Load:
    """Return the figures in what a load generator printed."""
    for line in printed.splitlines():
        if line.startswith(MARK):
            return Load(**json.loads(line.removeprefix(MARK)))
    raise NotMeasuredError("the load generator printed no figures")


def _output(core: int, command: Sequence[str]) -> str:
    done = subprocess.run(pinned(core, command), capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise NotMeasuredError(f"{Path(command[0]).name} failed: {last_line_of(done.stderr or done.stdout)}")
    return done.stdout
