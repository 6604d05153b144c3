"""Scanners by their names in the configuration."""

import subprocess
import sys
from pathlib import Path

import pytest

from aupgate.errors import ConfigError
from aupgate.inspection.scanners.clamd import ClamdScanner
from aupgate.inspection.scanners.registry import parse
from aupgate.inspection.scanners.yara import YaraScanner

CLAMD = {
    "clamd:unix:/run/clamav/clamd.ctl": "/run/clamav/clamd.ctl",
    "clamd:unix:clamd.sock": "/etc/aupgate/clamd.sock",
    "clamd:tcp:127.0.0.1:3310": ("127.0.0.1", 3310),
    "clamd:tcp:scanner.internal:3310": ("scanner.internal", 3310),
    "clamd:tcp:[::1]:3310": ("::1", 3310),
}


@pytest.mark.parametrize(("spec", "address"), CLAMD.items(), ids=CLAMD.keys())
def test_a_clamd_is_named_by_its_address(spec: str, address: object) -> None:
    scanner = parse(spec, Path("/etc/aupgate"), 5.0)
    assert isinstance(scanner, ClamdScanner)
    assert scanner._address == address
    scanner.close()


def test_yara_takes_files_of_rules_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "own.yar").write_text('rule own { strings: $a = "x" condition: $a }')
    scanner = parse("yara:own.yar", tmp_path, 5.0)
    assert isinstance(scanner, YaraScanner)
    scanner.close()


REFUSED = {
    "icap://127.0.0.1/avscan": "not part of this version",
    "virustotal": 'expected "yara"',
    "": 'expected "yara"',
    "clamd": 'expected "yara"',
    "clamd:/run/clamd.ctl": 'expected "yara"',
    "clamd:unix:": 'expected "yara"',
    "clamd:tcp:localhost": 'expected "yara"',
    "clamd:tcp:localhost:99999": 'expected "yara"',
    "yara:none.yar": "readable file",
    "yara:broken.yar": "rules that compile",
}


@pytest.mark.parametrize(("spec", "expected"), REFUSED.items(), ids=REFUSED.keys())
def test_what_is_no_scanner_says_what_would_be_one(spec: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "broken.yar").write_text("rule broken { condition: nonsense }")
    with pytest.raises(ConfigError, match=expected) as error:
        parse(spec, tmp_path, 5.0)
    (problem,) = error.value.problems
    assert problem.key == "policies.uploads.scanners"
    assert spec in problem.value


def test_without_yara_x_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['yara_x'] = None\n"
        "from pathlib import Path\n"
        "from aupgate.inspection.scanners.registry import parse\n"
        "parse('clamd:unix:/none', Path(), 1).close()\n"
        "parse('yara', Path(), 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "install aupgate[uploads]" in done.stderr
