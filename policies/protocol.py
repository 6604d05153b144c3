"""`protocol`: a request that two servers could read differently is refused, whatever server received it.

Sources: RFC 9110 sections 5.5, 5.6.2, 7.2 and 9.1; RFC 9112 sections 2.2, 3.2, 5.2, 6.1 and 6.3; RFC 6585 section 5.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from aupgate.config import PolicySettings, Size
from aupgate.fields import Layout, by_layout, by_name, fold
from aupgate.http import below_root, normalise_path
from aupgate.memory import Memory
from aupgate.model import Action, Finding, Header, Request, Rule
from aupgate.policy import PathDecider
from aupgate.readings import readings
from aupgate.targets import target_faults
from aupgate.values import value


class Settings(PolicySettings):
    """How large the head of a request may be. What is malformed or ambiguous is refused without being told."""

    max_headers: Annotated[int, Field(ge=1)] = 100
    """Most header fields that a request may have."""
    max_header_size: Size = 64 * 1024
    """Largest size of all header fields and the request's target together."""


_FIELD_OCTETS: Final = bytes(octet for octet in range(256) if octet == 0x09 or (octet >= 0x20 and octet != 0x7F))
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,254}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?").fullmatch


def _is_host(text: bytes) -> bool:
    return _HOST(text) is not None


