"""What a client reads when the upstream gives no usable response."""

import json
from collections.abc import Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from aupgate.model import Header

OnError = Callable[[MutableMapping[str, Any], int, str, str], tuple[list[Header], bytes]]
"""Makes header fields and body of such an answer, from the ASGI scope, status, rule and public detail."""


def problem(_scope: MutableMapping[str, Any], status: int, rule: str, detail: str) -> tuple[list[Header], bytes]:
    """Return an RFC 9457 problem document."""
    title = HTTPStatus(status).phrase
    document = {"type": f"urn:aupgate:rule:{rule}", "title": title, "status": status, "detail": detail}
    body = json.dumps(document).encode()
    return [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ], body
