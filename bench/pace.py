"""A load generator with a fixed rate: `python -m bench.pace PORT REQUESTS RATE SECONDS`.

It is open: a request is due at its time whether or not earlier ones were answered, and its latency counts from then, so
a server that stalls is charged for everybody who had to wait. REQUESTS is a file of HTTP/1.1 requests separated by NUL.
"""

import json
import select
import socket
import sys
from collections import deque
from collections.abc import Sequence
from itertools import cycle
from math import ceil
from pathlib import Path
from time import perf_counter
from typing import Final

from bench.load import CONNECTIONS, MARK

_GIVE_UP: Final = 10.0
"""Seconds after the last request is due until what is still unanswered counts as broken."""


class Link:
    """A connection to the server: what was read of an answer, and when its request was due."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._read = b""

    def send(self, request: bytes, due: float) -> None:
        """Send a request; the connection is idle, so its buffer has room."""
        self.due = due
        self.socket.sendall(request)

    def receive(self) -> int:
        """Read on; return the status when the answer is complete, else 0."""
        read = self.socket.recv(65_536)
        if not read:
            raise ConnectionError("the server closed the connection")
        self._read += read
        status = answered(self._read)
        if status:
            self._read = b""
        return status


def answered(read: bytes) -> int:
    """Return the status of an answer with Content-Length once `read` holds all of it, else 0."""
    head, end, body = read.partition(b"\r\n\r\n")
    if not end:
        return 0
    length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    return int(head.split(b" ", 2)[1]) if len(body) >= int(length) else 0


class Pace:
    """Sends requests at a fixed rate and keeps the latencies."""

    def __init__(self, port: int, requests: Sequence[bytes], rate: float, seconds: float) -> None:
        self.requests = cycle(requests)
        self.interval = 1 / rate
        self.total = int(rate * seconds)
        self.idle = [Link(port) for _ in range(CONNECTIONS)]
        self.busy: dict[int, Link] = {}
        self.waiting: deque[float] = deque()
        self.times: list[float] = []
        self.refused = 0

    def run(self) -> None:
        """Send every request and read every answer."""
        began, number = perf_counter(), 0
        end = began + self.total * self.interval + _GIVE_UP
        while len(self.times) < self.total and (now := perf_counter()) < end:
            while number < self.total and began + number * self.interval <= now:
                self.waiting.append(began + number * self.interval)
                number += 1
            self._send()
            due = began + number * self.interval if number < self.total else end
            self._receive(max(0.0, due - perf_counter()))

    def _send(self) -> None:
        while self.waiting and self.idle:
            link = self.idle.pop()
            link.send(next(self.requests), self.waiting.popleft())
            self.busy[link.socket.fileno()] = link

    def _receive(self, timeout: float) -> None:
        for descriptor in select.select(list(self.busy), [], [], timeout)[0]:
            link = self.busy[descriptor]
            status = link.receive()
            if status:
                self.times.append(perf_counter() - link.due)
                self.refused += status >= 400
                self.idle.append(self.busy.pop(descriptor))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of the ordered values do not exceed (nearest rank)."""
    return ordered[max(0, ceil(percent / 100 * len(ordered)) - 1)]


def main(port: int, requests: Path, rate: float, seconds: float) -> None:
    """Send the load and print its figures."""
    pace = Pace(port, requests.read_bytes().split(b"\0"), rate, seconds)
    began = perf_counter()
    pace.run()
    times = sorted(pace.times) or [0.0]
    figures = {
        "requests": len(pace.times),
        "seconds": perf_counter() - began,
        "p50": percentile(times, 50) * 1e3,
        "p99": percentile(times, 99) * 1e3,
        "refused": pace.refused,
        "broken": pace.total - len(pace.times),
    }
    print(MARK + json.dumps(figures))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
