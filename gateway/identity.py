"""Who sent a request and whom it acts for.

A `Client` comes from the connection and trusted proxies, an `Account` from configured sources. Nothing here believes a
header because it is there: a forwarding header counts as far as the proxies that wrote it are trusted, read from the
right, and an account is verified only when its source proves it.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Final, NamedTuple

import radix

from aupgate.errors import ConfigError, Problem
from aupgate.fields import Fields
from aupgate.memory import Memory
from aupgate.model import Account, Client

MAX_PEERS: Final = 65_536
"""Addresses whose parsed form is kept; the cache starts anew when it is full."""
MAX_HOPS: Final = 32
"""Forwarding entries read from the right; a longer chain counts as that long."""
_PROTO: Final = re.compile(r'(?:^|;)\s*proto="?([a-z]+)').search
_DIGEST: Final = re.compile("[0-9A-Fa-f]{64}")
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


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address in `text`, or None; a port, brackets and the IPv4-mapped form are folded away."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


# -- accounts ----------------------------------------------------------------------------------------------------------


Source = Callable[[Fields, object | None], Account | None]
"""Names the account of a request by its fields, and by the user object that an authentication middleware left."""


class AccountResolver:
    """Resolves the account of a request: the first configured source that yields one."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    @classmethod
    def configured(cls, sources: Sequence[str], keys: Mapping[str, Account]) -> "AccountResolver":
        """Build from the configuration's source names; `keys` maps the SHA-256 of each known API key to its account."""
        return cls([_source(text, keys) for text in sources])

    def resolve(self, fields: Fields, user: object | None = None) -> Account | None:
        """Return the account, or None when no source yields one. `user` is what the ASGI scope names so."""
        for source in self._sources:
            account = source(fields, user)
            if account is not None:
                return account
        return None


def _source(text: str, keys: Mapping[str, Account]) -> Source:
    kind, _, name = text.partition(":")
    if kind == "scope":
        return _from_scope
    wanted = name.lower().encode()
    if kind == "key":
        return lambda fields, _: _known_key(fields.get(wanted), keys, text)
    if kind == "cookie":
        cookie = name.encode() + b"="
        return lambda fields, _: _unverified(_cookie(fields, cookie), text)
    return lambda fields, _: _unverified(fields.get(wanted), text)


def _from_scope(_: Fields, user: object | None) -> Account | None:
    """Starlette's and Django's user objects: an authenticated one is proof, since the app itself made it."""
    if user is None or not getattr(user, "is_authenticated", False):
        return None
    for attribute in ("pk", "id", "identity", "username", "display_name"):
        try:
            found = getattr(user, attribute, None)
        except NotImplementedError:  # Starlette's BaseUser.identity, where a subclass defines only display_name
            continue
        if found:
            return Account(str(found), "scope:user", verified=True)
    return None


def _known_key(key: bytes | None, keys: Mapping[str, Account], source: str) -> Account | None:
    if not key:
        return None
    # The key is secret and the table is of its digests: an equal digest is proof, and comparing digests leaks nothing
    # of use.
    found = keys.get(sha256(key.strip()).hexdigest())
    return found and Account(found.id, source, verified=True, plan=found.plan, parent=found.parent)


def _unverified(text: bytes | None, source: str) -> Account | None:
    return Account(text.decode("latin-1"), source, verified=False) if text else None


def _cookie(fields: Fields, wanted: bytes) -> bytes | None:
    for place in fields.layout.places.get(b"cookie", ()):  # HTTP/2 may split the field (RFC 9113 section 8.2.3)
        text = fields.texts[place]
        start = text.find(wanted)
        while start >= 0:
            if start == 0 or text[start - 1 : start] in b"; ":
                return text[start + len(wanted) :].partition(b";")[0].strip()
            start = text.find(wanted, start + 1)
    return None


def load_keys(path: Path) -> dict[str, Account]:
    """Read the file of known API keys; return the account of each key by the key's SHA-256, in hexadecimal.

    The file holds `[[keys]]` with id, sha256, and optionally plan and parent. Raises `ConfigError` with every problem.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(str(path), None, "", "", f"a readable TOML file of known keys: {error}")]) from error
    entries = document.pop("keys", [])
    wrong = [(unknown, "", "unknown key; the file holds [[keys]] tables") for unknown in document]
    for index, entry in enumerate(entries if isinstance(entries, list) else [entries]):
        wrong += [(f"keys[{index}]{key}", given, expected) for key, given, expected in _wrong_with_key(entry)]
    if wrong:
        raise ConfigError([Problem(str(path), None, key, given, expected) for key, given, expected in wrong])
    return {
        entry["sha256"].lower(): Account(
            entry["id"], "key", verified=True, plan=entry.get("plan"), parent=entry.get("parent")
        )
        for entry in entries
    }


def _wrong_with_key(entry: object) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with one entry: the key below it, what is given, what is expected."""
    if not isinstance(entry, dict):
        yield "", repr(entry), "expected a table with id and sha256"
        return
    for name in sorted(entry.keys() - {"id", "sha256", "plan", "parent"}):
        yield f".{name}", "", "unknown key; known are id, sha256, plan, parent"
    for name in ("id", "plan", "parent"):
        given = entry.get(name, "" if name == "id" else "-")
        if not isinstance(given, str) or not given:
            yield f".{name}", repr(given), "expected a string that is not empty"
    digest = entry.get("sha256")
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        yield ".sha256", repr(digest)[:12], "expected the SHA-256 of the key, 64 hexadecimal digits"
