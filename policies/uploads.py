"""`uploads`: nothing infected, damaged, disguised, oversized or explosive reaches the application.

The head alone refuses what says itself that it is too large or encoded; the body is held until the file inspection has
seen every file in it. A malformed multipart body is malformed HTTP and answered with 400; what is wrong with a file is
422. docs/uploads.md says what each bound protects.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from aupgate.config import Duration, Later, MediaType, Notation, PolicySettings, Size
from aupgate.model import Action, BodyPlan, Defect, FileSummary, Finding, Inspection, Request, Rule
from aupgate.policy import Body, Services

_SCANNERS: Final = 'expected "yara", "yara:PATH", "clamd:unix:PATH" or "clamd:tcp:HOST:PORT"'
_Scanner = Annotated[
    str,
    Notation(
        r"^(yara(:[^\x00]+)?|clamd:unix:[^\x00]+|clamd:tcp:[^\x00\s]+:[0-9]{1,5})$",
        _SCANNERS,
        ("yara", "yara:rules/own.yar", "clamd:unix:/run/clamav/clamd.ctl", "clamd:tcp:127.0.0.1:3310"),
    ),
    Later(r"icaps?:.*", f"ICAP scanners are not part of this version: {_SCANNERS}"),
]
_Count = Annotated[int, Field(ge=1)]


class Settings(PolicySettings):
    """What may be uploaded, and who looks at it."""

    max_size: Size = 25 * 1024**2
    """Largest request body."""
    allow_types: tuple[MediaType, ...] = ()
    """Media types that files may have by their content. Empty: any type that is what it claims to be."""
    scanners: tuple[_Scanner, ...] = ("yara",)
    """Who looks for malware; all of them are asked."""
    scan_timeout: Duration = 30.0
    """Longest time for one scan."""
    on_scanner_failure: Literal["refuse", "allow"] = "refuse"
    """What becomes of a body when a scanner does not answer."""
    encrypted_archives: Literal["note", "refuse"] = "note"
    """What becomes of archives that cannot be opened because they are encrypted."""
    max_parts: _Count = 1000
    """Most parts of one multipart body."""
    max_entries: _Count = 10_000
    """Most entries of all archives in one file."""
    max_total: Size = 200 * 1000**2
    """Most bytes that all archives in one file unfold into."""
    max_ratio: _Count = 100
    """Most times its size that a file unfolds into, once that is more than 1 MB."""
    max_depth: _Count = 3
    """Most archives inside one another."""


_RULES: Final[Mapping[str, tuple[str, int, int]]] = {
    "too_large": ("Body too large", 413, 1),
    "infected": ("Malware", 422, 10),
    "corrupt": ("Damaged file", 422, 1),
    "mismatched_type": ("File that is not what it claims to be", 422, 5),
    "forbidden_type": ("Type of file that is not accepted", 422, 1),
    "malformed": ("Malformed or ambiguous multipart body", 400, 2),
    "bomb": ("Archive that unfolds beyond all bounds", 422, 10),
    "encrypted": ("Encrypted archive", 422, 0),
    "encoding": ("Encoded request body", 415, 0),
    "scanner_unavailable": ("File that could not be scanned", 503, 0),
}
"""Title, status and points of each rule."""

_RETRY_AFTER: Final = 10.0
"""Seconds after which a scanner that was away is worth another try."""
_LONGEST_LENGTH: Final = 18
"""Digits of a Content-Length that are worth reading."""


class Uploads:
    """Judges length and coding of the body by the head, and every file in the body."""

    name = "uploads"
    rules = tuple(Rule(f"uploads.{rule}", title) for rule, (title, _, _) in _RULES.items())

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._notes = frozenset(
            rule
            for rule, noted in (
                ("encrypted", settings.encrypted_archives == "note"),
                ("scanner_unavailable", settings.on_scanner_failure == "allow"),
            )
            if noted
        )
        detail = f"the body is larger than the {settings.max_size} bytes that are accepted"
        self._plan = BodyPlan(settings.max_size, self._found("too_large", detail))

    def on_request(self, request: Request) -> Sequence[Finding]:
        """Return what the head says of the body: too large, encoded, or of several types."""
        return list(self._judge_head(request)) if request.may_have_body else ()

    def wants_body(self, request: Request) -> BodyPlan | None:
        """Return the plan for every body, whatever the method."""
        return self._plan if request.may_have_body else None

    async def inspect(self, request: Request, body: Body, services: Services) -> Inspection:
        """Have every file in the body examined; everything that is wrong is found, not only the first thing."""
        examination = await services.files.examine(body, request.header(b"content-type"), _file_name(request))
        findings = [self._found_in_file(defect) for defect in examination.defects]
        findings += [self._forbidden(file) for file in examination.files if not self._accepts(file.type)]
        return Inspection(findings)

    def _judge_head(self, request: Request) -> Iterator[Finding]:
        length = _length(request)
        if length > self._settings.max_size:
            yield self._found("too_large", self._plan.oversize.detail, size=length)
        codings = {coding.strip().lower() for coding in request.header_values(b"content-encoding")}
        if codings - {b"", b"identity"}:
            yield self._found("encoding", "the body is encoded, send it without Content-Encoding")
        if len(request.header_values(b"content-type")) > 1:
            yield self._found("malformed", "the request has several Content-Type fields")

    def _accepts(self, type_: str) -> bool:
        allowed = self._settings.allow_types
        return not allowed or type_ in allowed or f"{type_.partition('/')[0]}/*" in allowed

    def _forbidden(self, file: FileSummary) -> Finding:
        detail = f"{file.name!r}: files of type {file.type} are not accepted here"
        return self._found("forbidden_type", detail, file=file.name, type=file.type, sha256=file.sha256)

    def _found_in_file(self, defect: Defect) -> Finding:
        detail = f"{defect.where!r}: {defect.detail}" if defect.where else defect.detail
        return self._found(defect.kind, detail, **{"file": defect.where, **defect.evidence})

    def _found(self, rule: str, detail: str, **evidence: object) -> Finding:
        _, status, points = _RULES[rule]
        noted = rule in self._notes
        return Finding(
            f"uploads.{rule}",
            Action.NOTE if noted else Action.REFUSE,
            0 if noted else status,
            detail,
            # RFC 9110 section 15.5.16: the answer to a coding that is not supported says which one is.
            headers=((b"accept-encoding", b"identity"),) if rule == "encoding" else (),
            points=points,
            retry_after=_RETRY_AFTER if rule == "scanner_unavailable" and not noted else None,
            evidence=evidence,
        )


def _length(request: Request) -> int:
    """Return what Content-Length says; 0 when it is absent or, as the policy `protocol` finds, malformed."""
    length = request.header(b"content-length") or b""
    if not length.isdigit():
        return 0
    return int(length) if len(length) <= _LONGEST_LENGTH else sys.maxsize


def _file_name(request: Request) -> str:
    """Return the name of a bare body: PUT stores it under its path (RFC 9110 section 9.3.4), POST says no name."""
    return request.path.rpartition("/")[2] if request.method == "PUT" else ""
