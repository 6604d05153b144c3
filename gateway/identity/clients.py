"""Who sent a request.

A `Client` comes from the connection and trusted proxies. Nothing here believes a header because it is there: a
forwarding header counts as far as the proxies that wrote it are trusted, read from the right.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final, NamedTuple

import radix

from aupgate.fields import Fields
from aupgate.identity.addresses import parse_address
from aupgate.memory import Memory
from aupgate.model import Client

MAX_PEERS: Final = 65_536
"""Addresses whose parsed form is kept; the cache starts anew when it is full."""
MAX_HOPS: Final = 32
"""Forwarding entries read from the right; a longer chain counts as that long."""
_PROTO: Final = re.compile(r'(?:^|;)\s*proto="?([a-z]+)').search
FORWARDING: Final = frozenset({b"x-forwarded-for", b"forwarded", b"x-real-ip"})


class _Peer(NamedTuple):
    client: Client
    uncertain: Client
    trusted: bool
    private: bool


def _said(told: tuple[str, bytes]) -> int:
    return len(told[1])


class ClientResolver:
    """Resolves the client of a request.

    `trusted` are the networks of trusted proxies: None when not configured, empty when the gateway is the edge.
    `source` is the header that they write: `x-forwarded-for`, or another that carries a single address.
    """

    def __init__(
        self,
        trusted: Sequence[str] | None = None,
        *,
        source: str = "x-forwarded-for",
        ipv6_prefix: int = 64,
    ) -> None:
        self._configured = trusted is not None
        self._source = source.lower().encode()
        self._ipv6_prefix = ipv6_prefix
        self._trusted = radix.Radix()
        for network in trusted or ():
            self._trusted.add(str(ip_network(network, strict=False)))
        self._has_proxies = bool(trusted)
        self._peers: dict[str, _Peer] = {}
        self._behind = Memory(self._walk, longest=512, size=_said)

    def resolve(self, peer: str | None, fields: Fields) -> Client:
        """Return the client behind the connection from the address `peer`, which is None on a unix socket."""
        known = self._peers.get(peer or "") or self._learn(peer or "")
        if known.trusted:
            return self._behind[peer or "", b",".join(fields.all(self._source))]
        if known.private and not self._configured and not FORWARDING.isdisjoint(fields.layout.places):
            return known.uncertain
        return known.client

    def _learn(self, peer: str) -> _Peer:
        if len(self._peers) >= MAX_PEERS:
            self._peers.clear()
        address = parse_address(peer)
        if address is None:
            # A unix socket, or a test client's name: as near as a private network, and a proxy where there are proxies.
            uncertain = Client("", peer, peer, certain=False)
            found = _Peer(Client("", peer, peer), uncertain, self._has_proxies, private=True)
        else:
            client = Client(str(address), self._network(address), str(address))
            uncertain = Client(client.address, client.network, client.peer, certain=False)
            found = _Peer(client, uncertain, self._trusts(address), not address.is_global)
        self._peers[peer] = found
        return found

    def _walk(self, told: tuple[str, bytes]) -> Client:
        """Walk from the right over the proxies that are trusted; the first address that is not is the client.

        `told` is the peer and what it says of whom it forwards for.
        """
        peer, said = told
        hops = [peer]
        for text in self._entries(said):
            address = parse_address(text)
            if address is None:
                break
            if not self._trusts(address):
                return Client(str(address), self._network(address), peer, tuple(reversed(hops)))
            hops.append(str(address))
        last = parse_address(hops[-1])
        network = self._network(last) if last is not None else peer
        return Client(hops[-1], network, peer, tuple(reversed(hops[:-1])))

    def _entries(self, said: bytes) -> list[str]:
        entries = [entry.strip() for entry in said.decode("latin-1").rsplit(",", MAX_HOPS)[-MAX_HOPS:]][::-1]
        return [_node(entry) for entry in entries] if self._source == b"forwarded" else entries

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return self._trusted.search_best(str(address)) is not None

    def _network(self, address: IPv4Address | IPv6Address) -> str:
        if isinstance(address, IPv4Address):
            return str(address)
        return str(ip_network((address, self._ipv6_prefix), strict=False))


def forwarded_scheme(client: Client, fields: Fields) -> str | None:
    """Return the scheme that the trusted proxy nearest to the client says it was asked by; None when none does."""
    if not client.hops:
        return None
    said = (fields.get(b"x-forwarded-proto") or b"").decode("latin-1").lower().split(",")
    if said == [""]:
        elements = (fields.get(b"forwarded") or b"").decode("latin-1").lower().split(",")
        said = [found[1] for element in elements if (found := _PROTO(element))]
    scheme = said[-min(len(said), len(client.hops))].strip() if said else ""
    return scheme if scheme in {"http", "https", "ws", "wss"} else None


def _node(element: str) -> str:
    """Return the node that `for` names in one element of `Forwarded` (RFC 7239 section 4), empty when there is none."""
    pairs = (pair.partition("=") for pair in element.split(";"))
    nodes = [text.strip().strip('"') for name, _, text in pairs if name.strip().lower() == "for"]
    return nodes[0] if len(nodes) == 1 else ""
