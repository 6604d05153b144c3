"""The values that settings hold, besides quantities: networks, addresses, paths, names of things."""

import ipaddress
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import re2

from aupgate.config.notation import Later, Notation, expectation
from aupgate.routes import parse_template

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 section 5.6.2
_CLAIM: Final = "[!-~]{1,128}"
_UNIX: Final = r"unix:/[^\x00-\x1f]+"
_LISTEN: Final = rf"{_UNIX}|\[[0-9A-Fa-f:.]+\]:[0-9]{{1,5}}|[A-Za-z0-9._-]+:[0-9]{{1,5}}"


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    network = ipaddress.ip_network(text, strict=False)
    written = ipaddress.ip_address(text.partition("/")[0])
    if written != network.network_address:
        raise expectation(f'bits are set behind the prefix: expected "{network}" or "{written}"')
    return network


def _path_template(text: str) -> str:
    try:
        parse_template(text)
    except ValueError as error:
        raise expectation(str(error)) from None
    return text


def _listen_address(text: str) -> str:
    if not text.startswith("unix:"):
        host, _, port = text.rpartition(":")
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:-1])
        if int(port) > 65535:
            raise expectation("expected a port from 0 to 65535; 0 takes any free one")
    return text


def _upstream_url(text: str) -> str:
    if text.startswith("unix:"):
        return text
    parts = urlsplit(text)
    if not parts.hostname or parts.port == 0:
        raise ValueError(text)
    return text.removesuffix("/")


def _agent_pattern(text: str) -> str:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise expectation(f"expected a regular expression that RE2 compiles: {reason}") from None
    return text


def _account_source(text: str) -> str:
    kind, _, name = text.partition(":")
    return text if kind in {"cookie", "jwt"} else f"{kind}:{name.lower()}"


def _key_set(text: str) -> str:
    if not text.lower().startswith(("http:", "https:")):
        return text
    parts = urlsplit(text)
    if not parts.hostname or parts.port == 0:
        raise ValueError(text)
    if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise expectation("expected https, because whoever is on the way could put keys in; http only to 127.0.0.1")
    return parts.geturl()


Network = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network,
    Notation(
        r"^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$",
        'expected an address or a network, such as "192.0.2.7", "10.0.0.0/8" or "2001:db8::/32"',
        ("10.0.0.0/8", "2001:db8::/32"),
        parse=_network,
        native=(ipaddress.IPv4Network, ipaddress.IPv6Network),
    ),
]
"""An IP network, or one address as the network that holds only it."""

PathTemplate = Annotated[
    str,
    Notation(
        r"^/([^{}?#\s\x00-\x1f\x7f]|\{[A-Za-z_][A-Za-z0-9_]*(:(str|path|int|float|uuid))?\})*$",
        'expected a path that begins with "/", such as "/api/items/{id}" or "/files/{rest:path}"',
        ("/api/items/{id}", "/files/{rest:path}"),
        parse=_path_template,
    ),
]
"""A path with parameters that `aupgate.routes.parse_template` takes: `/api/{id}/{rest:path}`."""

UpstreamUrl = Annotated[
    str,
    Notation(
        rf"^(https?://[^/?#@\s]+/?|{_UNIX})$",
        'expected "http://host:port", "https://host" or "unix:/path", without user, path or query',
        ("http://127.0.0.1:8000", "unix:/run/app.sock"),
        parse=_upstream_url,
    ),
]
"""Where the application is: `http://host:port`, `https://host` or `unix:/path`; without a slash at its end."""

ListenAddress = Annotated[
    str,
    Notation(
        rf"^({_LISTEN})$",
        'expected "host:port", "[address]:port" or "unix:/path", such as "127.0.0.1:8080" or "[::1]:8080"',
        ("127.0.0.1:8080", "unix:/run/aupgate.sock"),
        parse=_listen_address,
    ),
]
"""Where to listen: `host:port`, `[address]:port` or `unix:/path`."""

AdminAddress = Annotated[
    str,
    Notation(
        rf"^(off|{_LISTEN})$",
        'expected "host:port", "[address]:port", "unix:/path" or "off", such as "127.0.0.1:9464"',
        ("127.0.0.1:9464", "off"),
        parse=lambda text: text if text == "off" else _listen_address(text),
    ),
]
"""As `ListenAddress`, or `off`."""

MediaType = Annotated[
    str,
    Notation(
        rf"^{_TOKEN}/{_TOKEN}$",
        'expected a media type without parameters, such as "application/json" or "image/*"',
        ("application/json", "image/*"),
        parse=str.lower,
    ),
]
"""A media type without parameters, in lower case; the subtype may be `*`."""

Method = Annotated[
    str,
    Notation(r"^[!#$%&'*+.^_`|~0-9A-Z-]+$", 'expected a request method in upper case, such as "GET"', ("GET", "POST")),
]
"""A request method (RFC 9110 section 9.1), in upper case."""

