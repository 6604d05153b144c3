"""The requests that are sent: a browser's GET and a 1 KiB JSON POST, from many clients. Standard library only.

Both the in-process workers and the load generators take them from here, so every part measures the same requests.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

HOST: Final = "stockroom.example"
CLIENTS: Final = 1_000
"""How many clients take turns, each with its own address and session."""

_FIREFOX: Final = "Mozilla/5.0 ({}; rv:{}.0) Gecko/20100101 Firefox/{}.0"
_SYSTEMS: Final = (
    "X11; Linux x86_64",
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10.15",
    "X11; Ubuntu; Linux x86_64",
)
AGENTS: Final = tuple(
    _FIREFOX.format(system, version, version) for system in _SYSTEMS for version in (140, 143, 144, 145)
)

ANSWER: Final = json.dumps({"items": ["a thing in stock"] * 50}).encode()
"""What every application and upstream answers: about 1 KiB of JSON."""

_NOTE: Final = {"to": "warehouse", "subject": "what is left of item 2041", "tags": ["stock", "query"], "text": ""}
_FILLER: Final = "Please count the boxes on the second shelf and write the number down. "


def _body(size: int) -> bytes:
    bare = len(json.dumps(_NOTE))
    text = (_FILLER * (size // len(_FILLER) + 1))[: size - bare]
    return json.dumps({**_NOTE, "text": text}).encode()


@dataclass(frozen=True)
class Workload:
    """One kind of request."""

    name: str
    title: str
    method: str
    path: str
    query: str
    body: bytes = b""
    forwarded: bool = False
    """The client's address comes in X-Forwarded-For, from a proxy at 10.0.0.5."""

    def headers(self, client: int, *, forwarded: bool = False) -> list[tuple[str, str]]:
        """Return the header fields of one client's request, in a browser's order."""
        posted = [("content-type", "application/json"), ("content-length", str(len(self.body)))] if self.body else []
        via = [("x-forwarded-for", address(client))] if forwarded or self.forwarded else []
        return [
            ("host", HOST),
            ("user-agent", AGENTS[client % len(AGENTS)]),
            ("accept", "application/json"),
            ("accept-language", "en-GB,en;q=0.8,de;q=0.5"),
            ("accept-encoding", "gzip, deflate, br, zstd"),
            ("referer", f"https://{HOST}/"),
            *posted,
            *via,
            ("connection", "keep-alive"),
            ("cookie", f"session={session(client)}"),
            ("sec-fetch-dest", "empty"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-site", "same-origin"),
            ("priority", "u=4"),
        ]

    def scope(self, client: int) -> dict[str, Any]:
        """Return the ASGI scope of one client's request."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "https",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in self.headers(client)],
            "client": ("10.0.0.5" if self.forwarded else address(client), 40_000),
            "server": (HOST, 443),
        }

    def scopes(self) -> Iterator[dict[str, Any]]:
        """Return one scope for each client."""
        return map(self.scope, range(CLIENTS))


def address(client: int) -> str:
    """Return the address of a client, one of 131,072 in 198.18.0.0/15 (RFC 2544: for benchmarks)."""
    return f"198.{18 + (client >> 16 & 1)}.{client >> 8 & 255}.{client & 255}"


def session(client: int) -> str:
    """Return the session cookie of a client."""
    return f"{client * 2_654_435_761 % 2**32:08x}{client:08x}"


GET: Final = Workload("get", "GET", "GET", "/api/items", "page=2&per_page=20")
POST: Final = Workload("post", "POST 1 KiB", "POST", "/messages", "", _body(1024))
FORWARDED: Final = Workload("forwarded", "GET", "GET", "/api/items", "page=2&per_page=20", forwarded=True)

WORKLOADS: Final = {workload.name: workload for workload in (GET, POST, FORWARDED)}
