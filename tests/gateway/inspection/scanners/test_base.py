"""What every scanner has in common."""

import inspect
from pathlib import Path

import pytest

from aupgate.inspection.scanners.base import Answer, Scanner, ScanResult
from aupgate.inspection.scanners.registry import parse


@pytest.mark.parametrize("spec", ["yara", "clamd:unix:/none"])
def test_every_scanner_is_asked_and_ended_in_the_same_way(spec: str) -> None:
    scanner: Scanner = parse(spec, Path(), 1.0)
    assert scanner.name == spec
    assert inspect.iscoroutinefunction(scanner.scan)
    scanner.close()


def test_an_answer_is_clean_only_when_it_says_so() -> None:
    assert [answer for answer in Answer if answer is not Answer.CLEAN] == ["infected", "encrypted", "limits", "error"]
    assert ScanResult("yara", Answer.CLEAN) == ScanResult("yara", Answer.CLEAN, "", "")