HeaderName = Annotated[
    str,
    Notation(
        rf"^{_TOKEN}$",
        'expected the name of a header field, such as "x-forwarded-for"',
        ("x-forwarded-for",),
        parse=str.lower,
    ),
]
"""The name of a header field, in lower case."""

HostName = Annotated[
    str,
    Notation(
        r"^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$",
        'expected the name of a host, such as "app.internal"',
        ("app.internal",),
    ),
]
"""The name of a host, without a port."""

AgentPattern = Annotated[
    str,
    Notation(r"^.+$", 'expected a regular expression, such as "^ExampleApp/"', ("^ExampleApp/",), parse=_agent_pattern),
]
"""A regular expression that RE2 compiles."""

FileName = Annotated[
    Path,
    Notation(
        r"^[^\x00]+$",
        'expected a file name, relative to the configuration file, such as "keys.toml"',
        ("keys.toml",),
        parse=Path,
        native=(Path,),
    ),
]
"""A file or directory; relative names start from the directory of the configuration file."""

LogTarget = Annotated[
    str,
    Notation(
        r"^(stderr|stdout|off|[^\x00]*[./][^\x00]*)$",
        'expected "stderr", "stdout", "off" or a file name with a "/" or a ".", such as "audit.jsonl"',
        ("stderr", "stdout", "off", "audit.jsonl"),
    ),
]
"""Where lines go: `stderr`, `stdout`, `off` or a file."""

Contact = Annotated[
    str,
    Notation(
        r"^((mailto:[^\s@]+@[^\s@]+|https?://\S+|tel:\S+))?$",
        'expected a URI, such as "mailto:abuse@example.com" or "https://example.com/abuse"',
        ("mailto:abuse@example.com",),
    ),
]
"""A URI at which people can be reached, or nothing."""

WebUrl = Annotated[
    str,
    Notation(
        r"^(https?://\S+)?$",
        'expected an http or https URL, such as "https://example.com/aup"',
        ("https://example.com/aup",),
    ),
]
"""An http or https URL, or nothing."""

PackName = Annotated[
    str,
    Notation(
        r"^([a-z][a-z0-9_-]*|[^\x00]+\.toml)$",
        'expected the name of a pack, such as "default", or a file name that ends in ".toml"',
        ("default", "infince", "cimcon", "packs/own.toml"),
    ),
]
"""A pack of clauses that comes with aupgate, or a file."""

AccountSource = Annotated[
    str,
    Notation(
        rf"^(scope:user|(key|cookie|header):{_TOKEN}|jwt:{_CLAIM})$",
        'expected "scope:user", "jwt:CLAIM", "key:HEADER", "cookie:NAME" or "header:NAME", such as "key:x-api-key"',
        ("scope:user", "jwt:sub", "key:x-api-key", "cookie:session"),
        parse=_account_source,
    ),
]
"""Where to look for the account of a request."""

ClaimName = Annotated[
    str,
    Notation(rf"^{_CLAIM}$", 'expected the name of a claim, such as "tenant"', ("tenant", "https://app.example/plan")),
]
"""The name of a claim in a token."""

CookieName = Annotated[
    str, Notation(rf"^{_TOKEN}$", 'expected the name of a cookie, such as "access_token"', ("access_token",))
]
"""The name of a cookie, whose case counts."""

SignatureAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"
]
"""How a token is signed (RFC 7518 section 3.1, RFC 8037)."""

KeySetLocation = Annotated[
    str,
    Notation(
        r"^([Hh][Tt][Tt][Pp][Ss]?://[^@#\s]+|(?![A-Za-z][A-Za-z0-9+.-]*://)[^\x00]+)$",
        'expected a file name or an https URL, such as "jwks.json" or "https://login.example.com/jwks.json"',
        ("jwks.json", "https://login.example.com/.well-known/jwks.json"),
        parse=_key_set,
    ),
]
"""A JSON Web Key Set: a file, relative to the configuration file, or an https URL (http to this machine only)."""

EngineName = Annotated[
    Literal["asgi"], Later("mitmproxy", 'the mitmproxy engine is not part of this version: expected "asgi"')
]
"""What carries the traffic."""

ForwardingStyle = Literal["x-forwarded", "forwarded", "both"]
"""Header fields that tell the application of the client: `X-Forwarded-*` and `X-Real-IP`, `Forwarded` (RFC 7239)."""

StoreUrl = Annotated[
    str,
    Notation(
        r"^(memory://|(rediss?(\+(sentinel|cluster))?|unix)://[^\s]+)$",
        'expected "memory://" or a URL of Redis, such as "redis://127.0.0.1:6379/0" or "unix:///run/redis.sock"',
        ("memory://", "redis://127.0.0.1:6379/0", "rediss+cluster://redis-1.internal,redis-2.internal"),
    ),
]
"""Where meters are counted: in this process, or in Redis (standalone, Sentinel, Cluster; TLS with `rediss`)."""
