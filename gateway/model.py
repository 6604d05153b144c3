"""The vocabulary of aupgate as values: what the adapters build, the policies read and the engine yields.

Every class here is a slotted value that is never changed once made; the type checker holds that (see `value`). Nothing
in this module does I/O, reads a clock, or knows a framework.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import date
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from aupgate.fields import Fields
from aupgate.fields import Header as Header  # noqa: PLC0414 - a word of this vocabulary
from aupgate.meters import Meter, Post
from aupgate.values import unique, value


class Mode(StrEnum):
    """How far a rule goes: `enforce` acts, `observe` records and changes nothing, `off` is absent."""

    OFF = "off"
    OBSERVE = "observe"
    ENFORCE = "enforce"

    @staticmethod
    def weakest(*modes: "Mode") -> "Mode":
        """Return the weakest of `modes`: off before observe before enforce."""
        return min(modes, key=_STRENGTH.index)


_STRENGTH: Final = (Mode.OFF, Mode.OBSERVE, Mode.ENFORCE)


class OnError(StrEnum):
    """What becomes of a request when a policy fails while judging it."""

    REFUSE = "refuse"
    ALLOW = "allow"


class Action(StrEnum):
    """What a finding asks for. `answer` means that the gateway itself answers the request, which is no offence."""

    NOTE = "note"
    CHALLENGE = "challenge"
    REFUSE = "refuse"
    ANSWER = "answer"


class Disclosure(StrEnum):
    """How much a refusal says: everything, the clause without the detail, or neither."""

    FULL = "full"
    CLAUSE = "clause"
    NONE = "none"


class Standing(StrEnum):
    """A subject's place on the ladder, best first."""

    GOOD = "good"
    WARNED = "warned"
    THROTTLED = "throttled"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"


@value
class Client:
    """The resolved sender of a request."""

    address: str
    """The address in its canonical spelling (RFC 5952 for IPv6); empty when there is none, as on a unix socket."""
    network: str
    """The key that limits count by: the IPv4 address, or the IPv6 prefix (/64 unless configured)."""
    peer: str
    """The address of the connection's other end: the client itself, or the last trusted proxy."""
    hops: tuple[str, ...] = ()
    """Trusted proxies between client and gateway, nearest to the client first; the peer is the last."""
    certain: bool = True
    """False when the address may be a proxy's, so that nobody may be refused for what comes from it.

    That is: a private peer sent forwarding headers and no proxy is configured, or a trusted proxy named no client.
    """
    fault: str = ""
    """What is malformed in what trusted proxies say of the client, and ended the walk over them; empty: nothing."""


class Account(Struct, frozen=True, gc=False):
    """Whom a request acts for."""

    id: str
    source: str
    """Where the id came from: `scope:user`, `jwt:sub`, `key:x-api-key`, `cookie:session`, `callable`."""
    verified: bool
    """True only when the source proves the id. An unverified account may key a limit; it never exempts."""
    plan: str | None = None
    parent: str | None = None
    claims: Mapping[str, str] | None = None
    """Further claims of a verified token, those that `[account.jwt] claims` names; None without any."""


@value
class Tls:
    """What the adapter knows of the client's TLS handshake."""

    sni: str | None = None
    alpn: str | None = None
    ja4: str | None = None


_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"})


class Proof(StrEnum):
    """Whether a request comes from the bot that it claims to be; `unproven`: it is not known yet."""

    PROVEN = "proven"
    UNPROVEN = "unproven"
    DISPROVED = "disproved"


class Bot(Struct, frozen=True, gc=False):
    """The known bot that a request claims to be."""

    name: str
    """Its name in the configuration."""
    proof: Proof


class Request(Struct, kw_only=True, eq=False, gc=False):
    """The head of one request, as every policy sees it.

    Header names are looked up in lower case. `path` is the normalised path that rules match (see
    `aupgate.http.normalise_path`); `target` is the request target as it came. `now` is the only clock a policy may
    read, in seconds since the epoch.
    """

    id: str
    method: str
    target: bytes
    path: str
    query: bytes
    fields: Fields
    scheme: str
    http_version: str
    client: Client
    now: float
    account: Account | None = None
    bot: Bot | None = None
    """None: it claims to be no bot that is configured."""
    standing: Standing = Standing.GOOD
    tls: Tls | None = None
    kind: str = "http"
    """`http` or `websocket`."""

    @property
    def headers(self) -> Sequence[Header]:
        """The header fields in their order."""
        return self.fields.pairs

    @property
    def may_have_body(self) -> bool:
        """True when a body follows (RFC 9112 section 6.3), or may follow: in HTTP/2 and 3 no field need announce it."""
        if not self.fields.layout.framed:
            return self.http_version[:1] != "1" and self.method not in _BODILESS and self.kind == "http"
        length = self.fields.get(b"content-length")
        return self.kind == "http" and (length is None or length.strip(b"0") != b"")

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of the field `name` (lower case), or None."""
        return self.fields.get(name)

    def header_values(self, name: bytes) -> list[bytes]:
        """Return every value of the field `name` (lower case), in order."""
        return self.fields.all(name)


@value
class HeaderEdits:
    """Changes to a header list: field names to remove (exactly as received), then fields to add; and what they show."""

    remove: frozenset[bytes] = frozenset()
    add: tuple[Header, ...] = ()
    findings: tuple["Finding", ...] = ()
    rule: str = ""
    """The rule that wants them, `policy.rule`: its mode holds. Empty: they go with the policy as a whole."""

    def apply(self, headers: Sequence[Header]) -> list[Header]:
        """Return `headers` with the edits made; order and duplicates of everything else are kept."""
        return [pair for pair in headers if pair[0] not in self.remove] + list(self.add)


@value
class Clause:
    """One clause of an AUP."""

    id: str
    title: str
    summary: str
    controls: tuple[str, ...]
    """The rules that enforce it: `policy.rule`, or `policy` for all of a policy's rules."""
    pack: str
    effective: date | None = None
    person: str = ""
    """What remains a person's work, if anything."""
    url: str = ""


