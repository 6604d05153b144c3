"""Measures one subject in a process of its own: `python -m bench.worker SUBJECT CONFIGURATION.json`.

It reads one JSON command a line, `{"workload": NAME, "seconds": S}`, and answers with one JSON line: the time of a
request to the bare and to the wrapped application in microseconds, measured in turns. The applications are called
directly, without a server, on uvloop.
"""

import asyncio
import json
import sys
from itertools import cycle
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import uvloop

from bench.subjects import SUBJECTS, App, Proof, Subject
from bench.workloads import GET, WORKLOADS, Workload

TURNS = 5
"""How often the bare and the wrapped application take turns within one measurement."""

WARM_UP = 20
"""Requests before anything is measured, at least; a tenth of a second's if that is more."""


class Receive:
    """Gives the body of one request."""

    __slots__ = ("body", "done")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.done = False

    async def __call__(self) -> dict[str, Any]:
        if self.done:
            return {"type": "http.disconnect"}
        self.done = True
        return {"type": "http.request", "body": self.body, "more_body": False}


class Client:
    """Sends requests of one kind, from many clients in turn, and counts answers other than 200."""

    def __init__(self, workload: Workload) -> None:
        self.body = workload.body
        self.scopes = cycle(list(workload.scopes()))
        self.refused = 0

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            self.refused += 1

    async def seconds(self, app: App, count: int) -> float:
        """Return how long `count` requests take."""
        scopes, send, body = self.scopes, self._send, self.body
        began = perf_counter()
        for _ in range(count):
            scope = next(scopes).copy()
            scope["headers"] = scope["headers"].copy()
            await app(scope, Receive(body), send)
        return perf_counter() - began

    async def fitting(self, app: App, seconds: float) -> int:
        """Return how many requests fit into `seconds`, after a warm-up."""
        each = await self.seconds(app, WARM_UP) / WARM_UP
        again = int(0.1 / each)
        if again > WARM_UP:
            each = await self.seconds(app, again) / again
        return max(3, int(seconds / each))


async def measure(subject: Subject, client: Client, seconds: float) -> dict[str, float]:
    """Measure for about `seconds` and return microseconds for each request."""
    apps = {"bare": subject.bare, "wrapped": subject.wrapped}
    counts = {name: await client.fitting(app, seconds / TURNS / 2) for name, app in apps.items()}
    taken: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(TURNS):
        for name, app in apps.items():
            taken[name].append(await client.seconds(app, counts[name]) / counts[name] * 1e6)
    return {name: median(times) for name, times in taken.items()}


async def refuses(proof: Proof) -> bool:
    """Return whether the hostile request is refused."""
    statuses: list[int] = []

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    for _ in range(proof.times):
        await proof.app({**GET.scope(CLIENT_OF_PROOF), **proof.scope}, Receive(b""), send)
    return statuses[-1] >= 400


CLIENT_OF_PROOF = 100_000
"""A client that sends nothing else, in case it is banned for what it sent."""


def main(name: str, configuration: Path) -> None:
    """Build the subject, prove that it refuses, then answer commands until there are no more."""
    clients: dict[str, Client] = {}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        subject = SUBJECTS[name](json.loads(configuration.read_text(encoding="utf-8")))
        if not all(runner.run(refuses(proof)) for proof in subject.proofs):
            raise SystemExit("it lets a request pass that it should refuse, so there is nothing to measure")
        print(json.dumps({"ready": True}), flush=True)
        for line in sys.stdin:
            command = json.loads(line)
            client = clients.setdefault(command["workload"], Client(WORKLOADS[command["workload"]]))
            measured = runner.run(measure(subject, client, command["seconds"]))
            print(json.dumps({**measured, "refused": client.refused}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
