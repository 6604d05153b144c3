"""One request and its response on the listener's side, with what uvicorn leaves out."""

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from aupgate.proxy.head import http_date

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent


class Cycle(RequestResponseCycle):
    """Dates responses that have no date (RFC 9110 section 6.6.1), and sends HTTP/1.0 clients no chunks.

    For these, a response of unknown length ends with the connection (RFC 9112 sections 6.1 and 6.3).
    """

    _unframed = False

    async def send(self, message: "ASGISendEvent") -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            names = {name.lower() for name, _ in headers}
            if b"date" not in names:
                headers.append((b"date", http_date()))
            if self.scope["http_version"] == "1.0" and b"content-length" not in names:
                self._unframed = True
                self.chunked_encoding = False
            message = {**message, "headers": headers}
        elif message["type"] == "http.response.body" and self._unframed:
            self.expected_content_length = len(message.get("body", b""))  # of this piece, as nobody knows more
        await super().send(message)