_LENGTH: Final = re.compile(rb"[0-9]{1,18}").fullmatch
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"})
_ALLOW: Final = (b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")

_VERSIONS: Final = frozenset({"1.0", "1.1", "2", "3", "1"})
"""As ASGI servers write them; the last is 1.0 in some."""

# What a field's name means here. Ordinary names are the empty string.
_NAMED: Final = {
    b"host": "host",
    b"content-length": "length",
    b"transfer-encoding": "coding",
    b"expect": "expectation",
    # Ordinary themselves, but an alias would tell the application another type than the one that was judged.
    b"content-type": "",
    b"content-encoding": "",
}


def _kind(name: bytes) -> str:
    if not _TOKEN(name):
        return "invalid"
    folded = fold(name)
    if folded == b"host" or folded not in _NAMED or folded == name.lower():
        return _NAMED.get(name.lower(), "")
    return "alias"


@value
class Odd:
    """What is odd about a target."""

    faults: Sequence[str]
    """What is wrong with it."""
    readings: tuple[str, ...] | None
    """What else its path may be taken for; None: too much to tell."""


def _odd(asked: tuple[str, bytes]) -> Odd | None:
    faults, others = target_faults(*asked), readings(asked[1].partition(b"?")[0])
    return Odd(faults, others) if faults or others != () else None


def _size(asked: tuple[str, bytes]) -> int:
    return len(asked[0]) + len(asked[1])


@value
class Notable:
    """The fields of a layout that are more than ordinary."""

    host: int
    """The place of Host in a layout whose notable fields are one Host and at most one Content-Length; else -1."""
    length: int
    """The place of Content-Length in such a layout; -1 when there is none."""
    kinds: tuple[tuple[str, int], ...]
    """What each means, and its place."""


def _notable(layout: Layout) -> Notable:
    kinds = tuple((kind, place) for place, name in enumerate(layout.names) if (kind := _kind(name)))
    places = dict(kinds)
    simple = len(places) == len(kinds) and places.keys() <= {"host", "length"}
    return Notable(places.get("host", -1) if simple else -1, places.get("length", -1), kinds)


class Protocol:
    """Judges framing, field syntax, host, method, target and size of the head."""

    name = "protocol"
    rules = (
        Rule("protocol.framing", "Ambiguous message framing"),
        Rule("protocol.syntax", "Malformed header field"),
        Rule("protocol.host", "Missing or malformed Host"),
        Rule("protocol.expectation", "Expectation that is not met here"),
        Rule("protocol.method", "Method not supported"),
        Rule("protocol.target", "Malformed request target"),
        Rule("protocol.ambiguous_path", "Path that can be read in two ways"),
        Rule("protocol.header_size", "Header section too large"),
        # These two are found by listeners, which see how requests come in.
        Rule("protocol.slow", "Request sent too slowly"),
        Rule("protocol.pipelining", "Too many requests waiting"),
    )

    def __init__(self, settings: Settings) -> None:
        self._max_headers = settings.max_headers
        self._max_size = settings.max_header_size
        self._notable = by_layout(_notable)
        self._hosts = by_name(_is_host)
        self._odd = Memory(_odd, longest=256, size=_size)
        self._deciders: Sequence[PathDecider] = ()

    def on_request(self, request: Request) -> Sequence[Finding]:
        """Return one finding for each rule that the head breaks."""
        texts, layout = request.fields.texts, request.fields.layout
        octets = b"".join(texts)
        size = layout.size + len(octets) + len(request.target)
        findings: list[Finding] = []
        if len(texts) > self._max_headers or size > self._max_size:
            findings.append(_oversize(len(texts), size))
        if octets.translate(None, _FIELD_OCTETS):
            findings.append(_refuse("syntax", "a header field has a control character"))
        if request.http_version not in _VERSIONS:
            findings.append(_refuse("syntax", "this version of HTTP does not exist", 505))
        notable = self._notable[layout]
        host, length = notable.host, notable.length
        if host < 0 or not self._hosts[texts[host]] or (length >= 0 and not _LENGTH(texts[length])):
            findings += _judge_fields([(kind, texts[place]) for kind, place in notable.kinds], request.http_version)
        if request.method not in _METHODS:
            findings += _judge_method(request.method)
        odd = self._odd[request.method, request.target]
        if odd is not None:
            findings += self._judge_target(request, odd)
        return findings

    def compare(self, deciders: Sequence[PathDecider]) -> None:
        """Refuse paths whose readings `deciders` decide differently."""
        self._deciders = deciders

    def _judge_target(self, request: Request, odd: Odd) -> Iterator[Finding]:
        # The query stays out of the evidence: it may hold secrets.
        path = _shown([request.target.partition(b"?")[0]])
        if odd.faults:
            yield _refuse("target", odd.faults[0], path=path, faults=odd.faults)
        if odd.readings is None or any(self._differs(request, each) for each in odd.readings):
            detail = "the path can be read in two ways, and they are not treated alike; send it in its plain form"
            yield _refuse("ambiguous_path", detail, path=path)

    def _differs(self, request: Request, reading: str) -> bool:
        """Tell whether another `reading` of the path would be judged differently by what goes by paths."""
        method = "GET" if request.kind == "websocket" else request.method
        path = request.path
        normal = normalise_path(request.target.partition(b"?")[0])
        if normal != path:  # the application is mounted below a path
            reading = below_root(reading, normal.removesuffix(path) or normal)
        return any(decide(method, reading) != decide(method, path) for decide in self._deciders)


def _refuse(rule: str, detail: str, status: int = 400, headers: tuple[Header, ...] = (), **evidence: Any) -> Finding:
    return Finding(f"protocol.{rule}", Action.REFUSE, status, detail, headers, evidence=evidence)


def _oversize(count: int, size: int) -> Finding:
    return _refuse("header_size", "the request has too many or too large header fields", 431, count=count, size=size)


def _judge_fields(notable: Sequence[tuple[str, bytes]], version: str) -> Iterator[Finding]:
    """Judge the fields that are more than ordinary: names that are no token, hosts, and whatever frames the body."""
    values: dict[str, list[bytes]] = {}
    for kind, text in notable:
        values.setdefault(kind, []).append(text)
    if "invalid" in values:
        yield _refuse("syntax", "a header field has a malformed name")
    if fault := _host_fault(values.get("host", []), version):
        yield _refuse("host", fault, hosts=_shown(values.get("host", [])))
    if any(text.lower() != b"100-continue" for text in values.get("expectation", ())):
        yield _refuse("expectation", "only the expectation 100-continue is met here", 417)
    lengths, codings = values.get("length", []), values.get("coding", [])
    if fault := _framing_fault(lengths, codings, version, aliased="alias" in values):
        yield _refuse("framing", fault, content_length=_shown(lengths), transfer_encoding=_shown(codings))


def _host_fault(hosts: Sequence[bytes], version: str) -> str:
    if not hosts:
        return "the request names no host" if version == "1.1" else ""
    # HTTP/2 servers turn `:authority` into a Host of its own; the same name twice has still one meaning there.
    if len(hosts) > 1 and (version.startswith("1") or len(set(hosts)) > 1):
        return "the request names several hosts"
    return "" if _HOST(hosts[0]) else "the request's Host is malformed"


def _framing_fault(lengths: Sequence[bytes], codings: Sequence[bytes], version: str, *, aliased: bool) -> str:
    if aliased:
        return "a header field is spelt so that some servers take it for one that describes the body"
    if lengths and codings:
        return "Content-Length and Transfer-Encoding exclude each other"
    if len(lengths) > 1 or (lengths and not _LENGTH(lengths[0])):
        return "Content-Length must be one whole number"
    if codings and version != "1.1":
        return "Transfer-Encoding exists in HTTP/1.1 only"
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        return "Transfer-Encoding must be chunked and nothing else"
    return ""


def _judge_method(method: str) -> Iterator[Finding]:
    if method.upper() in {"TRACE", "TRACK"}:
        yield _refuse("method", "requests are not echoed here", 405, (_ALLOW,), method=method)
    elif not _TOKEN(method.encode("latin-1", "replace")):
        yield _refuse("method", "the request's method is malformed", method=method[:32])


def _shown(values: Sequence[bytes]) -> list[str]:
    return [text[:100].decode("latin-1") for text in values[:5]]
