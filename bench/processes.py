"""Running servers, each pinned to one core and ended by its process id; their memory and processor time."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.figures import NotMeasuredError
from bench.provision import find

START_WITHIN: Final = 60.0
_END_WITHIN: Final = 15.0
_POLL: Final = 0.002
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the servers run, and where the load and what is behind the servers run."""

    server: int
    load: int

    @classmethod
    def of_this_machine(cls) -> "Cores":
        """Take the first and the last core this process may use: the same one where there is only one."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[-1])


def pinned(core: int, command: Sequence[str | Path]) -> list[str]:
    """Return `command` so that it runs on one core, with the same process id."""
    return [str(find("taskset")), "--cpu-list", str(core), *map(str, command)]


def environment(directory: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a Python process that caches its compiled modules below `directory`.

    Users' installations have compiled modules too; without them every start would compile everything anew.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AUPGATE"))}
    return {**inherited, "PYTHONPYCACHEPREFIX": str(directory / "pycache"), **(extra or {})}


@dataclass(slots=True)
class Server:
    """A running server and the processes it started."""

    port: int
    pid: int
    seconds_to_answer: float

    def memory(self) -> float:
        """Return the MiB it takes: the resident set of its largest process, and what the others have for themselves."""
        whole = {pid: _memory(pid) for pid in _family(self.pid)}
        largest = max(whole, key=lambda pid: whole[pid]["Rss"])
        private = (sizes["Private_Clean"] + sizes["Private_Dirty"] for pid, sizes in whole.items() if pid != largest)
        return (whole[largest]["Rss"] + sum(private)) / 1024

    def processor_seconds(self) -> float:
        """Return the processor time it has used."""
        return sum(map(_processor_seconds, _family(self.pid)))


def _family(pid: int) -> list[int]:
    """Return `pid` and all processes below it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            children.setdefault(int(_stat(int(path.name))[1]), []).append(int(path.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name: the state, the parent…"""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _processor_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(pid: int) -> dict[str, int]:
    """Return the sizes in KiB that the kernel adds up for a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    return {name: int(size.split()[0]) for name, _, size in (line.partition(":") for line in lines)}


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(port: int, request: bytes) -> int:
    """Send one request, and return the status of the answer; 0 where there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError), socket.create_connection(("127.0.0.1", port), 5) as link:
        link.sendall(request)
        return int(link.makefile("rb").readline().split()[1])
    return 0


def head(path: str, agent: str, *, host: str = "stockroom.example") -> bytes:
    """Return a GET request that asks for `path`, as bytes."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n"
        "Accept-Language: en\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    ).encode()


@contextlib.contextmanager
def running(
    command: Sequence[str], port: int, answers: Callable[[int], bool], log: Path, variables: Mapping[str, str]
) -> Iterator[Server]:
    """Run a server until the end of the context; yield it once it `answers` at `port`. What it says goes into `log`.

    Raises `NotMeasuredError` when it ends, or does not answer in time.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(variables), cwd=log.parent
        )
    try:
        _wait(process, lambda: answers(port), log)
        yield Server(port, process.pid, time.perf_counter() - began)
    finally:
        _end(process)


def _wait(process: "subprocess.Popen[bytes]", ready: Callable[[], bool], log: Path) -> None:
    give_up = time.monotonic() + START_WITHIN
    while not ready():
        if process.poll() is not None or time.monotonic() > give_up:
            ended = "ended" if process.poll() is not None else f"did not answer within {START_WITHIN:.0f} s"
            raise NotMeasuredError(f"the server {ended}: {last_line(log)}")
        time.sleep(_POLL)


def last_line(log: Path) -> str:
    """Return the last line of a log, to say what went wrong."""
    return last_line_of(log.read_text(encoding="utf-8", errors="replace"))


def last_line_of(text: str) -> str:
    """Return the last line of what a program said."""
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_END_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
