"""Scanners by the names that the configuration gives them. A scanner that is not named is not imported."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aupgate.errors import ConfigError, Problem

if TYPE_CHECKING:
    from aupgate.inspection.scanners.base import Scanner

EXPECTED: Final = 'expected "yara", "yara:PATH", "clamd:unix:PATH" or "clamd:tcp:HOST:PORT"'


def parse(spec: str, base: Path, timeout: float) -> "Scanner":
    """Return the scanner that `spec` names; `timeout` is the longest that one scan may take, in seconds.

    Relative paths start from `base`. Raises `ConfigError` when there is no such scanner, or when it cannot be had.
    """
    kind, _, rest = spec.partition(":")
    try:
        if kind == "yara":
            return _yara(spec, [base / rest] if rest else [], timeout)
        if kind == "clamd":
            return _clamd(spec, rest, base, timeout)
    except ValueError as error:
        raise _refused(spec, str(error)) from error
    if kind in ("icap", "icaps"):
        raise _refused(spec, f"ICAP scanners are not part of this version: {EXPECTED}")
    raise _refused(spec, EXPECTED)


def _refused(spec: str, expected: str) -> ConfigError:
    return ConfigError([Problem("configuration", None, "policies.uploads.scanners", f'"{spec}"', expected)])


def _yara(spec: str, rules: Sequence[Path], timeout: float) -> "Scanner":
    try:
        from aupgate.inspection.scanners.yara import YaraScanner  # noqa: PLC0415 - an optional extra
    except ModuleNotFoundError as error:
        raise _refused(spec, "this scanner needs yara-x: install aupgate[uploads], or name other scanners") from error
    return YaraScanner(spec, rules, timeout)


def _clamd(spec: str, address: str, base: Path, timeout: float) -> "Scanner":
    from aupgate.inspection.scanners.clamd import ClamdScanner  # noqa: PLC0415 - only when it is named

    kind, _, where = address.partition(":")
    if kind == "unix" and where:
        return ClamdScanner(spec, str(base / where), timeout)
    host, _, port = where.rpartition(":")
    if kind == "tcp" and host and port.isascii() and port.isdecimal() and 0 < int(port) < 65536:
        return ClamdScanner(spec, (host.strip("[]"), int(port)), timeout)
    raise ValueError(EXPECTED)
