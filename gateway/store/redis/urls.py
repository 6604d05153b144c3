"""URLs of Redis: the one place that reads them.

    redis://[user:password@]host[:port][/database]                     one server
    rediss://…                                                         the same, over TLS
    unix://[user:password@]/path/to/socket[?db=database]               one server on this machine
    redis+sentinel://[user:password@]host[:port][,host…]/service[/database]
    redis+cluster://[user:password@]host[:port][,host…]

`rediss+sentinel://` and `rediss+cluster://` are those over TLS. Users, passwords and paths are percent-encoded.
"""

import ssl
from collections.abc import Mapping
from typing import Final, Literal, TypedDict
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct

Topology = Literal["standalone", "sentinel", "cluster"]
Node = tuple[str, int]
"""Host and port."""

_TOPOLOGIES: Final[Mapping[str, Topology]] = {
    "redis": "standalone",
    "rediss": "standalone",
    "unix": "standalone",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
_PORTS: Final[Mapping[Topology, int]] = {"standalone": 6379, "sentinel": 26379, "cluster": 6379}
_TLS_OPTIONS: Final = ("ca_file", "cert_file", "key_file")
_SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password")


class Target(Struct, frozen=True):
    """Where Redis is, and who we are to it."""

    topology: Topology
    nodes: tuple[Node, ...] = ()
    """The server; or the sentinels or nodes that are asked first."""
    path: str = ""
    """The unix socket; empty for a network address."""
    username: str | None = None
    password: str | None = None
    database: int = 0
    service: str = ""
    """What sentinels call the server."""
    tls: bool = False
    options: Mapping[str, str] = {}
    """`ca_file`, `cert_file` and `key_file` for TLS; `sentinel_username` and `sentinel_password`."""

    def __str__(self) -> str:
        """Say where Redis is, without what is secret."""
        return self.path or ",".join(f"{host}:{port}" for host, port in self.nodes)

    def tls_context(self) -> ssl.SSLContext | None:
        """Make the context of TLS, which always verifies the server; raises `OSError` for files that cannot be read."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=self.options.get("ca_file"))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        certificate = self.options.get("cert_file")
        if certificate is not None:
            context.load_cert_chain(certificate, self.options.get("key_file"))
        return context


class _Common(TypedDict):
    username: str | None
    password: str | None
    options: Mapping[str, str]


def parse(url: str) -> Target:
    """Read `url`; raises `ValueError`, which does not quote the password, for one that cannot be used."""
    parts = urlsplit(url)
    topology = _TOPOLOGIES.get(parts.scheme)
    if topology is None:
        raise ValueError(f"{parts.scheme!r} is no scheme of Redis: expected one of {', '.join(_TOPOLOGIES)}")
    credentials, _, address = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    options = _options(parts, topology)
    database = options.pop("db", "")
    common = _Common(username=unquote(username) or None, password=unquote(password) or None, options=options)
    if parts.scheme == "unix":
        if address or not parts.path:
            raise ValueError("expected the absolute path of a socket, as in unix:///run/redis/redis.sock")
        return Target(topology, path=unquote(parts.path), database=_database(database), **common)
    service, in_path = _service(parts.path, topology)
    return Target(
        topology,
        _nodes(address, _PORTS[topology], topology),
        service=service,
        database=_database(database or in_path),
        tls=parts.scheme.startswith("rediss"),
        **common,
    )


def _options(parts: SplitResult, topology: Topology) -> dict[str, str]:
    known = ["db"] if topology != "cluster" else []
    known += _TLS_OPTIONS if parts.scheme.startswith("rediss") else ()
    known += _SENTINEL_OPTIONS if topology == "sentinel" else ()
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in known:
            raise ValueError(f"{name!r} is no option of {parts.scheme}://: expected {', '.join(known) or 'none'}")
    if "key_file" in options and "cert_file" not in options:
        raise ValueError("key_file needs a cert_file: name both, or neither")
    return options


def _service(path: str, topology: Topology) -> tuple[str, str]:
    """Return the service and the database that a path names."""
    first, _, rest = path.removeprefix("/").partition("/")
    if topology == "sentinel":
        if not first:
            raise ValueError("expected the name of the service that the sentinels watch, as in /mymaster")
        return unquote(first), rest
    if topology == "cluster" and path.strip("/"):
        raise ValueError(f"a cluster has no databases, but the path is {path!r}: leave it out")
    if rest:
        raise ValueError(f"expected one number as the database, not the path {path!r}")
    return "", first


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(f"expected a number as the database, not {text!r}")
    return int(text or 0)


def _nodes(address: str, port: int, topology: Topology) -> tuple[Node, ...]:
    nodes = tuple(_node(each, port) for each in address.split(","))
    if topology == "standalone" and len(nodes) > 1:
        raise ValueError(f"{address!r} names several servers: expected one, or redis+cluster:// or redis+sentinel://")
    return nodes


def _node(text: str, port: int) -> Node:
    parts = urlsplit(f"//{text}")
    try:
        found = parts.port
    except ValueError:
        raise ValueError(f"the port of {text!r} is no number from 0 to 65535") from None
    if not parts.hostname:
        raise ValueError(f"{text!r} names no host: expected host or host:port")
    return parts.hostname, port if found is None else found
