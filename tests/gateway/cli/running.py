"""Runs the command line: in this process, on a terminal, and as the server that it is."""

import contextlib
import io
import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from aupgate.cli import main

PROGRAM = [sys.executable, "-m", "aupgate"]


class Result(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> dict[str, list[str]]:
        """The lines of its table in a pipe, split at the gaps between columns, by their first cell."""
        cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in self.out.splitlines()]
        return {row[0]: row[1:] for row in cells if row}


def environment(**given: str) -> dict[str, str]:
    """Return the environment without settings of the gateway, and with what is `given`."""
    plain = {name: text for name, text in os.environ.items() if not name.startswith(("AUPGATE_", "WEB_CONCURRENCY"))}
    return {**plain, **given}


def aupgate(*arguments: str | Path, stdin: bytes = b"", environ: Mapping[str, str] | None = None) -> Result:
    """Run one command in this process, its output going to pipes."""
    buffers = [io.BytesIO(content) for content in (stdin, b"", b"")]
    streams = [io.TextIOWrapper(buffer, encoding="utf-8") for buffer in buffers]
    patches: list[contextlib.AbstractContextManager[object]] = [
        mock.patch.object(sys, "argv", ["aupgate", *map(str, arguments)]),
        mock.patch.object(sys, "stdin", streams[0]),
        mock.patch.object(sys, "stdout", streams[1]),
        mock.patch.object(sys, "stderr", streams[2]),
        mock.patch.dict(os.environ, environment(**(environ or {})), clear=True),
    ]
    code: object = 0
    with contextlib.ExitStack() as patched:
        for patch in patches:
            patched.enter_context(patch)
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code or 0
    for stream in streams[1:]:
        stream.flush()
    assert isinstance(code, int)
    return Result(code, buffers[1].getvalue().decode(), buffers[2].getvalue().decode())


def on_a_terminal(*arguments: str | Path) -> tuple[int, str]:
    """Run one command in a process of its own with a terminal for output; return its exit code and what it showed."""
    leader, follower = pty.openpty()
    env = {name: text for name, text in environment(TERM="xterm-256color").items() if name not in {"NO_COLOR", "CI"}}
    with subprocess.Popen(
        [*PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=follower, stderr=follower, env=env
    ) as process:
        os.close(follower)
        shown = _read_all(leader)
    os.close(leader)
    return process.returncode, shown


def _read_all(descriptor: int) -> str:
    content = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while piece := os.read(descriptor, 65536):
            content += piece
    return content.decode()


class Server:
    """A running `aupgate serve`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.log: list[str] = []
        line = self.read_until("listening on ")
        self.address = line.partition("listening on ")[2].partition(",")[0].removeprefix("http://")

    def read_until(self, text: str) -> str:
        """Read its log up to a line with `text`, and return that line."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if text in line:
                return line
        raise AssertionError("".join(self.log))

    def stop(self, signal: int) -> Result:
        """Send `signal`, wait for its end, and return what it has written since."""
        self.process.send_signal(signal)
        out, err = self.process.communicate()
        return Result(self.process.returncode, out, err)


@contextlib.contextmanager
def serving(*arguments: str | Path, **environ: str) -> Iterator[Server]:
    """Run `aupgate serve` on a free port; it is ended with the context."""
    command = [*PROGRAM, "serve", "--listen", "127.0.0.1:0", *map(str, arguments)]
    env = environment(**{"AUPGATE_ADMIN__LISTEN": "off", **environ})
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        try:
            yield Server(process)
        finally:
            process.kill()
