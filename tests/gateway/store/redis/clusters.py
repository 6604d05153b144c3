"""A private cluster of three nodes on loopback, for the tests."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from tests.services import find_server, running, short_directory

SLOTS = 16384


@dataclass(frozen=True)
class Cluster:
    """A running cluster without replicas."""

    ports: tuple[int, ...]
    pids: tuple[int, ...]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def ask(self, node: int, *words: object) -> str:
        """Run a command on a node."""
        command = ["redis-cli", "-p", str(self.ports[node]), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout


def _free_ports(number: int) -> list[int]:
    """Return free ports whose cluster buses, 10,000 above, can be had too."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(found) < number:
            one = stack.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            if port < 55000:
                found.append(port)
    return found


def _accepts(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def run_cluster(nodes: int = 3) -> Iterator[Cluster]:
    """Run a cluster until the end of the context."""
    program = find_server("redis-server", "redis-server")
    ports = _free_ports(nodes)
    with contextlib.ExitStack() as stack:
        pids = []
        for port in ports:
            directory = stack.enter_context(short_directory("cluster"))
            command = [program, "--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--save", ""]
            pids.append(stack.enter_context(running(command, directory, partial(_accepts, port))))
        cluster = Cluster(tuple(ports), tuple(pids))
        share = -(-SLOTS // nodes)
        for node in range(nodes):
            cluster.ask(node, "CLUSTER", "ADDSLOTSRANGE", node * share, min(SLOTS, (node + 1) * share) - 1)
            cluster.ask(node, "CLUSTER", "SET-CONFIG-EPOCH", node + 1)
        for node in range(1, nodes):
            cluster.ask(0, "CLUSTER", "MEET", "127.0.0.1", ports[node])
        deadline = time.monotonic() + 30
        while not all("cluster_state:ok" in cluster.ask(node, "CLUSTER", "INFO") for node in range(nodes)):
            assert time.monotonic() < deadline, cluster.ask(0, "CLUSTER", "INFO")
            time.sleep(0.1)
        yield cluster
