"""The whole inspection: what it refuses and what passes, whichever way the file arrives."""

import asyncio
import bz2
import io
import lzma
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aupgate.errors import ConfigError, SpoolError
from aupgate.inspection.bounds import Bounds
from aupgate.inspection.pipeline import MAX_DEFECTS, FilePipeline, build
from aupgate.inspection.scanners.base import Answer, ScanResult
from aupgate.inspection.scanners.clamd import ClamdScanner
from aupgate.inspection.scanners.yara import YaraScanner
from aupgate.inspection.spool import Spool, SpoolFactory
from aupgate.model import Examination
from tests.gateway.inspection.files import (
    ELF,
    HTML,
    OLE,
    PE,
    SVG,
    animation,
    gzipped,
    noise,
    office,
    open_document,
    pdf,
    picture,
    spooled,
    streamed_zip,
    tarred,
    zipped,
)
from tests.services import EICAR, MARKER, Clamd

MULTIPART = b"multipart/form-data; boundary=BOUND"


def form(*parts: tuple[str, str | None, str, bytes]) -> bytes:
    """A multipart body of parts: field name, file name or None, declared type, content."""
    sent = b""
    for name, filename, type_, content in parts:
        file = "" if filename is None else f'; filename="{filename}"'
        kind = f"Content-Type: {type_}\r\n" if type_ else ""
        sent += (
            f'--BOUND\r\nContent-Disposition: form-data; name="{name}"{file}\r\n{kind}\r\n'.encode() + content + b"\r\n"
        )
    return sent + b"--BOUND--\r\n"


@pytest.fixture(scope="module")
def pipeline() -> Iterator[FilePipeline]:
    pipeline = FilePipeline([YaraScanner("yara", [], 30.0)])
    yield pipeline
    pipeline.close()


async def examine(
    pipeline: FilePipeline, data: bytes, type_: bytes | None = None, name: str = "", memory: int = 64 * 1024
) -> Examination:
    with spooled(data, memory) as body:
        examination = await pipeline.examine(body, type_, name)
        assert body.factory.budget.used == len(data), "what was unpacked is freed"
    return examination


def kinds(examination: Examination) -> list[str]:
    return sorted(defect.kind for defect in examination.defects)


async def by_form(pipeline: FilePipeline, name: str, type_: str, data: bytes, memory: int = 65536) -> Examination:
    return await examine(pipeline, form(("file", name, type_, data)), MULTIPART, memory=memory)


JPEG, PNG = picture("JPEG", (200, 200)), picture("PNG", (100, 100))
INFECTED_LETTER = zipped({"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<x/>", "word/embedded.bin": EICAR})
NESTED = zipped({"in/inner.zip": zipped({"deep.tar.gz": gzipped(tarred({"eicar.com": EICAR}))})})


def flagged(data: bytes) -> bytes:
    """The same ZIP, its entries said to be encrypted."""
    data = data.replace(b"PK\x03\x04\x14\x00\x00\x00", b"PK\x03\x04\x14\x00\x01\x00")
    return data.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")


def packed_by(method: int) -> bytes:
    """A ZIP whose entries say that they are packed by this method."""
    mark = method.to_bytes(2, "little")
    data = zipped({"a": b"x" * 50, "b": b"y" * 50})
    data = data.replace(b"PK\x03\x04\x14\x00\x00\x00\x08\x00", b"PK\x03\x04\x14\x00\x00\x00" + mark)
    return data.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x08\x00", b"PK\x01\x02\x14\x03\x14\x00\x00\x00" + mark)


HARMLESS = zipped({"b.txt": b"nothing special"}, zipfile.ZIP_STORED)
INFECTED = zipped({"eicar.com": EICAR})

