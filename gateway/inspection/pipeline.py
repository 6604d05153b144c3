"""The file inspection: a body is taken apart, and every file in it is looked at in every way there is.

    body -> multipart -> each file: type by content -> structure -> members of archives -> scanners
                      -> each field:                               members of archives -> scanners

Everything that is wrong is reported, not only the first thing. What costs CPU or waits for the disk runs in a few
threads.
"""

import asyncio
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from aupgate.http import media_type
from aupgate.inspection import archives
from aupgate.inspection.archives import Member
from aupgate.inspection.bounds import Allowance, ArchiveError, Bounds
from aupgate.inspection.multipart import MultipartShapeError, Part, parts
from aupgate.inspection.scanners.base import Answer, Scanner, ScanResult
from aupgate.inspection.scanners.registry import parse
from aupgate.inspection.signatures import PLAIN, UNKNOWN, ZIP, detect, detect_signature
from aupgate.inspection.spool import CHUNK, Spool, SpoolFactory
from aupgate.inspection.structure import can_break, damage
from aupgate.inspection.threads import run
from aupgate.inspection.types import DOCUMENT, MEDIA, agrees, claimed_family, family, missing_signature
from aupgate.model import Defect, Examination, FileSummary
from aupgate.policy import Body
from aupgate.values import value

T = TypeVar("T")

MAX_DEFECTS: Final = 100
"""Defects reported of one body: an archive of a thousand infected files is refused no more than one of a hundred."""

_SHOWN: Final = 200
"""Characters of a file's place that a defect names."""

_TOGETHER: Final = 32
"""Members that are unpacked ahead, of 64 KiB together and the last of any size."""

AT_ONCE: Final = 2048
"""Bytes of a multipart body in memory that is taken apart on the event loop: the way to a thread and back costs more
than a form does that people fill in, and one made of as many parts as fit costs half a millisecond."""

_THREADS: Final = min(4, os.cpu_count() or 1)

_NO_FILES: Final = frozenset(
    {b"application/x-www-form-urlencoded", b"application/json", b"application/x-ndjson", b"application/graphql"}
)
"""Types of bodies that are data for the application and no file: scanned, but not asked what they claim to be."""
_NO_FILE_PREFIX: Final = "application/grpc"

_ANSWERS: Final[Mapping[Answer, tuple[str, str]]] = {
    Answer.INFECTED: ("infected", "malware was found"),
    Answer.ENCRYPTED: ("encrypted", "the content is encrypted, so that it cannot be scanned"),
    Answer.LIMITS: ("bomb", "the content unfolds beyond what a scanner accepts"),
    Answer.ERROR: ("scanner_unavailable", "the content could not be scanned for malware"),
}


