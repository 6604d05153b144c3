"""HTTP/1.1 framing of the upstream leg as pure functions: a request's head as bytes, and where a response's body ends.

Both are strict. What two parsers could read in two ways is refused, whatever the parser below makes of it.
"""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final

from aupgate.model import Header
from aupgate.proxy.errors import UpstreamProtocolError

Fields = Sequence[Header]

CHUNKED: Final = -1
"""In place of a length: the body is sent in the chunked coding."""

LAST_CHUNK: Final = b"0\r\n\r\n"

_TARGET: Final = re.compile(rb"[!-~\x80-\xff]+").fullmatch
_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_LENGTH: Final = re.compile(rb"[0-9]{1,18}").fullmatch


class BodyEnd(Enum):
    """Where a response's body ends (RFC 9112 section 6.3)."""

    AT_HEAD = "there is none"
    COUNTED = "after Content-Length bytes"
    LAST_CHUNK = "with the last chunk"
    AT_EOF = "when the upstream closes the connection"


def encode_head(method: bytes, target: bytes, headers: Fields, host: bytes, length: int | None) -> bytes:
    """Return the head of a request.

    `headers` hold no framing fields: `length` says it (None: no body; `CHUNKED`). `headers` have lower-case
    names; `host` is sent where there is no Host.
    Raises `ValueError` for a method, target or field that would not arrive as what it is.
    """
    if not _TARGET(target) or not _METHOD(method):
        raise ValueError(f'request line "{method!r} {target!r}" cannot be sent, percent-encode the target')
    lines = [b"%b %b HTTP/1.1" % (method, target), *map(b": ".join, headers)]
    if length is not None:
        lines.append(b"transfer-encoding: chunked" if length == CHUNKED else b"content-length: %d" % length)
    head = b"\r\n".join(lines)
    if b"\r\nhost: " not in head:
        lines.insert(1, b"host: " + host)
        head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
        raise ValueError("a header field holds a line break or NUL, remove it before the request is forwarded")
    return head + b"\r\n\r\n"


def encode_chunk(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return `data`, which is not empty, as one chunk."""
    return b"%x\r\n" % len(data), data, b"\r\n"


def body_end(method: bytes, version: str, status: int, headers: Fields) -> BodyEnd:
    """Return where the body of a final response ends. `headers` have lower-case names.

    Raises `UpstreamProtocolError` when two readers could disagree: Content-Length with Transfer-Encoding, either one
    twice, a coding other than chunked, a coding in HTTP/1.0; and for versions and status codes that HTTP/1.1 does not
    have.
    """
    if version not in {"1.1", "1.0"} or not 200 <= status <= 599:
        raise UpstreamProtocolError(f'response "HTTP/{version} {status}" is not HTTP/1.1')
    length = coding = None
    for name, text in headers:
        if name == b"content-length":
            length = _only(name, length, text)
        elif name == b"transfer-encoding":
            coding = _only(name, coding, text)
    if length is not None and (coding is not None or not _LENGTH(length)):
        raise UpstreamProtocolError(f"content-length {length!r} is no length, or not the only framing")
    if coding is not None and (coding.lower() != b"chunked" or version == "1.0"):
        raise UpstreamProtocolError(f"transfer-encoding {coding!r} in HTTP/{version} is not understood")
    if method == b"HEAD" or status in {204, 304}:
        return BodyEnd.AT_HEAD
    if coding is not None:
        return BodyEnd.LAST_CHUNK
    return BodyEnd.AT_EOF if length is None else BodyEnd.COUNTED


def _only(name: bytes, before: bytes | None, text: bytes) -> bytes:
    if before is not None:
        raise UpstreamProtocolError(f"{name.decode()} comes twice: {before!r} and {text!r}")
    return text