REFUSED = {
    "EICAR": ("eicar.com", "", EICAR, ["infected"]),
    "EICAR named as text": ("eicar.txt", "text/plain", EICAR + b"\n", ["infected"]),
    "EICAR in a ZIP": ("a.zip", "application/zip", zipped({"x.txt": b"y", "eicar.com": EICAR}), ["infected"]),
    "EICAR stored in a ZIP": ("a.zip", "", zipped({"eicar.com": EICAR}, 0), ["infected"]),
    "EICAR in a streamed ZIP": ("a.zip", "", streamed_zip({"eicar.com": EICAR}), ["infected"]),
    "EICAR in a tar": ("a.tar", "", tarred({"eicar.com": EICAR}), ["infected"]),
    "EICAR in gzip": ("a.gz", "", gzipped(EICAR), ["infected"]),
    "EICAR in bzip2": ("a.bz2", "", bz2.compress(EICAR), ["infected"]),
    "EICAR in xz": ("a.xz", "", lzma.compress(EICAR), ["infected"]),
    "EICAR in a document": ("a.docx", "", INFECTED_LETTER, ["infected"]),
    "EICAR three archives deep": ("a.zip", "", NESTED, ["infected"]),
    "a web shell": ("photo.php", "", b"<?php system($_GET['c']);", ["infected"]),
    "a web shell in a picture": ("photo.gif", "image/gif", animation() + b"<?php system($_GET['c']);", ["infected"]),
    "an ELF program named .png": ("photo.png", "image/png", ELF, ["mismatched_type"]),
    "a Windows program named .png": ("photo.png", "image/png", PE, ["mismatched_type"]),
    "a Windows program named .pdf": ("invoice.pdf", "application/pdf", PE, ["mismatched_type"]),
    "HTML named .jpg": ("photo.jpg", "image/jpeg", HTML, ["mismatched_type"]),
    "SVG named .png": ("photo.png", "image/png", SVG, ["mismatched_type"]),
    "a ZIP named .jpg": ("photo.jpg", "image/jpeg", zipped({"a": b"b"}), ["mismatched_type"]),
    "a ZIP named .docx": ("letter.docx", "", zipped({"a": b"b"}), ["mismatched_type"]),
    "a program declared as a picture": ("program.exe", "image/png", PE, ["mismatched_type"]),
    "text named .png": ("photo.png", "image/png", b"no picture", ["corrupt"]),
    "text named .tar": ("a.tar", "", b"no archive", ["corrupt"]),
    "a picture named .zip": ("a.zip", "", PNG, ["mismatched_type"]),
    "a picture declared as a ZIP": ("a", "application/zip", PNG, ["mismatched_type"]),
    "JSON named .tar": ("a.tar", "application/x-tar", b'{"a": 1}', ["corrupt", "mismatched_type"]),
    "a picture with a ZIP behind it": ("a.png", "image/png", PNG + HARMLESS, ["mismatched_type"]),
    "a JPEG with a ZIP behind it": ("a.jpg", "image/jpeg", JPEG + HARMLESS + b"\n", ["mismatched_type"]),
    "EICAR behind a picture": (
        "a.zip", "application/zip", PNG + INFECTED, ["infected", "mismatched_type", "mismatched_type"]
    ),
    "EICAR in a ZIP behind noise": ("a.bin", "", noise(5000) + INFECTED, ["infected"]),
    "EICAR in a ZIP behind one byte": ("a.bin", "", b"x" + INFECTED, ["infected"]),
    "EICAR in a ZIP behind text": ("a", "", b"text " * 2000 + INFECTED, ["infected"]),
    "EICAR in a ZIP behind text, named as text": (
        "a.txt", "", b"text " * 2000 + INFECTED, ["infected", "mismatched_type"]
    ),
    "EICAR in a ZIP before other data": ("a.bin", "", b"x" + INFECTED + noise(30_000), ["infected"]),
    "EICAR in a ZIP behind a program": ("setup.exe", "", PE + INFECTED, ["infected"]),
    "EICAR in a ZIP behind a PDF": ("letter.pdf", "application/pdf", pdf() + INFECTED, ["infected"]),
    "EICAR in a ZIP behind noise in a ZIP": ("a.zip", "", zipped({"b": noise(9) + INFECTED}), ["infected"]),
    "EICAR packed with LZMA": ("a.zip", "", zipped({"eicar.com": EICAR}, zipfile.ZIP_LZMA), ["infected"]),
    "EICAR packed with bzip2": ("a.zip", "", zipped({"eicar.com": EICAR}, zipfile.ZIP_BZIP2), ["infected"]),
    "EICAR in a ZIP of PowerShell": ("a.zip", "", zipped({"d\\eicar.com": EICAR}), ["infected"]),
    "a damaged ZIP behind noise": ("a.bin", "", noise(50) + HARMLESS.replace(b"b.txt", b"c.txt", 1), ["corrupt"]),
    "a document behind noise": ("a.docx", "", noise(50) + office(), ["corrupt", "mismatched_type"]),
    "a way of packing that nobody knows": ("a.zip", "", packed_by(93), ["forbidden_type"]),
    "a JPEG that breaks off": ("photo.jpg", "image/jpeg", JPEG[: len(JPEG) // 2], ["corrupt"]),
    "a PNG that breaks off": ("photo.png", "image/png", PNG[:-20], ["corrupt"]),
    "a damaged PNG": ("photo.png", "image/png", PNG[:200] + b"!" + PNG[201:], ["corrupt"]),
    "a PDF that breaks off": ("letter.pdf", "application/pdf", pdf()[:-100], ["corrupt"]),
    "a ZIP that breaks off": ("a.zip", "", zipped({"a": noise(500)})[:-30], ["corrupt"]),
    "a document that breaks off": ("a.docx", "", office()[:-30], ["corrupt"]),
    "a gzip file that breaks off": ("a.gz", "", gzipped(noise(500))[:-9], ["corrupt"]),
    "a ZIP with data before it": ("a.jpg", "", b"PK\x03\x04" + zipped({"a": b"b"}), ["corrupt", "mismatched_type"]),
    "a ZIP that climbs": ("a.zip", "", zipped({"../../etc/cron.d/x": b"y"}), ["corrupt"]),
    "a ZIP bomb": ("a.zip", "", zipped({"zeros": bytes(20_000_000)}), ["bomb"]),
    "a gzip bomb": ("a.gz", "", gzipped(bytes(20_000_000)), ["bomb"]),
    "a bomb in a ZIP": ("a.zip", "", zipped({"inner.gz": gzipped(bytes(20_000_000))}), ["bomb"]),
    "a ZIP of too many entries": ("a.zip", "", zipped({f"{n}": b"" for n in range(10_001)}), ["bomb"]),
    "an encrypted ZIP": ("a.zip", "", flagged(zipped({"secret": b"x", "more": b"y"})), ["encrypted"]),
}  # fmt: skip


@pytest.mark.parametrize(("name", "type_", "data", "expected"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("way", ["form", "form on disk", "bare"])
async def test_it_is_refused(
    pipeline: FilePipeline, name: str, type_: str, data: bytes, expected: list[str], way: str
) -> None:
    if way == "bare":
        found = await examine(pipeline, data, type_.encode(), name)
    else:
        found = await by_form(pipeline, name, type_, data, memory=0 if way == "form on disk" else 10**8)
    assert kinds(found) == expected


PASSES = {
    "a photo": ("photo.jpg", "image/jpeg", JPEG, "image/jpeg"),
    "a photo with a film behind it": ("photo.jpg", "image/jpeg", JPEG + noise(50_000), "image/jpeg"),
    "a JPEG named .png": ("photo.png", "image/png", JPEG, "image/jpeg"),
    "a screenshot": ("shot.png", "image/png", PNG, "image/png"),
    "an animation": ("cat.gif", "image/gif", animation(), "image/gif"),
    "a drawing": ("logo.svg", "image/svg+xml", SVG, "image/svg+xml"),
    "a PDF": ("letter.pdf", "application/pdf", pdf(), "application/pdf"),
    "a letter": ("letter.docx", "application/octet-stream", office(), None),
    "a table": ("table.xlsx", "", office("xl/workbook.xml"), None),
    "an OpenDocument text": ("letter.odt", "", open_document(), "application/vnd.oasis.opendocument.text"),
    "an old letter": ("letter.doc", "application/msword", OLE, "application/x-ole-storage"),
    "a page saved as text": ("page.txt", "text/plain", HTML, "text/html"),
    "a CSV from Windows": ("table.csv", "application/vnd.ms-excel", b"a;b\r\n1;2\r\n", "text/plain"),
    "Markdown": ("README.md", "text/markdown", b"# Title\n", "text/plain"),
    "source code": ("main.py", "text/x-python", b"#!/usr/bin/env python3\nprint()\n", "text/x-script"),
    "text that mentions EICAR": ("notes.txt", "text/plain", b"about " + EICAR[:50], "text/plain"),
    "an archive": ("src.zip", "application/zip", zipped({"a/b.py": b"x", "c.png": PNG}), "application/zip"),
    "an archive of archives": (
        "src.zip",
        "",
        zipped({"a.tar.gz": gzipped(tarred({"b.zip": zipped({"c": b"d"})}))}),
        None,
    ),
    "a compressed tar": ("src.tgz", "application/gzip", gzipped(tarred({"a": noise(90_000)})), "application/gzip"),
    "an archive with a program in it": (
        "release.zip",
        "",
        zipped({"bin/tool": ELF, "tool.exe": PE}),
        "application/zip",
    ),
    "an archive with a damaged picture in it": (
        "fixtures.zip",
        "",
        zipped({"broken.png": PNG[:50]}),
        "application/zip",
    ),
    "a program": ("tool.exe", "application/x-msdownload", PE, "application/vnd.microsoft.portable-executable"),
    "repeated text in gzip": ("log.gz", "", gzipped(b"GET / 200\n" * 90_000), "application/gzip"),
    "something unknown": ("data.xyz", "application/x-unknown", noise(1000), "application/octet-stream"),
    "nothing": ("empty.txt", "text/plain", b"", "application/octet-stream"),
    "a document that nobody wrote": ("letter.docx", "", b"", "application/octet-stream"),
    "a picture of nothing": ("photo.png", "image/png", b"", "application/octet-stream"),
    "an empty file that is called an archive": ("a.zip", "application/zip", b"", "application/octet-stream"),
    "a tar of no files": ("a.tar", "application/x-tar", tarred({}), "application/x-tar"),
    "a ZIP of no files": ("a.zip", "application/zip", zipped({}), "application/zip"),
    "a photo with data behind it that mentions ZIP": (
        "a.jpg",
        "image/jpeg",
        JPEG + b"PK\x03\x04 and PK\x05\x06" + noise(5000),
        "image/jpeg",
    ),
    "an extension of a browser": ("ad.crx", "", b"Cr24" + noise(500) + HARMLESS, "application/zip"),
    "a program that unpacks itself": ("setup.exe", "", PE + HARMLESS, "application/vnd.microsoft.portable-executable"),
    "a signed program that unpacks itself": (
        "setup.exe",
        "",
        PE + HARMLESS + noise(9000),
        "application/vnd.microsoft.portable-executable",
    ),
    "a tar whose last file is a ZIP": ("a.tar", "", tarred({"a": b"x", "b.zip": HARMLESS}), "application/x-tar"),
    "an old letter that a ZIP is embedded in": ("a.doc", "", OLE + HARMLESS, "application/x-ole-storage"),
    "a source archive of many small files": (
        "src.zip",
        "application/zip",
        zipped({f"d/{n}": b"x" for n in range(1500)}),
        "application/zip",
    ),
    "an archive of PowerShell": ("a.zip", "", zipped({"d\\a.txt": b"x", "d\\e\\b": b"y"}), "application/zip"),
    "an archive packed with LZMA": ("a.zip", "", zipped({"a": b"x" * 999}, zipfile.ZIP_LZMA), "application/zip"),
}


@pytest.mark.parametrize(("name", "type_", "data", "detected"), PASSES.values(), ids=PASSES.keys())
@pytest.mark.parametrize("way", ["form", "form on disk", "bare"])
async def test_it_passes(
    pipeline: FilePipeline, name: str, type_: str, data: bytes, detected: str | None, way: str
) -> None:
    if way == "bare":
        found = await examine(pipeline, data, type_.encode(), name)
    else:
        found = await by_form(pipeline, name, type_, data, memory=0 if way == "form on disk" else 10**8)
    assert found.defects == []
    (file,) = found.files
    assert (file.name, file.size, file.sha256) == (name, len(data), sha256(data).hexdigest())
    assert file.type == detected or detected is None


async def test_any_truncation_of_a_zip_is_refused(pipeline: FilePipeline) -> None:
    data = zipped({"a.txt": b"first", "b.txt": b"second"})
    for end in range(1, len(data)):
        assert "corrupt" in kinds(await examine(pipeline, data[:end], None, "a.zip")), end


async def test_everything_that_is_wrong_is_reported_with_its_place(pipeline: FilePipeline) -> None:
    sent = form(
        ("one", "photo.png", "image/png", ELF),
        ("two", "a.zip", "", zipped({"in/x.com": EICAR, "y.com": EICAR})),
        ("text", None, "", EICAR),
        ("none", "", "application/octet-stream", b""),
        ("three", "photo.jpg", "image/jpeg", JPEG[:-2]),
    )
    found = await examine(pipeline, sent, MULTIPART)
    assert [(defect.kind, defect.where) for defect in found.defects] == [
        ("mismatched_type", "photo.png"),
        ("infected", "a.zip/in/x.com"),
        ("infected", "a.zip/y.com"),
        ("infected", "text"),
        ("corrupt", "photo.jpg"),
    ]
    assert [file.name for file in found.files] == ["photo.png", "a.zip", "photo.jpg"]
    assert found.defects[1].evidence == {
        "scanner": "yara",
        "malware": "Eicar_Test_File",
        "sha256": sha256(EICAR).hexdigest(),
        "size": len(EICAR),
    }
    assert "Eicar" not in found.defects[1].detail


async def test_a_malformed_body_is_refused_and_its_readable_parts_are_still_examined(pipeline: FilePipeline) -> None:
    sent = form(("file", "eicar.com", "", EICAR))
    found = await examine(pipeline, sent + b"more", MULTIPART)
    assert kinds(found) == ["infected", "malformed"]
    assert "behind the final boundary" in found.defects[0].detail
    assert kinds(await examine(pipeline, sent, b"multipart/form-data")) == ["malformed"]
    assert kinds(await examine(pipeline, sent, b"Multipart/Mixed; boundary=BOUND")) == ["malformed"]


NO_FILES = {
    "a JSON list": (b"application/json", b"[1, 2, 3]"),
    "JSON with a suffix": (b"application/vnd.api+json; charset=utf-8", b'{"a": 1}'),
    "a form": (b"application/x-www-form-urlencoded", b"a=1&b=2"),
    "gRPC": (b"application/grpc+proto", b"\x00\x00\x00\x00\x05hello"),
}


@pytest.mark.parametrize(("type_", "data"), NO_FILES.values(), ids=NO_FILES.keys())
async def test_data_for_the_application_is_no_file(pipeline: FilePipeline, type_: bytes, data: bytes) -> None:
    assert await examine(pipeline, data, type_, "avatar.png") == Examination([], [])


@pytest.mark.parametrize("type_", [b"application/json", b"application/x-www-form-urlencoded", b"application/grpc"])
async def test_data_for_the_application_is_scanned_and_archives_in_it_are_opened(
    pipeline: FilePipeline, type_: bytes
) -> None:
    assert kinds(await examine(pipeline, EICAR, type_)) == ["infected"]
    assert kinds(await examine(pipeline, zipped({"a": EICAR}), type_)) == ["infected"]


@pytest.mark.parametrize(
    ("depth", "expected"), [(1, []), (3, []), (4, ["bomb"]), (30, ["bomb"])], ids=["one", "three", "four", "thirty"]
)
async def test_archives_nest_three_deep(pipeline: FilePipeline, depth: int, expected: list[str]) -> None:
    data = b"core"
    for _ in range(depth):
        data = zipped({"inner.zip": data}, zipfile.ZIP_STORED)
    assert kinds(await examine(pipeline, data)) == expected


async def test_the_bounds_are_those_of_the_configuration() -> None:
    pipeline = FilePipeline([], Bounds(max_parts=1, max_entries=1, max_total=10, max_ratio=1, max_depth=1))
    two = zipped({"a": b"b", "c": b"d"})
    assert kinds(await examine(pipeline, two)) == ["bomb"]
    assert kinds(await examine(pipeline, zipped({"a": b"x" * 11}))) == ["bomb"]
    assert kinds(await examine(pipeline, gzipped(gzipped(b"")))) == ["bomb"]
    assert kinds(await examine(pipeline, form(("a", None, "", b""), ("b", None, "", b"")), MULTIPART)) == ["malformed"]
    pipeline.close()


async def test_a_thousand_infected_files_are_reported_a_hundred_times(pipeline: FilePipeline) -> None:
    found = await examine(pipeline, zipped({f"{n}": EICAR for n in range(500)}))
    assert len(found.defects) == MAX_DEFECTS


async def test_long_names_are_shortened_where_they_are_shown(pipeline: FilePipeline) -> None:
    found = await examine(pipeline, zipped({"x" * 5000: EICAR}), None, "a.zip")
    assert len(found.defects[0].where) == 200


class Scripted:
    """A scanner that answers as told and keeps what it was asked."""

    def __init__(self, name: str, answer: Answer) -> None:
        self.name = name
        self.answer = answer
        self.asked: list[bytes] = []
        self.closed = False

    async def scan(self, content: Spool) -> ScanResult:
        self.asked.append(content.read(0, 100))
        return ScanResult(self.name, self.answer, reason="planted" if self.answer is Answer.ERROR else "")

    def close(self) -> None:
        self.closed = True


ANSWERS = {
    Answer.CLEAN: [],
    Answer.INFECTED: ["infected"],
    Answer.ENCRYPTED: ["encrypted"],
    Answer.LIMITS: ["bomb"],
    Answer.ERROR: ["scanner_unavailable"],
}


@pytest.mark.parametrize(("answer", "expected"), ANSWERS.items(), ids=ANSWERS.keys())
async def test_every_answer_of_a_scanner_counts_whatever_the_others_say(answer: Answer, expected: list[str]) -> None:
    scanners = [Scripted("one", Answer.CLEAN), Scripted("two", answer), Scripted("three", Answer.CLEAN)]
    pipeline = FilePipeline(scanners)
    assert kinds(await examine(pipeline, b"data")) == expected
    assert [scanner.asked for scanner in scanners] == [[b"data"]] * 3
    pipeline.close()
    assert all(scanner.closed for scanner in scanners)


async def test_the_archive_and_every_member_is_scanned() -> None:
    scanner = Scripted("one", Answer.CLEAN)
    pipeline = FilePipeline([scanner])
    await examine(pipeline, zipped({"a": b"first", "b": b"", "c": gzipped(b"second")}))
    assert {b"first", b"second", gzipped(b"second")} <= set(scanner.asked)
    assert len(scanner.asked) == 4
    pipeline.close()


async def test_a_scanner_that_failed_is_not_asked_again_for_the_same_body() -> None:
    dead, alive = Scripted("dead", Answer.ERROR), Scripted("alive", Answer.CLEAN)
    pipeline = FilePipeline([dead, alive])
    found = await examine(pipeline, zipped({f"{n}": b"x" for n in range(20)}))
    assert kinds(found) == ["scanner_unavailable"]
    assert found.defects[0].evidence["reason"] == "planted"
    assert (len(dead.asked), len(alive.asked)) == (1, 21)
    await examine(pipeline, b"another body")
    assert len(dead.asked) == 2
    pipeline.close()


async def test_a_fault_of_a_scanner_is_no_silent_pass() -> None:
    class Faulty(Scripted):
        async def scan(self, content: Spool) -> ScanResult:
            raise ZeroDivisionError("planted")

    pipeline = FilePipeline([Faulty("faulty", Answer.CLEAN), Scripted("one", Answer.CLEAN)])
    with pytest.raises(ExceptionGroup):
        await examine(pipeline, b"data")
    pipeline.close()


async def test_clamd_and_yara_find_each_what_the_other_does_not_know(clamd: Clamd) -> None:
    pipeline = FilePipeline([YaraScanner("yara", [], 30.0), ClamdScanner("clamd", str(clamd.socket), 30.0)])
    found = await examine(
        pipeline, form(("a", "a.bin", "", MARKER), ("b", "b.php", "", b"<?php eval($_GET[1]);")), MULTIPART
    )
    assert [defect.evidence["scanner"] for defect in found.defects] == ["clamd", "yara"]
    assert kinds(await examine(pipeline, zipped({"a": noise(100_000) + MARKER}))) == ["infected", "infected"]
    assert kinds(await examine(pipeline, JPEG)) == []
    pipeline.close()


async def test_a_body_that_is_no_spool_is_examined_too(pipeline: FilePipeline) -> None:
    body = SimpleNamespace(size=len(EICAR), sha256="", open=lambda: io.BytesIO(EICAR))
    assert kinds(await pipeline.examine(body, None, "")) == ["infected"]


async def test_a_spool_without_room_for_what_is_unpacked_is_no_pass(pipeline: FilePipeline) -> None:
    sent = zipped({"a": noise(50_000)})
    factory = SpoolFactory(budget=len(sent) + 1000)
    with factory.open() as body:
        body.write(sent)
        with pytest.raises(SpoolError):
            await pipeline.examine(body, None, "")
        assert factory.budget.used == len(sent)


async def test_a_cancelled_inspection_frees_what_it_unpacked() -> None:
    entered = asyncio.Event()

    class Waiting(Scripted):
        async def scan(self, content: Spool) -> ScanResult:
            entered.set()
            await asyncio.Event().wait()
            raise AssertionError

    pipeline = FilePipeline([Waiting("waiting", Answer.CLEAN)])
    with spooled(zipped({"a": noise(100_000)})) as body:
        task = asyncio.create_task(pipeline.examine(body, None, ""))
        await entered.wait()
        assert body.factory.budget.used > body.size
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert body.factory.budget.used == body.size
    pipeline.close()


@pytest.fixture
async def ticks() -> AsyncIterator[list[None]]:
    """Grows whenever the event loop gets its turn."""
    seen: list[None] = []

    async def tick() -> None:
        while True:
            seen.append(None)
            await asyncio.sleep(0)

    task = asyncio.create_task(tick())
    yield seen
    task.cancel()


async def test_the_event_loop_goes_on_while_an_archive_is_unpacked(pipeline: FilePipeline, ticks: list[None]) -> None:
    found = await examine(pipeline, zipped({"a": noise(3_000_000)}))
    assert found.defects == []
    assert len(ticks) > 50


async def test_others_get_their_turn_between_the_parts_of_a_form(pipeline: FilePipeline, ticks: list[None]) -> None:
    found = await examine(pipeline, form(*[(f"{n}", None, "", b"") for n in range(20)]), MULTIPART)
    assert found.defects == []
    assert len(ticks) >= 19


CONTENTS = (
    b"", b"text", b'{"a": [1, "b"]}', b"a=b&c=%50%4b", EICAR, EICAR + b"\n", b"<?php eval($_GET[1]);", ELF, PE, HTML,
    SVG, JPEG[:4000], PNG, INFECTED, HARMLESS, gzipped(EICAR), tarred({"eicar.com": EICAR}), NESTED, PNG + INFECTED,
    b"PK\x05\x06" * 30, b"\xff\xfea\x00", b"%PDF-1.4", bytes(1024),
)  # fmt: skip
TYPES = (
    b"", b"application/json", b"Application/JSON ; charset=utf-8", b"application/problem+json", b"text/plain",
    b"text/xml",
    b"application/x-www-form-urlencoded", b"application/grpc+proto", b"image/png", b"application/json, text/plain",
)  # fmt: skip
CONTENT = st.lists(st.sampled_from(CONTENTS) | st.binary(max_size=20), max_size=3).map(b"".join)
PART = st.tuples(
    st.sampled_from(["a", "b"]),
    st.sampled_from([None, "", "a.txt", "a.png", "a.zip", "a.php"]),
    st.sampled_from(["", "text/plain", "image/png", "multipart/mixed"]),
    CONTENT,
)


@given(
    st.tuples(CONTENT, st.sampled_from(TYPES))
    | st.tuples(st.lists(PART, max_size=4).map(lambda parts: form(*parts)), st.just(MULTIPART))
    | st.tuples(CONTENT.map(lambda data: data + b"\r\n--BOUND--"), st.just(MULTIPART)),
    st.sampled_from(["", "a.png", "a.txt"]),
)
@settings(deadline=None)
def test_what_is_found_does_not_depend_on_where_the_work_is_done(
    pipeline: FilePipeline, sent: tuple[bytes, bytes], name: str
) -> None:
    """A small body in memory is examined on the event loop, and one on disk in threads."""
    data, type_ = sent
    found = asyncio.run(examine(pipeline, data, type_, name))
    assert found == asyncio.run(examine(pipeline, data, type_, name, memory=0))


async def test_a_large_file_is_examined_in_little_memory(pipeline: FilePipeline) -> None:
    size = 40_000_000
    with SpoolFactory().open() as body:
        body.write(b'--BOUND\r\nContent-Disposition: form-data; name="a"; filename="a.bin"\r\n\r\n')
        for _ in range(size // 1_000_000):
            body.write(bytes(1_000_000))
        body.write(b"\r\n--BOUND--\r\n")
        tracemalloc.start()
        found = await pipeline.examine(body, MULTIPART, "")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (found.defects, found.files[0].size) == ([], size)
    assert peak < 2_000_000


WANTED = SimpleNamespace(
    scanners=("yara", "clamd:unix:clamd.sock"),
    scan_timeout=5.0,
    max_parts=1,
    max_entries=2,
    max_total=3,
    max_ratio=4,
    max_depth=5,
)


def test_a_pipeline_is_built_as_the_settings_say() -> None:
    pipeline = build(WANTED, Path("/etc/aupgate"))
    assert [scanner.name for scanner in pipeline._scanners] == ["yara", "clamd:unix:clamd.sock"]
    assert pipeline._bounds == Bounds(1, 2, 3, 4, 5)
    pipeline.close()


def test_a_scanner_that_does_not_exist_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"policies\.uploads\.scanners"):
        build(SimpleNamespace(**{**vars(WANTED), "scanners": ("nonsense",)}), Path())