class FilePipeline:
    """Inspects the files of bodies with `scanners`, within `bounds`."""

    def __init__(self, scanners: Sequence[Scanner], bounds: Bounds | None = None) -> None:
        self._scanners = tuple(scanners)
        self._bounds = bounds or Bounds()
        self._threads = ThreadPoolExecutor(_THREADS, "aupgate-files")
        self._spools = SpoolFactory()

    async def examine(self, body: Body, content_type: bytes | None, name: str) -> Examination:
        """Take `body` apart by its declared `content_type` and examine every file in it; `name` names a bare body.

        Raises `SpoolError` when the spool has no room for what must be unpacked.
        """
        report = _Report()
        if isinstance(body, Spool):
            await self._examine_body(body, content_type or b"", name, report)
        else:
            with self._spools.open() as spool:
                await self._run(_fill, spool, body)
                await self._examine_body(spool, content_type or b"", name, report)
        return Examination(report.defects, report.files)

    def close(self) -> None:
        """End threads and scanners."""
        self._threads.shutdown(wait=False)
        for scanner in self._scanners:
            scanner.close()

    async def _examine_body(self, body: Spool, content_type: bytes, name: str, report: "_Report") -> None:
        kind = content_type.partition(b";")[0].strip(b" \t").lower()
        if kind in _NO_FILES:
            await self._examine_content(body, detect_signature(body), name, report)
        elif kind.strip().startswith(b"multipart/"):
            await self._examine_parts(body, content_type, report)
        elif (declared := media_type(kind)).endswith("+json") or declared.startswith(_NO_FILE_PREFIX):
            await self._examine_content(body, detect_signature(body), name, report)
        else:
            await self._examine_file(body, name, declared, report)

    async def _examine_parts(self, body: Spool, content_type: bytes, report: "_Report") -> None:
        if body.size <= AT_ONCE and not body.on_disk:
            found, shape = _take_apart(body, content_type, self._bounds.max_parts)
        else:
            found, shape = await self._run(_take_apart, body, content_type, self._bounds.max_parts)
        if shape:
            report.add("malformed", "", shape)
        for index, part in enumerate(found):
            await _take_turns(index)
            with body.factory.open() as spool:
                await self._copy(body, part, spool)
                if part.filename is None:
                    await self._examine_content(spool, detect_signature(spool), part.name, report)
                elif part.filename or part.size:  # a browser sends an empty part for a file that was not chosen
                    await self._examine_file(spool, part.filename, part.type, report)

    async def _copy(self, body: Spool, part: Part, spool: Spool) -> None:
        """Copy a part: scanners look at files from their first byte, and some of their rules count from there."""
        if part.size <= CHUNK:
            spool.write(body.read(part.start, part.size))
        else:
            await self._run(_copy, body, part, spool)

    async def _examine_file(self, content: Spool, name: str, declared: str, report: "_Report") -> None:
        signature = detect(content)
        type_ = signature
        if signature == ZIP:
            type_ = await self._run(archives.zip_content_type, content, self._bounds)
        elif signature in (UNKNOWN, PLAIN) and archives.hidden(content, signature) >= 0:
            type_ = ZIP
        report.files.append(FileSummary(name, type_ or ZIP, content.size, content.sha256))
        if content.size:  # nothing can be no disguise, and is no more than an upload that nobody filled
            self._check_claims(content, name, declared, (signature, type_), report)
        if can_break(signature):
            report.check("corrupt", name, await self._run(damage, content, signature))
        await self._examine_content(content, signature, name, report)

    def _check_claims(
        self, content: Spool, name: str, declared: str, types: tuple[str, str], report: "_Report"
    ) -> None:
        signature, type_ = types
        # An archive too damaged to say what it is may well be the document that it is named as.
        if type_ or claimed_family(name) != DOCUMENT:
            report.check("mismatched_type", name, agrees(name, declared, type_ or ZIP), type=type_ or ZIP)
        if family(type_) in MEDIA and archives.hidden(content, signature) >= 0:
            report.add("mismatched_type", name, f"the file is {type_} and a ZIP archive at once", type=type_)
        report.check("corrupt", name, missing_signature(name, declared, signature))

    async def _examine_content(self, content: Spool, type_: str, where: str, report: "_Report") -> None:
        if opener := archives.opener(content, type_):
            place = _Place(where, 1, type_, Allowance(self._bounds, content.size))
            await self._look_inside(opener, place, report)
        await self._scan(content, where, report)

    async def _look_inside(self, opener: archives.Opener, place: "_Place", report: "_Report") -> None:
        """Examine the members of an archive."""
        try:
            place.allowance.descend(place.depth)
            with closing(_Walk(opener(place.allowance))) as walk:
                while found := await self._run(walk.advance):
                    for index, member in enumerate(found):
                        await _take_turns(index)
                        await self._examine_member(member, place, report)
        except ArchiveError as error:
            report.add(error.kind, place.where, error.detail)

    async def _examine_member(self, member: Member, place: "_Place", report: "_Report") -> None:
        where = f"{place.where}/{member.name}" if member.name else place.where
        if member.content is None:
            if not report.has(member.kind):
                report.add(member.kind, where, f"a file in the archive {member.obstacle}")
            return
        inner = detect_signature(member.content)
        if opener := archives.opener(member.content, inner):
            # A compressed tar is one archive, not two.
            depth = place.depth if archives.is_stream(place.type) and inner == archives.TAR else place.depth + 1
            await self._look_inside(opener, _Place(where, depth, inner, place.allowance), report)
        await self._scan(member.content, where, report)

    async def _scan(self, content: Spool, where: str, report: "_Report") -> None:
        """Ask all scanners at once."""
        # One that failed on this body is not asked again, or a dead one would cost its time limit a thousand times.
        scanners: Sequence[Scanner] = self._scanners
        if report.failed:
            scanners = [scanner for scanner in scanners if scanner.name not in report.failed]
        if not content.size or not scanners:
            return
        if len(scanners) == 1:  # without a task, which would cost more than most scans
            report.take(await scanners[0].scan(content), where, content)
            return
        async with asyncio.TaskGroup() as group:
            scans = [group.create_task(scanner.scan(content)) for scanner in scanners]
        for scan in scans:
            report.take(scan.result(), where, content)

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await run(self._threads, functools.partial(work, *arguments))


