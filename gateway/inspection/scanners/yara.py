"""YARA-X as a scanner: rules are compiled once, and every scan runs on its own within a time limit.

Measured with yara-x 1.23, which holds the interpreter's lock while it scans, and the built-in rules, on one core:

    source text    4 KiB  28 µs    64 KiB  95 µs    1 MB  1.1 ms    25 MiB  0.01 ms
    picture        4 KiB  21 µs    64 KiB  79 µs    8 MB  7.3 ms    25 MiB  0.01 ms
    hop to a thread and back  60 µs

(No built-in rule can match what is larger, and YARA-X then searches for nothing; a rule of one's own without a bound
on the file's size costs between half a millisecond and three per MiB.) So what is small and in memory is scanned where
it is, because a thread costs about as much as the scan. What is on disk is scanned in a thread, by the path of its
descriptor, which YARA-X maps: nothing is copied, and the mapping ends with the scan.
"""

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Final

import yara_x

from aupgate.inspection.scanners.base import Answer, ScanResult
from aupgate.inspection.spool import Spool
from aupgate.inspection.threads import run

_PACKAGE: Final = "aupgate.inspection"
_INLINE: Final = 64 * 1024
"""Bytes that are scanned without a thread, when they are in memory."""


class YaraScanner:
    """Scans with the built-in rules and those in the files at `rules`, each within `timeout` seconds.

    Raises `ValueError` when a file cannot be read or compiled.
    """

    def __init__(self, name: str, rules: Sequence[Path], timeout: float) -> None:
        self.name = name
        self._rules = _compile(rules)
        self._timeout = max(1, round(timeout))
        self._threads = ThreadPoolExecutor(2, "aupgate-yara")

    async def scan(self, content: Spool) -> ScanResult:
        """Scan `content`."""
        try:
            if content.on_disk:
                return await run(self._threads, functools.partial(self._scan_file, content.fileno()))
            if content.size > _INLINE:
                return await run(self._threads, functools.partial(self._scan_bytes, content))
            return self._scan_bytes(content)
        except (yara_x.ScanError, yara_x.TimeoutError) as error:
            return ScanResult(self.name, Answer.ERROR, reason=str(error))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False)

    def _scanner(self) -> yara_x.Scanner:
        scanner = yara_x.Scanner(self._rules)
        # It stops looking for a pattern once the rule is decided, and changes no answer.
        scanner.fast_scan(True)
        scanner.set_timeout(self._timeout)
        return scanner

    def _scan_bytes(self, content: Spool) -> ScanResult:
        return self._result(self._scanner().scan(content.read(0, content.size)))

    def _scan_file(self, descriptor: int) -> ScanResult:
        # On Linux and macOS alike this path leads to the open file, although it has no name any more.
        return self._result(self._scanner().scan_file(f"/dev/fd/{descriptor}"))

    def _result(self, results: yara_x.ScanResults) -> ScanResult:
        matches = sorted(rule.identifier for rule in results.matching_rules)
        return ScanResult(self.name, Answer.INFECTED if matches else Answer.CLEAN, ", ".join(matches))


def _compile(files: Sequence[Path]) -> yara_x.Rules:
    compiler = yara_x.Compiler()
    for source in sorted(resources.files(_PACKAGE).joinpath("rules").iterdir(), key=lambda each: each.name):
        if source.name.endswith(".yar"):
            compiler.new_namespace(source.name)
            compiler.add_source(source.read_text(encoding="utf-8"))
    for file in files:
        wrong = _add(compiler, file)
        if wrong:
            # A compiler may only be freed by the thread that made it, so no traceback must keep it alive.
            del compiler
            raise ValueError(wrong)
    return compiler.build()


def _add(compiler: yara_x.Compiler, file: Path) -> str:
    """Add a file of rules and return what is wrong with it; `include` is off: what is compiled is what was named."""
    compiler.enable_includes(False)
    compiler.new_namespace(file.name)
    try:
        compiler.add_source(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        return f"expected a readable file of YARA rules: {error}"
    except yara_x.CompileError as error:
        return f"expected YARA rules that compile: {error}"
    return ""
