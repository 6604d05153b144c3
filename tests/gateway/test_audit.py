"""The audit and access logs."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from aupgate import audit
from aupgate.audit import AccessLog, AuditLog, LineWriter, open_writer
from aupgate.meters import Outcome
from aupgate.model import Account, Action, Clause, Finding, Judgement, Mode, Rule
from tests.gateway.scripted import a_request


def logged(judgement: Judgement, **parts: Any) -> dict[str, Any]:
    lines: list[str] = []
    AuditLog(lines.append).record(a_request(**parts), judgement)
    [line] = lines
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def a_judgement(**evidence: Any) -> Judgement:
    finding = Finding("scrapers.scraper", Action.REFUSE, 403, "no robots", points=1, evidence=evidence)
    clause = Clause("test.robots", "Robots", "", ("scrapers",), "test")
    return Judgement(finding, Rule(finding.rule, "Robots"), Mode.ENFORCE, (clause,))


def test_a_finding_is_one_json_line_with_rule_clauses_mode_and_request() -> None:
    line = logged(a_judgement(agent="curl/8"), account=Account("ann", "key:x", verified=True), target=b"/a?token=1")
    assert line == {
        "event": "finding",
        "time": "2027-01-15T08:00:00.000Z",
        "request_id": "6f9c3c9e-1111-4222-8333-444455556666",
        "rule": "scrapers.scraper",
        "action": "refuse",
        "mode": "enforce",
        "enforced": True,
        "status": 403,
        "clauses": ["test.robots"],
        "client": "192.0.2.7",
        "network": "192.0.2.7",
        "account": line["account"],
        "account_verified": True,
        "method": "GET",
        "target": "/a?token=[redacted]",
        "detail": "no robots",
        "points": 1,
        "evidence": {"agent": "curl/8"},
    }
    assert "ann" not in line["account"]


@pytest.mark.parametrize("hostile", ["a\nb", "\x00", "\u2028", '"},{"', "\ud800"])
def test_a_hostile_value_cannot_break_the_line(hostile: str) -> None:
    assert logged(a_judgement(agent=hostile))["evidence"]["agent"] == hostile


def test_an_exchange_is_one_access_line() -> None:
    lines: list[str] = []
    AccessLog(lines.append).record(a_request(), Outcome(200, 1, 2, 0.0123456, aborted=False))
    line = json.loads(lines[0])
    assert (line["event"], line["status"], line["bytes_out"], line["duration_ms"]) == ("access", 200, 2, 12.346)


def test_lines_are_written_in_order(tmp_path: Path) -> None:
    writer = open_writer("audit.jsonl", tmp_path)
    assert writer is not None
    for number in range(100):
        writer(str(number))
    writer.flush()
    assert (tmp_path / "audit.jsonl").read_text().splitlines() == [str(number) for number in range(100)]


def test_a_log_that_is_off_is_not_written() -> None:
    assert open_writer("off", Path()) is None


def test_lines_beyond_the_bound_are_counted_and_the_count_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_LINES", 2)
    stream = io.StringIO()
    writer = LineWriter(stream)
    writer._thread = object()  # type: ignore[assignment]
    for number in range(5):
        writer(str(number))
    writer.flush()
    *lines, last = stream.getvalue().splitlines()
    assert lines == ["0", "1"]
    assert (json.loads(last)["event"], json.loads(last)["count"]) == ("lines_dropped", 3)


def test_a_full_disk_does_not_end_the_log() -> None:
    class Full(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    stream = Full()
    writer = LineWriter(stream)
    writer._thread = object()  # type: ignore[assignment]
    writer("lost")
    writer.flush()
    stream.full = False
    writer("kept")
    writer.flush()
    kept, dropped = stream.getvalue().splitlines()
    assert kept == "kept"
    assert json.loads(dropped)["count"] == 1
