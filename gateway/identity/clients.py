"""Who sent a request.

A `Client` comes from the connection and trusted proxies. Nothing here believes a header because it is there: a
forwarding header counts as far as the proxies that wrote it are trusted, read from the right.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

import radix

from aupgate.fields import Fields
from aupgate.identity.addresses import Address, folded_network, network_key, parse_address
from aupgate.identity.forwarded import ForwardedError, read_forwarded, read_list, read_single, read_sources
from aupgate.memory import Memory
from aupgate.model import Client

MAX_PEERS: Final = 65_536
"""Addresses whose parsed form is kept; the cache starts anew when it is full."""
MAX_HOPS: Final = 32
"""Forwarding entries read from the right; a longer chain counts as that long."""
MAX_SAID: Final = 4096
"""Bytes of a forwarding header that are read, from the right: clients can make it as long as they like."""
LONGEST: Final = 512
"""Bytes of a forwarding header that is remembered with what it says."""
FORWARDING: Final = frozenset({b"x-forwarded-for", b"forwarded", b"x-real-ip"})
_SCHEMES: Final = frozenset({"http", "https", "ws", "wss"})
_SECURE: Final = frozenset({"https", "wss"})

_Reader = Callable[[bytes], Iterator[Address | None]]
_READERS: Final[dict[bytes, _Reader]] = {b"x-forwarded-for": read_list, b"forwarded": read_sources}


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
    `source` is the header that they write: `x-forwarded-for`, `forwarded`, or another that carries a single address.
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
        self._read = _READERS.get(self._source, read_single)
        self._ipv6_prefix = ipv6_prefix
        self._trusted = radix.Radix()
        for network in trusted or ():
            self._trusted.add(folded_network(network))
        self._has_proxies = bool(trusted)
        self._peers: dict[str, _Peer] = {}
        self._behind = Memory(self._walk, longest=LONGEST, size=_said)

    def resolve(self, peer: str | None, fields: Fields) -> Client:
        """Return the client behind the connection from the address `peer`, which is None on a unix socket."""
        known = self._peers.get(peer or "") or self._learn(peer or "")
        if known.trusted:
            return self._behind[known.client.peer, b",".join(fields.all(self._source))]
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

        `told` is the peer and what it says of whom it forwards for. Where the walk ends on a trusted proxy, that may
        speak for itself or for anyone, so it is not certain who the client is.
        """
        peer, said = told
        hops, fault = [peer], ""
        if len(said) > MAX_SAID:
            said = b'"' + said[-MAX_SAID:]  # what is cut in two is malformed, and no shorter address
        try:
            for address in islice(self._read(said), MAX_HOPS):
                if address is None:
                    break
                if not self._trusts(address):
                    return Client(str(address), self._network(address), peer, tuple(reversed(hops)))
                hops.append(str(address))
        except ForwardedError as error:
            fault = f"{self._source.decode()}: {error}"
        last = parse_address(hops[-1])
        return Client(
            "" if last is None else hops[-1],
            hops[-1] if last is None else self._network(last),
            peer,
            tuple(reversed(hops[:-1])),
            certain=False,
            fault=fault,
        )

    def _trusts(self, address: Address) -> bool:
        return self._trusted.search_best(str(address)) is not None

    def _network(self, address: Address) -> str:
        return network_key(address, self._ipv6_prefix)


def forwarded_scheme(client: Client, fields: Fields) -> str | None:
    """Return the scheme that the trusted proxy nearest to the client says it was asked by; None when none does.

    Where `X-Forwarded-Proto` and `Forwarded` disagree, one of them may be the client's, so the one that is not secure
    holds.
    """
    if not client.hops:
        return None
    forwarded = b",".join(fields.all(b"forwarded")) if b"forwarded" in fields.layout.places else b""
    listed = b",".join(fields.all(b"x-forwarded-proto"))
    return _schemes[len(client.hops), listed[-MAX_SAID:], forwarded[-MAX_SAID:]]


def _scheme(told: tuple[int, bytes, bytes]) -> str | None:
    """Return the scheme by the number of trusted hops, and what both headers say."""
    hops, listed, forwarded = told
    entries = listed.decode("latin-1").lower().split(",")
    said = [entries[-min(len(entries), hops)].strip(), _proto(forwarded, hops)]
    schemes = [scheme for scheme in said if scheme in _SCHEMES]
    return next((scheme for scheme in schemes if scheme not in _SECURE), schemes[0] if schemes else None)


def _proto(forwarded: bytes, hops: int) -> str:
    """Return what the last `hops` elements of `Forwarded` say of the scheme, the one nearest to the client first."""
    found = ""
    try:
        for element in islice(read_forwarded(forwarded), hops):
            found = element.proto or found
    except ForwardedError:  # `ClientResolver` found it, where the header is the source; further left nobody is trusted
        return found
    return found


_schemes: Final = Memory(_scheme, longest=LONGEST, size=lambda told: len(told[1]) + len(told[2]))
