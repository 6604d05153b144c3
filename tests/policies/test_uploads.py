"""`uploads`: what the head already refuses, which bodies are held, and what becomes of what is found in them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
from pydantic import ValidationError

from aupgate.inspection.pipeline import build
from aupgate.inspection.spool import SpoolFactory
from aupgate.model import Action, Defect, Examination, FileSummary, Finding, Request
from aupgate.policies.uploads import Settings, Uploads
from aupgate.policy import Body, InspectsBodies, JudgesRequests, Services
from tests.gateway.scripted import a_request
from tests.services import EICAR

Headers = list[tuple[bytes, bytes]]


def posted(*headers: tuple[bytes, bytes], method: str = "POST", **given: Any) -> Request:
    return a_request(method=method, headers=[(b"host", b"app.example"), *headers], **given)


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % size


CHUNKED = (b"transfer-encoding", b"chunked")
LIMIT = 25 * 1024 * 1024


def found(request: Request, **settings: Any) -> list[tuple[str, int]]:
    findings = Uploads(Settings(**settings)).on_request(request)
    return [(finding.rule.removeprefix("uploads."), finding.status) for finding in findings]


HEADS = {
    "a body of the largest size": (posted(length(LIMIT)), []),
    "a body one byte larger": (posted(length(LIMIT + 1)), [("too_large", 413)]),
    "a body of astronomic size": (posted((b"content-length", b"9" * 5000)), [("too_large", 413)]),
    "a body without a length": (posted(CHUNKED), []),
    "a malformed length": (posted((b"content-length", b"-5")), []),
    "a compressed body": (posted(length(5), (b"content-encoding", b"gzip")), [("encoding", 415)]),
    "a body encoded twice": (posted(length(5), (b"content-encoding", b"identity, br")), [("encoding", 415)]),
    "several encodings": (
        posted(length(5), (b"content-encoding", b"identity"), (b"Content-Encoding", b"deflate")),
        [("encoding", 415)],
    ),
    "an identity": (posted(length(5), (b"content-encoding", b"Identity")), []),
    "an encoding without a body": (a_request(headers=[(b"content-encoding", b"gzip")]), []),
    "two Content-Types": (
        posted(length(5), (b"content-type", b"a/b"), (b"Content-Type", b"c/d")),
        [("malformed", 400)],
    ),
    "everything at once": (
        posted(length(LIMIT + 1), (b"content-encoding", b"gzip"), (b"content-type", b"a"), (b"content-type", b"b")),
        [("too_large", 413), ("encoding", 415), ("malformed", 400)],
    ),
    "a GET": (a_request(), []),
}


@pytest.mark.parametrize(("request_", "expected"), HEADS.values(), ids=HEADS.keys())
def test_the_head_says_what_need_not_be_read(request_: Request, expected: list[tuple[str, int]]) -> None:
    assert found(request_) == expected


def test_a_refused_encoding_says_which_one_is_accepted() -> None:
    (finding,) = Uploads(Settings()).on_request(posted(length(5), (b"content-encoding", b"gzip")))
    assert finding.headers == ((b"accept-encoding", b"identity"),)


def test_the_limit_is_the_one_of_the_configuration() -> None:
    assert found(posted(length(1025)), max_size="1 KiB") == [("too_large", 413)]
    plan = Uploads(Settings.model_validate({"max_size": "1 KiB"})).wants_body(posted(CHUNKED))
    assert plan is not None
    assert (plan.max_size, plan.oversize.rule, plan.oversize.status) == (1024, "uploads.too_large", 413)


HELD = {
    "a body of known length": (posted(length(5)), True),
    "a chunked body": (posted(CHUNKED), True),
    "a GET with a body": (posted(length(5), method="GET"), True),
    "a DELETE with a body": (posted(length(5), method="DELETE"), True),
    "a method nobody knows, with a body": (posted(CHUNKED, method="UPLOAD"), True),
    "an HTTP/2 POST without a length": (posted(http_version="2"), True),
    "an HTTP/2 PUT without a length": (posted(method="PUT", http_version="2"), True),
    "an HTTP/3 PATCH without a length": (posted(method="PATCH", http_version="3"), True),
    "an HTTP/2 POST without a body": (posted(length(0), http_version="2"), False),
    "an HTTP/2 GET": (a_request(http_version="2"), False),
    "a POST without a body": (posted(), False),
    "a POST of length 0": (posted(length(0)), False),
    "a GET": (a_request(), False),
    "a websocket": (posted(length(5), kind="websocket"), False),
}


@pytest.mark.parametrize(("request_", "held"), HELD.values(), ids=HELD.keys())
def test_every_body_is_held_and_nothing_else(request_: Request, held: bool) -> None:
    assert (Uploads(Settings()).wants_body(request_) is not None) == held


@dataclass
class Held:
    """A body in memory."""

    data: bytes = b"data"
    sha256: str = "0" * 64

    @property
    def size(self) -> int:
        return len(self.data)

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


@dataclass
class Inspector:
    """Finds what it was told to, and keeps what it was asked."""

    defects: Sequence[Defect] = ()
    files: Sequence[FileSummary] = ()
    asked: list[tuple[bytes | None, str]] = field(default_factory=list)

    async def examine(self, body: Body, content_type: bytes | None, name: str) -> Examination:
        self.asked.append((content_type, name))
        return Examination(self.defects, self.files)


async def inspected(
    inspector: Any, request: Request | None = None, body: Body | None = None, **settings: Any
) -> list[Finding]:
    services: Services = SimpleNamespace(files=inspector)
    inspection = await Uploads(Settings(**settings)).inspect(request or posted(), body or Held(), services)
    assert inspection.replacement is None
    return list(inspection.findings)


DEFECTS = {
    "infected": (422, 10),
    "corrupt": (422, 1),
    "mismatched_type": (422, 5),
    "malformed": (400, 2),
    "bomb": (422, 10),
    "scanner_unavailable": (503, 0),
}


@pytest.mark.parametrize(("kind", "expected"), DEFECTS.items(), ids=DEFECTS.keys())
async def test_a_defect_is_a_refusal_of_its_own_rule(kind: str, expected: tuple[int, int]) -> None:
    defect = Defect(kind, "a.zip/b.exe", "something is wrong", {"malware": "Test.Virus"})
    (finding,) = await inspected(Inspector([defect]))
    assert (finding.rule, finding.action) == (f"uploads.{kind}", Action.REFUSE)
    assert (finding.status, finding.points) == expected
    assert finding.detail == "'a.zip/b.exe': something is wrong"
    assert finding.evidence == {"file": "a.zip/b.exe", "malware": "Test.Virus"}
    assert (finding.retry_after is not None) == (finding.status == 503)


async def test_every_defect_is_reported_also_behind_others() -> None:
    defects = [Defect("malformed", "", "one"), Defect("infected", "x", "two"), Defect("infected", "y", "three")]
    files = [FileSummary("x", "text/html", 1, "0" * 64)]
    findings = await inspected(Inspector(defects, files), allow_types=["image/png"])
    assert [finding.rule for finding in findings] == [
        "uploads.malformed", "uploads.infected", "uploads.infected", "uploads.forbidden_type",
    ]  # fmt: skip
    assert findings[0].detail == "one"


@pytest.mark.parametrize(
    ("setting", "choice", "kind", "action", "status"),
    [
        ("encrypted_archives", "note", "encrypted", Action.NOTE, 0),
        ("encrypted_archives", "refuse", "encrypted", Action.REFUSE, 422),
        ("on_scanner_failure", "allow", "scanner_unavailable", Action.NOTE, 0),
        ("on_scanner_failure", "refuse", "scanner_unavailable", Action.REFUSE, 503),
    ],
)
async def test_what_cannot_be_known_is_refused_or_noted_as_configured(
    setting: str, choice: str, kind: str, action: Action, status: int
) -> None:
    (finding,) = await inspected(Inspector([Defect(kind, "a", "unknown")]), None, None, **{setting: choice})
    assert (finding.action, finding.status) == (action, status)
    assert (finding.retry_after is None) == (kind == "encrypted" or action is Action.NOTE)


@pytest.mark.parametrize(
    ("allowed", "type_", "refused"),
    [
        ([], "application/x-elf", False),
        (["image/png"], "image/png", False),
        (["Image/PNG"], "image/png", False),
        (["image/*"], "image/jpeg", False),
        (["image/*", "application/pdf"], "application/pdf", False),
        (["image/*"], "application/pdf", True),
        (["image/png"], "image/jpeg", True),
        (["image/png"], "application/octet-stream", True),
    ],
)
async def test_types_are_allowed_by_content(allowed: list[str], type_: str, refused: bool) -> None:
    findings = await inspected(Inspector(files=[FileSummary("a.png", type_, 5, "0" * 64)]), allow_types=allowed)
    assert [(finding.rule, finding.status) for finding in findings] == [("uploads.forbidden_type", 422)] * refused


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("PUT", "/files/photo.png", "photo.png"),
        ("PUT", "/files/", ""),
        ("POST", "/convert/page.pdf", ""),  # the path of a program, not of what is sent to it
        ("PATCH", "/files/photo.png", ""),
    ],
)
async def test_a_bare_body_is_named_by_its_path_only_when_it_is_stored_there(method: str, path: str, name: str) -> None:
    inspector = Inspector()
    await inspected(inspector, posted((b"content-type", b"image/png"), method=method, path=path))
    assert inspector.asked == [(b"image/png", name)]


async def test_the_real_inspection_finds_eicar(tmp_path: Path) -> None:
    pipeline = build(Settings(), tmp_path)
    with SpoolFactory(tmp_path).open() as body:
        body.write(EICAR)
        findings = await inspected(pipeline, body=body)
    pipeline.close()
    assert [finding.rule for finding in findings] == ["uploads.infected"]


def test_it_judges_requests_and_bodies_by_the_rules_it_names() -> None:
    policy = Uploads(Settings())
    assert isinstance(policy, JudgesRequests)
    assert isinstance(policy, InspectsBodies)
    assert {rule.name.partition(".")[0] for rule in policy.rules} == {policy.name}
    assert {f"uploads.{kind}" for kind in (*DEFECTS, "encrypted", "forbidden_type", "too_large", "encoding")} == {
        rule.name for rule in policy.rules
    }


BAD = {
    "an unknown scanner": ({"scanners": ["virustotal"]}, 'expected "yara"'),
    "a scanner that is not there yet": ({"scanners": ["icap://127.0.0.1/avscan"]}, "not part of this version"),
    "a clamd without an address": ({"scanners": ["clamd"]}, 'expected "yara"'),
    "a size of words": ({"max_size": "large"}, "expected a size"),
    "no parts": ({"max_parts": 0}, "greater than or equal to 1"),
    "a type that is none": ({"allow_types": ["png"]}, "expected a media type"),
    "hash lists": ({"hash_lists": ["bad.txt"]}, "Extra inputs"),
}


@pytest.mark.parametrize(("settings", "expected"), BAD.values(), ids=BAD.keys())
def test_a_setting_that_means_nothing_is_an_error(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        Settings(**settings)


@pytest.mark.parametrize(
    "scanner",
    ["yara", "yara:own.yar", "clamd:unix:/run/clamav/clamd.ctl", "clamd:tcp:127.0.0.1:3310", "clamd:tcp:[::1]:3310"],
)
def test_every_scanner_there_is_can_be_named(scanner: str) -> None:
    assert Settings.model_validate({"scanners": [scanner]}).scanners == (scanner,)
