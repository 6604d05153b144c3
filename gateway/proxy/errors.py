"""The errors of the upstream leg, below `aupgate.errors.AupgateError`.

    UpstreamError                  the upstream gave no usable response
    ├── UpstreamUnreachable  502   no connection, or one that ended before any byte of a response
    │   └── ConnectionDied   502   the latter: an idempotent request may be sent once more
    ├── UpstreamTimeout      504   it took longer than the configured timeouts allow
    └── UpstreamProtocolError 502  it does not speak HTTP/1.1 as RFC 9112 has it, or stopped in the middle of a response
    ClientGone                     the client went away; nobody is left to be answered

The message of an error is for the log: it may name internal addresses. What a client may read is `detail`.
"""

from typing import ClassVar

from aupgate.errors import AupgateError


class UpstreamError(AupgateError):
    """The upstream gave no usable response."""

    status: ClassVar[int] = 502
    """Status of the answer that the client gets, if none was started."""
    rule: ClassVar[str] = "upstream.error"
    detail: ClassVar[str] = "The application did not give a usable response."

    upstream: str = ""
    """URL of the upstream, where it is known."""

    def __str__(self) -> str:
        """Return the message, and of which upstream."""
        text = super().__str__()
        return text if not self.upstream or self.upstream in text else f'{text} (upstream "{self.upstream}")'


class UpstreamUnreachable(UpstreamError):  # noqa: N818 - it says what happened
    """No connection could be made, or it ended before any byte of a response."""

    rule = "upstream.unreachable"
    detail = "The application cannot be reached at the moment."


class ConnectionDied(UpstreamUnreachable):
    """The connection ended before any byte of a response came."""


class UpstreamTimeout(UpstreamError):  # noqa: N818 - as UpstreamUnreachable
    """The upstream took longer than the timeouts allow."""

    status = 504
    rule = "upstream.timeout"
    detail = "The application did not answer in time."


class UpstreamProtocolError(UpstreamError):
    """The response breaks HTTP/1.1 framing or syntax, is too large a head, or stopped in the middle."""

    rule = "upstream.protocol"
    detail = "The application sent a response that cannot be forwarded."


class ClientGone(AupgateError):  # noqa: N818 - as UpstreamUnreachable
    """The client closed its connection before the exchange ended."""
