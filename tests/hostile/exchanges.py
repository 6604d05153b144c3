"""Servers in front of the recording application, and raw requests sent to them."""

import asyncio
import contextlib
import json
import os
import re
import socket
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from tests.hostile.recording import CONFIG
from tests.services import accepts, running, short_directory

WAYS: Final = ("whole", "byte by byte")
AT_ONCE: Final = 32
LONGEST: Final = 2000
"""Pieces in which a request is sent; only one of more bytes is not sent byte by byte."""
QUIET: Final = 0.4
"""Seconds without an answer after which none is expected any more, once all was sent."""
LONG: Final = 4.0

_ROOT: Final = Path(__file__).parents[2]
_MODULE: Final = "tests.hostile.recording"
_SERVERS: Final[Mapping[str, Sequence[str]]] = {
    "uvicorn-httptools": ("-m", "uvicorn", "--http", "httptools", "--no-access-log", "--uds", "SOCKET", "APP"),
    "uvicorn-h11": ("-m", "uvicorn", "--http", "h11", "--no-access-log", "--uds", "SOCKET", "APP"),
    "hypercorn": ("-m", "hypercorn", "--bind", "unix:SOCKET", "APP"),
    "granian": ("-m", "granian", "--interface", "asgi", "--uds", "SOCKET", "APP"),
    "daphne": ("-m", "daphne", "-u", "SOCKET", "APP"),
}
SERVERS: Final = ("proxy", *_SERVERS)

with (Path(__file__).parent / "requests.toml").open("rb") as _file:
    _REQUESTS: Final = tomllib.load(_file)
HOSTILE: Final[Sequence[Mapping[str, Any]]] = _REQUESTS["hostile"]
BENIGN: Final[Sequence[Mapping[str, Any]]] = _REQUESTS["benign"]


@dataclass
class Exchange:
    """One raw request as it was sent to one server, what came back, and what the application saw."""

    request: Mapping[str, Any]
    way: str
    mark: str
    answer: bytes = b""
    seen: Sequence[Mapping[str, Any]] = ()

    @property
    def name(self) -> str:
        return f"{self.request['name']}, {self.way}"

    @property
    def status(self) -> int:
        """Status of the first answer that is final; 0 when there is none."""
        found = re.search(rb"HTTP/1\.[01] ([2-5]\d\d)", self.answer)
        return int(found[1]) if found else 0

    @property
    def by_us(self) -> bool:
        return b"urn:aupgate:rule:" in self.answer


def octets(raw: str, mark: str) -> bytes:
    """Return the octets of a raw request that is marked, and whose long runs are written out."""
    long = re.sub(r"<(\d+) a>", lambda found: "a" * int(found[1]), raw)
    return long.replace("@", mark).encode("latin-1")


def exchanges(server: str) -> list[Exchange]:
    """Send every request to `server` in both ways; return what came of each once the server has ended."""
    made = [
        Exchange(request, way, f"{kind}{number}{way[0]}")
        for kind, requests in (("h", HOSTILE), ("b", BENIGN))
        for number, request in enumerate(requests)
        for way in WAYS
    ]
    with short_directory("hostile") as directory:
        record = directory / "record"
        with patch.dict(os.environ, RECORD=str(record), PYTHONPATH=str(_ROOT)), _serving(server, directory) as path:
            asyncio.run(_send_all(path, made))
        lines = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    for each in made:
        marked = re.compile(rf"{each.mark}(?![0-9a-z])")
        each.seen = [line for line in lines if marked.search(line["path"] + "?" + line["query"])]
    return made


@contextlib.contextmanager
def _serving(server: str, directory: Path) -> Iterator[Path]:
    listen = directory / "s"
    if server != "proxy":
        command = [sys.executable, *_SERVERS[server]]
        names = {"SOCKET": str(listen), "unix:SOCKET": f"unix:{listen}", "APP": f"{_MODULE}:protected"}
        with running([names.get(word, word) for word in command], directory, lambda: accepts(listen)):
            yield listen
        return
    upstream, beside = directory / "u", directory / "app"
    beside.mkdir()
    app = [sys.executable, "-m", "uvicorn", "--no-access-log", "--uds", str(upstream), f"{_MODULE}:bare"]
    config = {
        **CONFIG,
        "gateway": {"listen": f"unix:{listen}", "upstream": f"unix:{upstream}"},
        "admin": {"listen": "off"},
    }
    (directory / "config.toml").write_text("\n".join(_toml(config)))
    serve = [sys.executable, "-m", "aupgate", "serve", "--config", str(directory / "config.toml")]
    with (
        running(app, beside, lambda: accepts(upstream)),
        running(serve, directory, lambda: accepts(listen)),
    ):
        yield listen


def _toml(tables: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, table in tables.items():
        if isinstance(table, Mapping):
            yield f"[{above}{name}]"
            yield from (f"{key} = {_value(each)}" for key, each in table.items() if not isinstance(each, Mapping))
            yield from _toml({key: each for key, each in table.items() if isinstance(each, Mapping)}, f"{above}{name}.")


def _value(each: Any) -> str:
    if isinstance(each, list):
        return "[" + ", ".join(map(_value, each)) + "]"
    if isinstance(each, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in each.items()) + " }"
    return json.dumps(each)


async def _send_all(path: Path, made: Sequence[Exchange]) -> None:
    free = asyncio.Semaphore(AT_ONCE)

    async def one(exchange: Exchange) -> None:
        async with free:
            exchange.answer = await _answer(path, octets(exchange.request["raw"], exchange.mark), exchange)

    await asyncio.gather(*map(one, made))


async def _answer(path: Path, request: bytes, exchange: Exchange) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        await loop.sock_connect(connection, str(path))
        step = len(request) if exchange.way == "whole" else max(1, len(request) // LONGEST)
        sending = asyncio.create_task(_send(connection, request, step))
        answer = b""
        # A server that refuses a request may close while the rest of it is on its way: what it said still counts.
        with contextlib.suppress(ConnectionError, TimeoutError):
            while data := await asyncio.wait_for(loop.sock_recv(connection, 65536), QUIET if sending.done() else LONG):
                answer += data
        sending.cancel()
        await asyncio.wait([sending])
    return answer


async def _send(connection: socket.socket, request: bytes, step: int) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        for at in range(0, len(request), step):
            await loop.sock_sendall(connection, request[at : at + step])
            await asyncio.sleep(0)