INTERNAL_ERROR: Final = "internal.error"
"""The rule of findings about a failure inside a policy or a service it needs; no policy declares it."""


@value
class Rule:
    """One thing that a policy may find. `name` is `policy.rule` and part of the public contract."""

    name: str
    title: str
    disclosure: Disclosure = Disclosure.FULL
    clauses: tuple[str, ...] = ()
    """Clauses named for this rule in the configuration, besides those whose packs name the rule."""
    configured: bool = True
    """False when the configuration gives the rule nothing to find, so that it enforces no clause."""


@value
class Content:
    """What the gateway itself answers with, where that is no refusal in its usual form."""

    type: bytes
    """Media type, as in Content-Type."""
    body: bytes


@value
class Finding:
    """What a policy saw. It names a rule and never a clause: the engine attaches clauses from the packs that are on."""

    rule: str
    """`policy.rule`."""
    action: Action
    status: int
    """HTTP status of the refusal or answer; 0 for a note."""
    detail: str
    """Public: one sentence for the person refused. What must stay private goes into `evidence`."""
    headers: tuple[Header, ...] = ()
    points: int = 0
    retry_after: float | None = None
    """Seconds after which the same request would pass."""
    content: Content | None = None
    """What to answer with, and `headers`, in the place of a problem or page that tells of the finding."""
    evidence: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def policy(self) -> str:
        """The policy that found it."""
        return self.rule.partition(".")[0]


@value
class Judgement:
    """A finding as the engine judged it: in which mode it counts and which clauses it touches."""

    finding: Finding
    rule: Rule
    mode: Mode
    clauses: tuple[Clause, ...] = ()

    @property
    def enforced(self) -> bool:
        """True when this judgement ends the request: enforced, and more than a note."""
        return self.mode is Mode.ENFORCE and self.finding.action is not Action.NOTE


@value
class BodyPlan:
    """What a policy wants of a request's body."""

    max_size: int
    """Bytes; a body that grows beyond is refused with `oversize`."""
    oversize: Finding


@value
class Inspection:
    """What a policy found in a body."""

    findings: Sequence[Finding] = ()
    meters: Sequence[Meter] = ()
    replacement: bytes | None = None


@value
class Message:
    """One websocket message from the client."""

    data: str | bytes

    @property
    def size(self) -> int:
        """Size in bytes, of text as UTF-8."""
        return len(self.data) if isinstance(self.data, bytes) else len(self.data.encode())


@value
class MessageEffects:
    """What a policy makes of a websocket message."""

    findings: Sequence[Finding] = ()
    meters: Sequence[Meter] = ()


@value
class ResponseHead:
    """Status and header fields of the application's response."""

    status: int
    headers: Sequence[Header]


@unique
class ResponseEdits:
    """What a rule changes in the fields of every response, by their names alone, where it is enforced."""

    rule: str
    """The rule that wants it, `policy.rule`."""
    strip: tuple[str, ...] = ()
    """Fields to take away: folded names, or beginnings such as `x-debug-*`."""
    keep: tuple[str, ...] = ()
    """Fields to leave all the same."""
    add: tuple[Header, ...] = ()
    """Fields to add where the response has none of that name (lower case)."""
    secure: bool = False
    """True: only in answer to requests that came by https, for another host than localhost."""


@value
class ResponseEffects:
    """What a policy makes of a response head. It never refuses."""

    findings: Sequence[Finding] = ()
    edits: HeaderEdits | None = None
    posts: Sequence[Post] = ()


class Verdict(Struct, frozen=True, gc=False):
    """What the adapter enforces."""

    refusal: Judgement | None = None
    judgements: tuple[Judgement, ...] = ()
    response_headers: tuple[Header, ...] = ()
    edits: HeaderEdits | None = None
    """Changes to the request's header list before it is forwarded."""
    body_plan: BodyPlan | None = None
    """Set when a policy wants the body before the request may pass."""
    observed_plan: BodyPlan | None = None
    """Set when policies only observe the body: it is copied while it streams, and never held back."""
    replacement: bytes | None = None
    """The body to forward instead of the one received."""
    peek: int = 0
    """How many bytes of the response's body policies want to see when the exchange ends."""

    @property
    def allow(self) -> bool:
        """True when the request may go to the application."""
        return self.refusal is None


@value
class Defect:
    """Something wrong with a file, found by the file inspection that policies are given."""

    kind: str
    """The rule it breaks, without its policy: `infected`, `corrupt`, `mismatched_type`, `bomb`, `malformed`, …"""
    where: str
    """Which file: the part's file name, or `archive.zip/member.exe`; empty for the body as a whole."""
    detail: str
    """Public: what is wrong, in words for the uploader."""
    evidence: Mapping[str, Any] = field(default_factory=dict, hash=False)


@value
class FileSummary:
    """What is known of one file in a body after inspection."""

    name: str
    type: str
    """Media type by content, `application/octet-stream` when unknown."""
    size: int
    sha256: str


@value
class Examination:
    """Result of inspecting the files of a body."""

    defects: Sequence[Defect] = ()
    files: Sequence[FileSummary] = ()
