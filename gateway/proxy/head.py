"""The head of a response to a client as bytes, for what is answered without ASGI, and how its body is framed.

As strict as the server that frames the answers of applications: a field that would not arrive as what it is, is none.
"""

import re
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import Final

from aupgate.fields import Fields, Layout, by_layout
from aupgate.model import Header
from aupgate.values import value

UNKNOWN: Final = -1
"""In place of a length: the body goes in chunks."""

_NO_BODY: Final = frozenset({204, 304})
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_CONTENT: Final = bytes(octet for octet in range(256) if octet == 0x09 or (octet >= 0x20 and octet != 0x7F))
"""Octets that a field or a status line may hold (RFC 9110 section 5.5)."""


def _status_line(status: int) -> bytes:
    phrase = HTTPStatus(status).phrase if status in _STATUSES else ""
    return b"HTTP/1.1 %d %b" % (status, phrase.encode("ascii"))


_STATUSES: Final = frozenset(HTTPStatus)
_STATUS_LINES: Final = {status: _status_line(status) for status in range(100, 600)}


@value
class _Names:
    """What follows from the names of a response's fields alone."""

    valid: bool
    lower: bool
    dated: bool
    length: int
    """Where Content-Length is; -1 when there is none."""
    connection: bool


def _judge(layout: Layout) -> _Names:
    return _Names(
        all(map(_TOKEN, layout.names)),
        all(name == name.lower() for name in layout.names),
        b"date" in layout.places,
        layout.places.get(b"content-length", (-1,))[0],
        b"connection" in layout.places,
    )


_names: Final = by_layout(_judge)


def encode_response(
    method: bytes, status: int, headers: Sequence[Header], *, keep_alive: bool
) -> tuple[bytes, int, bool]:
    """Return the head of a response to `method`, the length of its body, and whether to keep the connection.

    A length of `UNKNOWN` stands for chunks. `headers` hold no Transfer-Encoding. Raises `ValueError` for a field that
    would not arrive as what it is.
    """
    names = _names[Fields(headers).layout]
    if not names.lower:
        headers = [(name.lower(), text) for name, text in headers]
    if names.connection:
        keep_alive, said = keep_alive and not _closes(headers), _closes(headers)
    else:
        said = False
    lines = [_STATUS_LINES[status], *map(b": ".join, headers)]
    if not names.dated:
        lines.append(b"date: " + http_date())
    if not keep_alive and not said:
        lines.append(b"connection: close")
    length = _length(headers[names.length][1]) if names.length >= 0 else UNKNOWN
    if method == b"HEAD" or status in _NO_BODY:
        length = 0
    elif length == UNKNOWN:
        lines.append(b"transfer-encoding: chunked")
    lines += b"", b""
    head = b"\r\n".join(lines)
    if not names.valid or head.translate(None, _CONTENT) != b"\r\n" * (len(lines) - 1):
        raise ValueError("a header field of the response holds a line break or another control character")
    return head, length, keep_alive


def encode_piece(body: bytes, length: int, *, last: bool) -> bytes:
    """Return a piece of a body as it is sent: chunked if `length` is `UNKNOWN`."""
    if length != UNKNOWN:
        return body
    piece = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return piece + b"0\r\n\r\n" if last else piece


def _length(text: bytes) -> int:
    if not text.isdigit():
        raise ValueError(f"content-length {text!r} of the response is no length")
    return int(text)


def _closes(headers: Sequence[Header]) -> bool:
    values = b",".join([text for name, text in headers if name == b"connection"])
    return b"close" in [token.strip().lower() for token in values.split(b",")]


def http_date() -> bytes:
    """Return the current time as `Date` has it."""
    return _formatted(int(time()))


@lru_cache(maxsize=1)
def _formatted(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode("ascii")
