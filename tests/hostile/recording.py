"""An application that writes down what it saw of each request, bare and behind the middleware.

`RECORD` names the file. A line is one request: its path, query, framing, and how many bytes of body it got.
"""

import json
import os
from typing import Any

from aupgate.middleware import AcceptableUse

CONFIG = {
    "client": {"trusted_proxies": []},
    "log": {"audit": "off", "access": "off"},
    "policies": {
        "headers": {"hosts": ["app.example"]},
        "uploads": {"mode": "off"},
        "scrapers": {"mode": "off"},
        "rate_limits": {"mode": "off"},
        "interfaces": {"mode": "enforce", "deny": [{"path": "/internal/{rest:path}"}]},
    },
}


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """Answer 200, having read the body."""
    if scope["type"] != "http":
        return
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return  # what did not arrive whole is no request
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    framing = {
        name.decode("latin-1"): text.decode("latin-1")
        for name, text in scope["headers"]
        if name in {b"content-length", b"transfer-encoding"}
    }
    line = {"path": scope["path"], "query": scope["query_string"].decode("latin-1"), "framing": framing, "size": size}
    with open(os.environ["RECORD"], "a", encoding="utf-8") as record:  # noqa: ASYNC230, PTH123 - a line, for a test
        record.write(json.dumps(line) + "\n")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


protected = AcceptableUse(bare, CONFIG)
