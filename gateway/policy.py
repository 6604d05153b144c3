"""What a policy is: a name, its rules, and any of the phases below, each a small Protocol of its own.

A policy returns effects and performs none. It does no I/O and reads no clock; the body phase alone may wait for the
services it is given. Where several rules of a policy find something it reports them all, because the engine may only be
observing the first: a finding never hides another.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Protocol, runtime_checkable

from aupgate.meters import Meter, Outcome, Post, Reading
from aupgate.model import (
    BodyPlan,
    Examination,
    Finding,
    HeaderEdits,
    Inspection,
    Judgement,
    Message,
    MessageEffects,
    Request,
    ResponseEdits,
    ResponseEffects,
    ResponseHead,
    Rule,
)


class Policy(Protocol):
    """What every policy has. It is built once, by `Policy(settings)`, and shared by all requests."""

    @property
    def name(self) -> str:
        """The policy's name, also the key of its table in the configuration."""

    @property
    def rules(self) -> Sequence[Rule]:
        """Every rule this policy can find, as configured."""


@runtime_checkable
class Sanitises(Policy, Protocol):
    """Phase 1: drop or rewrite request header fields."""

    def sanitise(self, request: Request) -> Sequence[HeaderEdits]:
        """Return the edits to make before the request is forwarded, apart for each rule that wants some."""


@runtime_checkable
class JudgesRequests(Policy, Protocol):
    """Phase 2: judge the head."""

    def on_request(self, request: Request) -> Sequence[Finding]:
        """Return what the head shows; empty when nothing."""


@runtime_checkable
class Measures(Policy, Protocol):
    """Phase 3: count."""

    def meters(self, request: Request) -> Sequence[Meter]:
        """Return what to count for this request."""

    def on_readings(self, request: Request, readings: Sequence[Reading]) -> Sequence[Finding]:
        """Return what the readings show; they come in the order of the meters, without those of rules that are off.

        It is asked only when a meter is refused or overdrawn: what is within its quota is no finding.
        """


Answerer = Callable[[Request], Finding]
"""Makes the gateway's own answer to a request: a finding that answers it, or one that refuses it."""


@runtime_checkable
class Answers(Policy, Protocol):
    """Phase 3a: answer some paths in the place of the application.

    Such a request is shown to no policy that judges what the application offers and to whom; it is counted as every
    other. Answers are given in whatever mode, unless the policy is off.
    """

    def answers(self) -> Mapping[str, Answerer]:
        """Return who answers which path; asked once, at start."""


@runtime_checkable
class Meets(Policy, Protocol):
    """Decides how a client that is to be challenged is met. One policy at most has this phase."""

    def meet(self, request: Request, finding: Finding) -> Finding:
        """Return what stands in the place of an enforced `finding` with the action `challenge`.

        A note where the client has passed before; the challenge itself, with its content; or a refusal, where nobody
        is there to solve it.
        """


@runtime_checkable
class InspectsBodies(Policy, Protocol):
    """Phase 4: inspect the body, the one phase that may wait."""

    def wants_body(self, request: Request) -> BodyPlan | None:
        """Return the plan for this request's body, or None to let it stream."""

    async def inspect(self, request: Request, body: "Body", services: "Services") -> Inspection:
        """Return what the whole body shows."""


@runtime_checkable
class JudgesMessages(Policy, Protocol):
    """Phase 5: judge one websocket message."""

    def on_message(self, request: Request, message: Message) -> MessageEffects | None:
        """Return what the message shows and counts."""


@runtime_checkable
class SeesResponses(Policy, Protocol):
    """Phase 6: see the response head. It may note and edit, never refuse."""

    def on_response(self, request: Request, head: ResponseHead) -> ResponseEffects | None:
        """Return notes, edits of the response's fields, and posts."""


@runtime_checkable
class EditsResponses(Policy, Protocol):
    """Phase 6, for what follows from names alone: asked once, at the start, it costs a response next to nothing."""

    def response_edits(self) -> Sequence[ResponseEdits]:
        """Return the edits to make to every response. They are no findings, and leave no note."""


MOST_PEEKED: Final = 16 * 1024
"""Bytes of a response's body that are kept for who wants to see them."""


@runtime_checkable
class Peeks(Policy, Protocol):
    """Phase 6, for what only the body of a response tells: its beginning is kept for `Outcome.body_start`."""

    def peek(self, request: Request) -> int:
        """Return how many bytes of the response's body to keep, at most `MOST_PEEKED`; 0 for most requests."""


@runtime_checkable
class SeesEnds(Policy, Protocol):
    """Phase 7: see how the exchange ended; called exactly once for each request that was judged."""

    def on_end(self, request: Request, outcome: Outcome) -> Sequence[Post]:
        """Return the changes to meters that follow from the outcome."""


@runtime_checkable
class Prepares(Policy, Protocol):
    """Life-cycle: load what needs I/O before the first request, such as a document from the upstream."""

    async def prepare(self, services: "Services") -> None:
        """Load it. Raises `ServiceError` when it cannot be had; the caller tries again with back-off."""


PathDecider = Callable[[str, str], Hashable]
"""Tells what is decided by method and path alone: equal for those that are treated alike."""


@runtime_checkable
class DecidesByPath(Policy, Protocol):
    """A policy that treats paths differently."""

    def path_decision(self, method: str, path: str) -> Hashable:
        """Return what is decided by `method` and `path` alone; a `PathDecider`."""


@runtime_checkable
class ComparesPaths(Policy, Protocol):
    """Life-cycle: be told who decides by paths, to find what they might read in two ways."""

    def compare(self, deciders: Sequence[PathDecider]) -> None:
        """Take what the enforced policies, and the exemptions from them, decide by."""


@runtime_checkable
class ReadsFiles(Policy, Protocol):
    """Life-cycle: read files that the operator keeps, at start and again whenever one of them changes."""

    def read_files(self, base: Path) -> Sequence[Path]:
        """Read them all and return which they are; relative names start from `base`. Raises `ConfigError`.

        After the start it is called in a thread of its own: requests see what was read before until, at once, they see
        what was read now.
        """


class Body(Protocol):
    """A whole request body, held in the spool."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes, in hexadecimal."""

    def open(self) -> BinaryIO:
        """Return a new reader at the start of the body. Readers are independent of each other."""


class FileInspector(Protocol):
    """Finds what is wrong with the files in a body."""

    async def examine(self, body: Body, content_type: bytes | None, name: str) -> Examination:
        """Take the body apart by its declared `content_type` and examine every file in it; `name` names a bare body."""


class Fetcher(Protocol):
    """Reads a document that the operator configured: a path on the upstream, or a file beside the configuration."""

    async def fetch(self, location: str) -> bytes:
        """Return the document at `location`: a path on the upstream begins with a slash. Raises `ServiceError`."""


class Services(Protocol):
    """What policies with I/O are given. A service that no enabled policy needs is never built."""

    @property
    def files(self) -> FileInspector:
        """Inspection of uploaded files."""

    @property
    def documents(self) -> Fetcher:
        """Documents of the upstream."""


class FindingSink(Protocol):
    """Remembers judgements: the audit log, later the ledger. It must not block."""

    def record(self, request: Request, judgement: Judgement) -> None:
        """Take note of one judgement."""