async def _take_turns(index: int) -> None:
    """Let others have the event loop before each content but the first: many small ones together are much."""
    if index:
        await asyncio.sleep(0)


@value
class _Place:
    """Where in a body an archive is, how deep, of which type, and what it may still unfold into."""

    where: str
    depth: int
    type: str
    allowance: Allowance


class _Report:
    """What was found so far in one body."""

    __slots__ = ("defects", "failed", "files")

    def __init__(self) -> None:
        self.defects: list[Defect] = []
        self.files: list[FileSummary] = []
        self.failed: set[str] = set()

    def add(self, kind: str, where: str, detail: str, **evidence: Any) -> None:
        if len(self.defects) < MAX_DEFECTS:
            self.defects.append(Defect(kind, where[:_SHOWN], detail, evidence))

    def check(self, kind: str, where: str, detail: str, **evidence: Any) -> None:
        """Add what a check found, if it found anything."""
        if detail:
            self.add(kind, where, detail, **evidence)

    def has(self, kind: str) -> bool:
        return any(defect.kind == kind for defect in self.defects)

    def take(self, result: ScanResult, where: str, content: Spool) -> None:
        """Take a scanner's answer."""
        if result.answer is Answer.CLEAN:
            return
        if result.answer is Answer.ERROR:
            self.failed.add(result.scanner)
        kind, detail = _ANSWERS[result.answer]
        # Not "signature": the audit log takes what is called so for a secret.
        told = {"malware": result.signature, "reason": result.reason}
        evidence = {name: text for name, text in told.items() if text}
        self.add(kind, where, detail, scanner=result.scanner, sha256=content.sha256, size=content.size, **evidence)


class _Walk:
    """Steps through an archive and closes members behind itself, also when whoever waited for them is gone."""

    def __init__(self, members: Iterator[Member]) -> None:
        self._members = members
        self._held: list[Member] = []
        self._error: ArchiveError | None = None

    def advance(self) -> Sequence[Member]:
        """Return the next members, none behind the last: several small ones, as a thread for each costs more than they.

        Raises `ArchiveError` once those before the fault were returned.
        """
        self.close()
        if self._error is not None:
            raise self._error
        size = 0
        try:
            while len(self._held) < _TOGETHER and size < CHUNK and (member := next(self._members, None)):
                self._held.append(member)
                size += member.content.size if member.content is not None else 0
        except ArchiveError as error:
            self._error = error
            if not self._held:
                raise
        return self._held

    def close(self) -> None:
        for member in self._held:
            if member.content is not None:
                member.content.close()
        self._held = []


def _take_apart(body: Spool, content_type: bytes, limit: int) -> tuple[list[Part], str]:
    """Return the parts of a body, and the shape for which it is refused, if it is."""
    found: list[Part] = []
    try:
        found.extend(parts(body, content_type, limit))
    except MultipartShapeError as error:
        return found, str(error)
    return found, ""


def _fill(spool: Spool, body: Body) -> None:
    with body.open() as reader:
        while chunk := reader.read(CHUNK):
            spool.write(chunk)


def _copy(body: Spool, part: Part, spool: Spool) -> None:
    for offset in range(part.start, part.start + part.size, CHUNK):
        spool.write(body.read(offset, min(CHUNK, part.start + part.size - offset)))


class Wanted(Protocol):
    """The settings that a pipeline is built from; those of the policy `uploads` fit."""

    @property
    def scanners(self) -> Sequence[str]:
        """Scanners, as `scanners.registry.parse` reads them."""

    @property
    def scan_timeout(self) -> float:
        """Longest time for one scan, in seconds."""

    @property
    def max_parts(self) -> int:
        """As in `Bounds`."""

    @property
    def max_entries(self) -> int:
        """As in `Bounds`."""

    @property
    def max_total(self) -> int:
        """As in `Bounds`."""

    @property
    def max_ratio(self) -> int:
        """As in `Bounds`."""

    @property
    def max_depth(self) -> int:
        """As in `Bounds`."""


def build(settings: Wanted, base: Path) -> FilePipeline:
    """Build the pipeline that `settings` ask for; relative paths in them start from `base`.

    Raises `ConfigError` when a scanner is unknown, or not installed, or its rules cannot be used.
    """
    scanners = [parse(spec, base, settings.scan_timeout) for spec in settings.scanners]
    bounds = Bounds(
        settings.max_parts, settings.max_entries, settings.max_total, settings.max_ratio, settings.max_depth
    )
    return FilePipeline(scanners, bounds)
