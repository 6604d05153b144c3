"""One raw HTTP/1 request, read from a file as leniently as can be: what is wrong with it is for the policies to say.

Lines may end in CRLF or in LF. A request line in the manner of HTTP/2 (`GET / HTTP/2`) is read as well. The body is
what follows the blank line, as far as Content-Length says it goes; it is taken as it is, so a chunked body must be
written without its chunks.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import typer

from aupgate.model import Header

_REQUEST_LINE: Final = re.compile(rb"([^ ]+) ([^ ]+) HTTP/(1\.0|1\.1|2|3)(?:\.0)?")
_BLANK_LINE: Final = re.compile(rb"\r?\n\r?\n")
_LINE_END: Final = re.compile(rb"\r?\n")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class RawRequest:
    """The parts of a request, and what is odd about its body."""

    method: str
    target: bytes
    http_version: str
    headers: Sequence[Header]
    body: bytes = b""
    note: str = ""
    """What the reader did about a body that is longer or shorter than the head says; empty when there is nothing."""

    @property
    def kind(self) -> str:
        """`websocket` for a request that asks to become one (RFC 6455 section 4.1), else `http`."""
        upgrades = self._tokens(b"upgrade")
        asks = self.method == "GET" and self.http_version == "1.1" and "upgrade" in self._tokens(b"connection")
        return "websocket" if asks and "websocket" in upgrades else "http"

    def _tokens(self, wanted: bytes) -> list[str]:
        joined = b",".join(text for name, text in self.headers if name == wanted)
        return [token.strip().lower() for token in joined.decode("latin-1").split(",")]


def parse(raw: bytes) -> RawRequest:
    """Return the parts of `raw`. Raises `typer.BadParameter` for what is no HTTP request."""
    raw = raw.lstrip(b"\r\n")  # RFC 9112 section 2.2
    blank = _BLANK_LINE.search(raw)
    head, rest = (raw[: blank.start()], raw[blank.end() :]) if blank else (raw.rstrip(b"\r\n"), b"")
    first, *lines = _LINE_END.split(head)
    method, target, version = _request_line(first)
    headers = [_field(line, number) for number, line in enumerate(lines, 2)]
    body, note = _body(rest, version, headers)
    return RawRequest(method, target, version, headers, body, note)


def _request_line(line: bytes) -> tuple[str, bytes, str]:
    if not line:
        raise _refused("the request is empty: expected a request line, such as `GET /path HTTP/1.1`")
    matched = _REQUEST_LINE.fullmatch(line)
    if matched is None:
        raise _refused(f"{_shown(line)} is no request line: expected one such as `GET /path HTTP/1.1`")
    method, target, version = matched.groups()
    return method.decode("latin-1"), target, version.decode()


def _field(line: bytes, number: int) -> Header:
    name, colon, text = line.partition(b":")
    # A folded line is one that servers differ on, so the policies shall see it, as a field with a malformed name.
    if not colon and not line.startswith((b" ", b"\t")):
        raise _refused(f"line {number}, {_shown(line)}, is no header field: expected `Name: value`")
    return name.lower(), text.strip(b" \t")


def _body(rest: bytes, version: str, headers: Sequence[Header]) -> tuple[bytes, str]:
    """Return the body, and what there is to say about it (RFC 9112 section 6.3)."""
    values = {name: text for name, text in headers if name in {b"content-length", b"transfer-encoding"}}
    length = values.get(b"content-length", b"")
    if b"transfer-encoding" in values:
        return rest, "the body is taken as it is, as if its transfer coding had been undone" if rest else ""
    if _LENGTH.fullmatch(length):
        return rest[: int(length)], _compare(int(length), rest)
    if not length and version.startswith("1"):
        extra = "has neither Content-Length nor Transfer-Encoding, so what follows it is no body"
        return b"", f"the head {extra}" if rest.strip(b"\r\n") else ""
    return rest, ""


def _compare(length: int, rest: bytes) -> str:
    if length > len(rest):
        return f"Content-Length is {length} and the body has {len(rest)} bytes; it is judged as if it were complete"
    if rest[length:].strip(b"\r\n"):  # editors end a file with a line end
        return f"Content-Length is {length}, so the last {len(rest) - length} bytes are no part of the body"
    return ""


def _refused(expected: str) -> typer.BadParameter:
    return typer.BadParameter(expected, param_hint="--request")


def _shown(line: bytes) -> str:
    text = line[:_SHOWN].decode("latin-1").encode("unicode_escape").decode()
    return f'"{text}{"…" if len(line) > _SHOWN else ""}"'
