"""Who may connect: how many connections there are, of whom, and who was turned away.

Nothing is made for a connection that is turned away: no parser, no exchange, and no line in a log of its own. There are
counters, and one line now and then.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address
from typing import Final

import radix

from aupgate.identity.addresses import parse_address
from aupgate.memory import Memory
from aupgate.metrics import Family
from aupgate.values import value

REPORT: Final = 10.0
"""Seconds between two lines about connections that were refused or cut off."""

_log = logging.getLogger("aupgate.proxy")


@value
class Refusal:
    """Why a connection is turned away, and what it is told."""

    reason: str
    answer: bytes = b""


def _answer(status: str, detail: str) -> bytes:
    body = f'{{"title": "{status[4:]}", "status": {status[:3]}, "detail": "{detail}"}}'
    fields = "content-type: application/problem+json\r\nretry-after: 5\r\nconnection: close"
    return f"HTTP/1.1 {status}\r\n{fields}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


FULL: Final = Refusal("total", _answer("503 Service Unavailable", "there are too many connections, try again later"))
"""All places are taken."""
CROWDED: Final = Refusal("client", _answer("429 Too Many Requests", "you have too many connections open, close some"))
"""The client has all that it may have. That is its own doing, and balancers take 503 for a gateway that is ill."""
UNTRUSTED: Final = Refusal("untrusted")
"""Only trusted proxies may connect, and this is none."""
PREAMBLE: Final = Refusal("preamble")
"""A trusted proxy did not say in time, or not in the PROXY protocol, whom it connects for."""
HANDSHAKE: Final = Refusal("handshake")
"""TLS was not agreed upon, or not in time."""


class Place:
    """A connection's place among those that are open, until it `leave`s."""

    __slots__ = ("_network", "_open", "admission")

    def __init__(self, admission: "Admission", network: int | None) -> None:
        self.admission = admission
        self._network = network
        self._open = True

    def pass_to(self, client: str) -> Refusal | None:
        """Count it from now on as a connection of `client`; returns why it may not have one more."""
        network = self.admission.network(client)
        if network is not None and not self.admission.count_in(network):
            return self.admission.refuse(CROWDED)
        self._network = network
        return None

    def leave(self) -> None:
        """Free the place. Only the first call counts."""
        if self._open:
            self._open = False
            self.admission.count_out(self._network)


class Admission:
    """Admits `total` connections, and of each client `per_client`.

    A client is an IPv4 address or an IPv6 network of `ipv6_prefix`. Not counted by client are unix sockets and
    `trusted` proxies; while nobody said which these are (None), every private address might be one.
    """

    def __init__(
        self,
        total: int = 1000,
        per_client: int = 1000,
        *,
        trusted: Sequence[str] | None = (),
        ipv6_prefix: int = 64,
    ) -> None:
        self.open = 0
        """Connections that are open."""
        self._total = total
        self._per_client = per_client
        self._by_client: dict[int, int] = {}
        """Connections by network; it holds as many as are open, at most."""
        self._told = trusted is not None
        self._has_proxies = bool(trusted)
        self._host_bits = 128 - ipv6_prefix
        self._trusted = radix.Radix()
        for each in trusted or ():
            self._trusted.add(each)
        self._networks: Memory[str, int | None] = Memory(self._find_network, longest=64)
        self._refused: Counter[str] = Counter()
        self._cut: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        self._next_report = 0.0

    def enter(self, peer: str | None) -> Place | Refusal:
        """Give a connection of `peer`, None on a unix socket, a place; or say why there is none."""
        if self.open >= self._total:
            return self.refuse(FULL)
        network = None if peer is None else self._networks[peer]
        if network is not None and not self.count_in(network):
            return self.refuse(CROWDED)
        self.open += 1
        return Place(self, network)

    def network(self, client: str) -> int | None:
        """Return what the connections of `client` are counted by; None: they are not."""
        return self._networks[client]

    def trusts(self, peer: str | None) -> bool:
        """Tell whether `peer` is a trusted proxy; a unix socket is, where there are trusted proxies."""
        if peer is None:
            return self._has_proxies
        address = parse_address(peer)
        return address is not None and self._trusted.search_best(str(address)) is not None

    def count_in(self, network: int) -> bool:
        """Count a connection of `network`, unless it has all that it may have."""
        count = self._by_client.get(network, 0)
        if count >= self._per_client:
            return False
        self._by_client[network] = count + 1
        return True

    def count_out(self, network: int | None) -> None:
        """Note that a connection ended."""
        self.open -= 1
        if network is not None:
            left = self._by_client[network] - 1
            if left:
                self._by_client[network] = left
            else:
                del self._by_client[network]

    def refuse(self, refusal: Refusal) -> Refusal:
        """Count a connection that is turned away."""
        self._refused[refusal.reason] += 1
        return refusal

    def cut(self, reason: str) -> None:
        """Count a connection that was cut off because its client was too slow with `reason`."""
        self._cut[reason] += 1

    def report(self, now: float) -> None:
        """Log what was counted since the last line, if that is long ago."""
        if now < self._next_report:
            return
        counted = self._refused + Counter({f"slow {reason}": count for reason, count in self._cut.items()})
        news = counted - self._reported
        if news:
            self._next_report = now + REPORT
            self._reported = counted
            said = ", ".join(f"{reason}: {count}" for reason, count in news.items())
            _log.warning("connections refused or cut off: %s; %d are open", said, self.open)

    def families(self) -> Iterator[Family]:
        """Tell of connections, for the metrics."""
        refused = [((reason,), count) for reason, count in self._refused.items()]
        cut = [((reason,), count) for reason, count in self._cut.items()]
        yield Family("gauge", "aupgate_connections", "Connections of clients that are open", (), [((), self.open)])
        yield Family("counter", "aupgate_connections_refused", "Connections turned away, by why", ("reason",), refused)
        yield Family(
            "counter", "aupgate_connections_cut", "Connections cut off, by what was too slow", ("reason",), cut
        )

    def _find_network(self, client: str) -> int | None:
        address = parse_address(client)
        if address is None or self._trusted.search_best(str(address)) is not None:
            return None
        if not self._told and not address.is_global:
            return None
        if isinstance(address, IPv6Address):
            return (int(address) >> self._host_bits) + 2**32  # beyond all of IPv4
        return int(address)
