"""The audit log and the access log: one JSON line per finding, one per request, written off the hot path.

Lines go through a `LineWriter`: a bounded buffer and one thread that writes, so that a slow disk or a stopped reader of
standard output never holds up a request. Lines that find the buffer full are dropped and counted, and the count is
logged.
"""

import atexit
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

from aupgate.meters import Outcome
from aupgate.model import Judgement, Request
from aupgate.redaction import account_hash, redact, redact_target, shorten

MAX_LINES: Final = 10_000
"""Lines that wait to be written at most."""
FLUSH: Final = 0.2
"""Seconds between writes at most."""

Write = Callable[[str], None]


class LineWriter:
    """Writes lines to `stream` from a thread of its own, which starts with the first line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        atexit.register(self.flush)

    def __call__(self, line: str) -> None:
        """Queue one line, without its end."""
        if len(self._lines) >= MAX_LINES:
            self._dropped += 1
            return
        self._lines.append(line)
        if self._thread is None:
            self._begin()

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if self._dropped:
                lines.append(_json({"event": "lines_dropped", "time": _timestamp(), "count": self._dropped}))
                self._dropped = 0
            if lines:
                self._write(lines)

    def _write(self, lines: list[str]) -> None:
        try:
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # a full disk or a closed pipe: counted, and the next lines try again
            self._dropped += len(lines)

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="aupgate-log", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(FLUSH)
            self.flush()


def open_writer(target: str, base: Path) -> LineWriter | None:
    """Return a writer for `stdout`, `stderr`, or a file relative to `base` (appended to); None for `off`."""
    match target:
        case "off":
            return None
        case "stdout":
            return LineWriter(sys.stdout)
        case "stderr":
            return LineWriter(sys.stderr)
        case path:
            return LineWriter((base / path).open("a", encoding="utf-8"))


class AuditLog:
    """A `FindingSink` that writes one JSON line per finding."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def record(self, request: Request, judgement: Judgement) -> None:
        """Write the line for one judgement. The account is hashed; secrets in target and evidence are redacted."""
        finding = judgement.finding
        self._write(
            _json(
                {
                    "event": "finding",
                    "time": _timestamp(request.now),
                    "request_id": request.id,
                    "rule": finding.rule,
                    "action": finding.action,
                    "mode": judgement.mode,
                    "enforced": judgement.enforced,
                    "status": finding.status or None,
                    "clauses": [clause.id for clause in judgement.clauses],
                    "client": request.client.address or None,
                    "network": request.client.network,
                    "account": account_hash(request.account),
                    "account_verified": request.account.verified if request.account else None,
                    "method": shorten(request.method),
                    "target": redact_target(request.target),
                    "detail": finding.detail,
                    "points": finding.points,
                    "evidence": redact(finding.evidence),
                }
            )
        )


class AccessLog:
    """Writes one JSON line per request when it has ended."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def record(self, request: Request, outcome: Outcome) -> None:
        """Write the line for one exchange."""
        agent = request.header(b"user-agent")
        self._write(
            _json(
                {
                    "event": "access",
                    "time": _timestamp(request.now),
                    "request_id": request.id,
                    "client": request.client.address or None,
                    "account": account_hash(request.account),
                    "method": shorten(request.method),
                    "target": redact_target(request.target),
                    "http_version": request.http_version,
                    "status": outcome.status or None,
                    "refused": outcome.refused,
                    "aborted": outcome.aborted,
                    "bytes_in": outcome.bytes_in,
                    "bytes_out": outcome.bytes_out,
                    "duration_ms": round(outcome.duration * 1000, 3),
                    "agent": shorten(agent.decode("latin-1")) if agent else None,
                }
            )
        )


def _json(fields: dict[str, Any]) -> str:
    return json.dumps(
        {name: found for name, found in fields.items() if found is not None},
        separators=(",", ":"),
    )


def _timestamp(seconds: float | None = None) -> str:
    moment = datetime.fromtimestamp(seconds, UTC) if seconds is not None else datetime.now(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
