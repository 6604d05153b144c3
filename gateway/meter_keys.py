"""What limits count by: keys of meters, read from a request.

A key is composed of parts: `client`, `network`, `account`, `parent`, `path`, `host`, or `header:NAME`. Each says where
it comes from, so that an account can never be called like an address.

Only a verified account has a counter of its own. Whoever may choose an id freely, as in a session cookie, could choose
a new one for every request and never reach a limit; so an unverified account is counted with its client.
"""

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_network
from typing import Final

from aupgate.model import Account, Request

KeyReader = Callable[[Request], str]

PARTS: Final = ("client", "network", "account", "parent", "path", "host")
"""The parts of a key, besides `header:NAME`."""

MAX_LENGTH: Final = 128
"""Longer keys are replaced by a digest: clients choose their length, and the store keeps them."""

_BOUNDED: Final = frozenset({"client", "network", "account"})
"""Parts that are never longer by themselves."""

_NETWORK_PREFIX: Final = {4: 24, 6: 48}


def key_reader(parts: Sequence[str]) -> KeyReader:
    """Return what reads the key that is composed of `parts`."""
    readers = tuple(map(_reader, parts))
    if len(readers) > 1:
        return lambda request: _bounded(_joined([read(request) for read in readers]))
    (only,) = readers
    return only if parts[0] in _BOUNDED else lambda request: _bounded(only(request))


def goes_by_client(parts: Collection[str]) -> Callable[[Request], bool]:
    """Return what tells whether the key of a request depends on who its client is taken for."""
    if "client" in parts or "network" in parts:
        return lambda request: True  # noqa: ARG005 - one of three answers to the same question
    if "account" in parts or "parent" in parts:
        return lambda request: _verified(request) is None
    return lambda request: False  # noqa: ARG005 - as above


def _joined(values: Sequence[str]) -> str:
    # With its length before each, because paths and headers may hold any separator.
    return "".join(f"{len(text)}:{text}" for text in values)


def _bounded(key: str) -> str:
    if len(key) <= MAX_LENGTH:
        return key
    return f"digest {blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def _reader(part: str) -> KeyReader:
    kind, _, name = part.partition(":")
    if kind == "header":
        field = name.lower().encode()
        return lambda request: f"header {_text(request.header(field))}"
    return _READERS[kind]


def _verified(request: Request) -> Account | None:
    account = request.account
    return account if account is not None and account.verified else None


def _client(request: Request) -> str:
    return request.client.network


def _network(request: Request) -> str:
    return _surroundings(request.client.network)


@lru_cache(maxsize=8192)
def _surroundings(text: str) -> str:
    """Return the network around a client: the IPv4 /24, the IPv6 /48."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:  # a unix socket has no address
        return text
    return str(network.supernet(new_prefix=min(network.prefixlen, _NETWORK_PREFIX[network.version])))


def _account(request: Request) -> str:
    account = request.account
    if account is None or not account.verified:
        return f"client {request.client.network}"
    key = f"account {account.source} {account.id}"
    return key if len(key) <= MAX_LENGTH else _bounded(key)


def _parent(request: Request) -> str:
    account = _verified(request)
    return _account(request) if account is None or account.parent is None else f"parent {account.parent}"


def _path(request: Request) -> str:
    return f"path {request.path}"


def _host(request: Request) -> str:
    return f"host {_text(request.header(b'host')).lower()}"


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("latin-1")


_READERS: Final[dict[str, KeyReader]] = {
    "client": _client,
    "network": _network,
    "account": _account,
    "parent": _parent,
    "path": _path,
    "host": _host,
}
