"""YARA-X as a scanner: rules are compiled once, and every scan runs on its own within a time limit.

Measured with yara-x 1.23, which holds the interpreter's lock while it scans, and the built-in rules, on one core:

    making a scanner, which maps 80 MiB of address space  15 µs, and much more where other threads run
    hop to a thread and back  60 µs
    what begins with no tag and as no picture, of any size  0.5 µs
    what is searched    text behind a tag  64 KiB  52 µs    a picture  8 MB  7.3 ms    made to be slow  16 KiB  20 ms

(A rule of one's own without a bound on the file's size costs between half a millisecond and three per MiB.) So what is
small, in memory, and not searched by the built-in rules is scanned where it is, and nothing by rules of one's own. Each
thread keeps its scanner for what is small. What is on disk is scanned in a thread, by the path of its descriptor, which
YARA-X maps: nothing is copied, and the mapping ends with the scan.
"""

import functools
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Final, TypeVar

import yara_x

from aupgate.inspection.scanners.base import Answer, ScanResult
from aupgate.inspection.spool import Spool
from aupgate.inspection.threads import run

T = TypeVar("T")

_PACKAGE: Final = "aupgate.inspection"
_SMALL: Final = 64 * 1024
"""Bytes in memory that are scanned without a thread, or at least by a scanner that is kept."""
_SEARCHED: Final = re.compile(rb".{0,4}<(?:%|\?[=p])|\x89PNG|\xff\xd8|GIF8|X5O!", re.DOTALL | re.IGNORECASE).match
"""How content begins in which the built-in rules search for patterns."""
KEPT: Final = 8
"""Scanners that one thread keeps: as many as are configured together, and more."""


class YaraScanner:
    """Scans with the built-in rules and those in the files at `rules`, each within `timeout` seconds.

    Raises `ValueError` when a file cannot be read or compiled.
    """

    def __init__(self, name: str, rules: Sequence[Path], timeout: float) -> None:
        self.name = name
        self._rules = _compile(rules)
        self._timeout = max(1, round(timeout))
        self._bounded = not rules
        self._threads = ThreadPoolExecutor(2, "aupgate-yara")
        self._clean = ScanResult(name, Answer.CLEAN)

    async def scan(self, content: Spool) -> ScanResult:
        """Scan `content`."""
        if content.on_disk:
            return await run(self._threads, functools.partial(self._scan_file, content.fileno()))
        if content.size > _SMALL:
            return await run(self._threads, functools.partial(self._scan_large, content))
        data = content.read(0, content.size)
        if self._bounded and not _SEARCHED(data):
            return self._scan_small(data)
        return await run(self._threads, functools.partial(self._scan_small, data))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False)

    def _scanner(self) -> yara_x.Scanner:
        scanner = yara_x.Scanner(self._rules)
        # It stops looking for a pattern once the rule is decided, and changes no answer.
        scanner.fast_scan(True)
        scanner.set_timeout(self._timeout)
        return scanner

    def _scan_small(self, data: bytes) -> ScanResult:
        kept = _scanners.by_rules
        scanner = kept.get(self._rules)
        if scanner is None:
            if len(kept) >= KEPT:
                kept.clear()
            scanner = kept[self._rules] = self._scanner()
        return self._answer(scanner.scan, data)

    def _scan_large(self, content: Spool) -> ScanResult:
        return self._answer(self._scanner().scan, content.read(0, content.size))

    def _scan_file(self, descriptor: int) -> ScanResult:
        # On Linux and macOS alike this path leads to the open file, although it has no name any more.
        return self._answer(self._scanner().scan_file, f"/dev/fd/{descriptor}")

    def _answer(self, scan: Callable[[T], yara_x.ScanResults], what: T) -> ScanResult:
        try:
            matching = scan(what).matching_rules
        except (yara_x.ScanError, yara_x.TimeoutError) as error:
            # Told here, as no traceback must carry a scanner to another thread, which must not free it.
            return ScanResult(self.name, Answer.ERROR, reason=str(error))
        if not matching:
            return self._clean
        return ScanResult(self.name, Answer.INFECTED, ", ".join(sorted(rule.identifier for rule in matching)))


class _Scanners(threading.local):
    """The scanners that a thread keeps: only the thread that made one may use it, and free it."""

    def __init__(self) -> None:
        self.by_rules: dict[yara_x.Rules, yara_x.Scanner] = {}


_scanners: Final = _Scanners()


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
