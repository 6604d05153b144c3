"""Requests that are refused while they are read, before anybody could judge them."""

from collections.abc import Sequence
from http import HTTPStatus

from aupgate.model import Header
from aupgate.proxy.head import http_date


class UnreadableRequestError(Exception):
    """Raised while parsing for what is answered with `status` under `rule`, and closes the connection."""

    def __init__(self, status: int, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.rule = rule
        self.detail = detail

    def encode(self, headers: Sequence[Header], body: bytes) -> bytes:
        """Return the answer, after which the connection closes."""
        lines = [b"HTTP/1.1 %d %b" % (self.status, HTTPStatus(self.status).phrase.encode())]
        lines += [b"%b: %b" % field for field in headers]
        lines += [b"date: %b" % http_date(), b"connection: close", b"", b""]
        return b"\r\n".join(lines) + body


def malformed(detail: str, status: int = 400) -> UnreadableRequestError:
    """Return the error for what is no request, or none that is spoken here."""
    return UnreadableRequestError(status, "protocol.syntax", detail)


def too_large() -> UnreadableRequestError:
    """Return the error for a head, or what frames a body, beyond its bounds (RFC 6585 section 5)."""
    return UnreadableRequestError(431, "protocol.header_size", "the head of the request is too large")


def too_slow() -> UnreadableRequestError:
    """Return the error for a body that comes too slowly (RFC 9110 section 15.5.9)."""
    return UnreadableRequestError(408, "protocol.slow", "the body of the request comes too slowly")


def too_many() -> UnreadableRequestError:
    """Return the error for requests that were sent before earlier ones were answered, beyond what is kept for them."""
    return UnreadableRequestError(429, "protocol.pipelining", "too many requests wait for answers to earlier ones")
