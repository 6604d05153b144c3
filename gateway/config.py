"""The configuration: what may be written in it, and loading it with every mistake reported at once.

Pydantic is at work here and in the settings of policies, and only while loading; afterwards settings are plain
values. The notation (`10s`, `25 MiB`, `10%`) is parsed by the types below, so settings hold seconds, bytes and numbers.
"""

import difflib
import ipaddress
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self, TypeVar, cast
from urllib.parse import urlsplit

import re2  # type: ignore[import-untyped]
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from aupgate.errors import ConfigError, Problem
from aupgate.model import Mode, OnError
from aupgate.toml_lines import KeyPath, dotted, key_lines, line_of

# --- notations: how values are written


def expectation(text: str, at: str = "") -> PydanticCustomError:
    """Return the error that a validator raises: what would be accepted. `at` names the key, where a table is judged."""
    return PydanticCustomError("expectation", "{expected}", {"expected": text, "at": at})


@dataclass(frozen=True)
class Notation:
    """How a value is written: annotates a type whose settings are strings (or whole numbers) of a certain form."""

    pattern: str
    """Regular expression, anchored at both ends, in the part that Python and ECMA-262 (JSON Schema) share."""
    expected: str
    """What would be accepted, with an example."""
    examples: tuple[str | int, ...]
    parse: Callable[[str], Any] = str
    """Makes the value. A ValueError says the text is not of this notation; `expectation` says it more precisely."""
    write: Callable[[Any], str] = str
    native: tuple[type, ...] = ()
    """Types of values that need no parsing, for settings made in Python."""
    numbers: bool = False
    """Accepts whole numbers as well."""

    def __call__(self, value: object) -> Any:
        """Return the value that `value` stands for."""
        if isinstance(value, self.native):
            return value
        text = str(value) if self.numbers and type(value) is int else value
        if not isinstance(text, str) or not re.fullmatch(self.pattern, text):
            raise expectation(self.expected)
        try:
            return self.parse(text)
        except PydanticCustomError:
            raise
        except ValueError:
            raise expectation(self.expected) from None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(self.write, when_used="json")
        return core_schema.no_info_plain_validator_function(self, serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        kinds: str | list[str] = ["string", "integer"] if self.numbers else "string"
        lowest = {"minimum": 0} if self.numbers else {}
        return {"type": kinds, "pattern": self.pattern, "examples": list(self.examples), **lowest}


_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = {
    "": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
# Fifteen digits are what a float holds exactly.
_NUMBER: Final = r"[0-9]{1,15}(\.[0-9]{1,6})?"
_FIELD_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""A token (RFC 9110 section 5.6.2)."""
_ONE_RATE: Final = r"[0-9]{1,12} ?(/|per) ?([0-9]{1,6} ?)?[A-Za-z]+"
_UNIX: Final = r"unix:/[^\x00-\x1f]+"


def _quantity(text: str, units: Mapping[str, float]) -> float:
    number = text.rstrip("%BKMGTidhms ")
    return float(number) * units[text[len(number) :].strip()]


def _duration_text(seconds: float) -> str:
    for unit, length in reversed(_SECONDS.items()):
        if seconds >= length and (seconds / length).is_integer():
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds * 1000:.6f}".rstrip("0").rstrip(".") + "ms"


def _size_text(size: int) -> str:
    for unit in ("TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "KB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]} {unit}"
    return f"{size} B"


def _percent(text: str) -> float:
    percent = float(text.rstrip("% "))
    if percent > 100:
        raise ValueError(text)
    return percent


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    network = ipaddress.ip_network(text, strict=False)
    written = ipaddress.ip_address(text.partition("/")[0])
    if written != network.network_address:
        raise expectation(f'bits are set behind the prefix: expected "{network}" or "{written}"')
    return network


def _rate(text: str) -> str:
    from limits import parse_many  # noqa: PLC0415 - slow to import, and many configurations have no rates

    if any(rate.amount < 1 or rate.get_expiry() < 1 for rate in parse_many(text)):
        raise expectation("expected rates of at least 1; what nobody may use belongs in policies.interfaces.deny")
    return text


def _path_template(text: str) -> str:
    names = re.findall(r"\{([A-Za-z0-9_]+)", text)
    if len(names) != len(set(names)):
        raise expectation("expected every name in braces only once")
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
    return text if kind == "cookie" else f"{kind}:{name.lower()}"


Duration = Annotated[
    float,
    Notation(
        rf"^{_NUMBER} ?(ms|s|m|h|d)$",
        'expected a duration with its unit, such as "50ms", "10s", "5m", "2h" or "1d"',
        ("50ms", "10s", "5m"),
        parse=lambda text: _quantity(text, _SECONDS),
        write=_duration_text,
    ),
]
"""Seconds, written as `50ms`, `10s`, `5m`, `2h` or `1d`."""

Size = Annotated[
    int,
    Notation(
        rf"^{_NUMBER} ?(B|[KMGT]B|[KMGT]iB)?$",
        'expected a size in bytes, such as 65536, "64 KiB", "25 MiB" or "10 MB"',
        ("64 KiB", "25 MiB", 65536),
        parse=lambda text: round(_quantity(text, _BYTES)),
        write=_size_text,
        numbers=True,
    ),
]
"""Bytes, written as a whole number or as `64 KiB`, `25 MiB`, `1 GiB` (powers of 1024), `10 MB` (powers of 1000)."""

Percent = Annotated[
    float,
    Notation(
        r"^[0-9]{1,3}(\.[0-9]{1,6})? ?%$",
        'expected a percentage from "0%" to "100%", such as "10%"',
        ("10%", "100%"),
        parse=_percent,
        write=lambda percent: f"{percent:g}%",
    ),
]
"""A share from 0 to 100, written as `10%`."""

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

Rate = Annotated[
    str,
    Notation(
        rf"^{_ONE_RATE}( ?[,;|] ?{_ONE_RATE})*$",
        'expected rates in the notation of the limits package, such as "240/minute" or "60/second;1000 per 2 hours"',
        ("240/minute", "60/second;1000/hour"),
        parse=_rate,
    ),
]
"""Rates in the notation of the limits package, valid for `limits.parse_many`."""

PathTemplate = Annotated[
    str,
    Notation(
        r"^/([^{}?#\s\x00-\x1f\x7f]|\{[A-Za-z_][A-Za-z0-9_]*(:(str|path|int|float|uuid))?\})*$",
        'expected a path that begins with "/", such as "/api/items/{id}" or "/files/{rest:path}"',
        ("/api/items/{id}", "/files/{rest:path}"),
        parse=_path_template,
    ),
]
"""A path with parameters as Starlette's routes write them: `/api/{id}/{rest:path}`."""

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
        rf"^({_UNIX}|\[[0-9A-Fa-f:.]+\]:[0-9]{{1,5}}|[A-Za-z0-9._-]+:[0-9]{{1,5}})$",
        'expected "host:port", "[address]:port" or "unix:/path", such as "127.0.0.1:8080" or "[::1]:8080"',
        ("127.0.0.1:8080", "unix:/run/aupgate.sock"),
        parse=_listen_address,
    ),
]
"""Where to listen: `host:port`, `[address]:port` or `unix:/path`."""

MediaType = Annotated[
    str,
    Notation(
        rf"^{_FIELD_NAME}/{_FIELD_NAME}$",
        'expected a media type without parameters, such as "application/json" or "image/*"',
        ("application/json", "image/*"),
        parse=str.lower,
    ),
]
"""A media type without parameters, in lower case; the subtype may be `*`."""

Method = Annotated[
    str,
    Notation(
        r"^[!#$%&'*+.^_`|~0-9A-Z-]+$",
        'expected a request method in upper case, such as "GET"',
        ("GET", "POST"),
    ),
]
"""A request method (RFC 9110 section 9.1), in upper case."""

AgentPattern = Annotated[
    str,
    Notation(r"^.+$", 'expected a regular expression, such as "^ExampleApp/"', ("^ExampleApp/",), parse=_agent_pattern),
]
"""A regular expression that RE2 compiles."""


class OneOrMore:
    """Annotates a tuple of strings: one string may stand for a list of one."""

    def __call__(self, value: object) -> object:
        """Return `value` as a tuple where it is a string or a list."""
        if isinstance(value, str):
            return (value,)
        return tuple(value) if isinstance(value, list) else value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        many = handler(schema)
        return {"anyOf": [many["items"], many]}


@dataclass(frozen=True)
class Later:
    """Annotates a type with values that are planned but not part of this version."""

    pattern: str
    expected: str

    def __call__(self, value: object) -> object:
        """Return `value` unless it is one of the planned ones."""
        if isinstance(value, str) and re.fullmatch(self.pattern, value):
            raise expectation(self.expected)
        return value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self, handler(source))


_FileName = Annotated[
    Path,
    Notation(
        r"^[^\x00]+$",
        'expected a file name, relative to the configuration file, such as "keys.toml"',
        ("keys.toml",),
        parse=Path,
        native=(Path,),
    ),
]
_LogTarget = Annotated[
    str,
    Notation(
        r"^(stderr|stdout|off|[^\x00]*[./][^\x00]*)$",
        'expected "stderr", "stdout", "off" or a file name with a "/" or a ".", such as "audit.jsonl"',
        ("stderr", "stdout", "off", "audit.jsonl"),
    ),
]
_HeaderName = Annotated[
    str,
    Notation(
        rf"^{_FIELD_NAME}$",
        'expected the name of a header field, such as "x-forwarded-for"',
        ("x-forwarded-for",),
        parse=str.lower,
    ),
]
_Contact = Annotated[
    str,
    Notation(
        r"^((mailto:[^\s@]+@[^\s@]+|https?://\S+|tel:\S+))?$",
        'expected a URI, such as "mailto:abuse@example.com" or "https://example.com/abuse"',
        ("mailto:abuse@example.com",),
    ),
]
_WebUrl = Annotated[
    str,
    Notation(
        r"^(https?://\S+)?$",
        'expected an http or https URL, such as "https://example.com/aup"',
        ("https://example.com/aup",),
    ),
]
_PackName = Annotated[
    str,
    Notation(
        r"^([a-z][a-z0-9_-]*|[^\x00]+\.toml)$",
        'expected the name of a pack, such as "default", or a file name that ends in ".toml"',
        ("default", "infince", "cimcon", "packs/own.toml"),
    ),
]
_Engine = Annotated[
    Literal["asgi"], Later("mitmproxy", 'the mitmproxy engine is not part of this version: expected "asgi"')
]
_StoreUrl = Annotated[
    Literal["memory://"],
    Later(r"rediss?(\+[a-z]+)?://.*", 'a Redis store is not part of this version: expected "memory://"'),
]
_AccountSource = Annotated[
    str,
    Notation(
        rf"^(scope:user|(key|cookie|header):{_FIELD_NAME})$",
        'expected "scope:user", "key:HEADER", "cookie:NAME" or "header:NAME", such as "key:x-api-key"',
        ("scope:user", "key:x-api-key", "cookie:session"),
        parse=_account_source,
    ),
    Later(r"jwt:.*", "accounts from a JWT are not in this version: expected scope, key, cookie or header"),
]
_AdminAddress = Annotated[
    str,
    Notation(
        rf"^(off|{_UNIX}|\[[0-9A-Fa-f:.]+\]:[0-9]{{1,5}}|[A-Za-z0-9._-]+:[0-9]{{1,5}})$",
        'expected "host:port", "[address]:port", "unix:/path" or "off", such as "127.0.0.1:9464"',
        ("127.0.0.1:9464", "off"),
        parse=lambda text: text if text == "off" else _listen_address(text),
    ),
]


# --- tables: what may be set


class Settings(BaseModel):
    """Base of every table: unknown keys are errors, values never change, and each setting's docstring describes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Exemption(Settings):
    """Whom a policy lets pass. Everything that is named must hold."""

    path: PathTemplate | None = None
    """Paths that are exempt."""
    account: Annotated[str, Field(min_length=1)] | None = None
    """Id of the verified account that is exempt."""
    client: Network | None = None
    """Network whose clients are exempt."""

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.path is None and self.account is None and self.client is None:
            raise expectation("expected at least one of path, account, client")
        return self


class PolicySettings(Settings):
    """What every policy can be told. A policy's own settings derive from this class."""

    mode: Mode | None = None
    """How far the policy goes; unset: the policy's own default."""
    rules: dict[str, Mode] = Field(default_factory=dict)
    """Modes of single rules, by their name without the policy's; the weakest of rule, policy and gateway holds."""
    exempt: tuple[Exemption, ...] = ()
    """Requests that this policy lets pass."""
    share: Percent = 100.0
    """The share of clients that it enforces for; it observes the others. A client always falls on the same side."""
    on_error: OnError | None = None
    """What becomes of a request when the policy itself fails; unset: the policy's own default."""


class TlsFiles(Settings):
    """Certificate and key of the listener."""

    cert: _FileName = Field(examples=["tls/cert.pem"])
    """PEM file with the certificate and its chain."""
    key: _FileName = Field(examples=["tls/key.pem"])
    """PEM file with the private key."""


class Timeouts(Settings):
    """How long to wait for whom."""

    header: Duration = 10.0
    """Longest time a client may take to send the head of a request."""
    body: Duration = 30.0
    """Longest pause between two pieces of a request's body."""
    connect: Duration = 5.0
    """Longest time for a connection to the upstream to be made."""
    response: Duration = 60.0
    """Longest wait for the head of the upstream's response."""
    idle: Duration = 60.0
    """How long a connection stays open without a request, to a client and to the upstream."""


class GatewaySettings(Settings):
    """The gateway itself. A mount in an application uses `mode` only."""

    listen: ListenAddress = "127.0.0.1:8080"
    """Where the gateway listens."""
    upstream: Annotated[tuple[UpstreamUrl, ...], Field(min_length=1), OneOrMore()] = ("http://127.0.0.1:8000",)
    """Where the application is: one address, or a list of equal ones; the least busy takes the next request."""
    engine: _Engine = "asgi"
    """What carries the traffic."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Number of processes. More than one needs a store that they share."""
    mode: Mode = Mode.ENFORCE
    """The most that any policy does."""
    shutdown_grace: Duration = 30.0
    """How long running exchanges may go on when the gateway is told to stop."""
    tls: TlsFiles | None = None
    """Certificate and key; unset: plain HTTP."""
    timeouts: Timeouts = Timeouts()
    """How long to wait for whom."""

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if self.tls and self.listen.startswith("unix:"):
            raise expectation(
                "expected host:port, because a unix socket carries no TLS; or no [gateway.tls]", at="listen"
            )
        if any(
            upstream in {self.listen, f"http://{self.listen}", f"https://{self.listen}"} for upstream in self.upstream
        ):
            raise expectation(
                "the gateway would forward to itself: expected the address of the application", at="upstream"
            )
        return self


class AdminSettings(Settings):
    """The listener for operators: `/metrics`, `/healthz`, `/readyz`. A mount has none."""

    listen: _AdminAddress = "127.0.0.1:9464"
    """Where it listens; `off`: nowhere."""


class AupSettings(Settings):
    """The Acceptable Use Policy that is enforced."""

    packs: tuple[_PackName, ...] = ("default",)
    """Packs of clauses that refusals cite: names of packs that come with aupgate, or files of your own."""
    name: str = ""
    """Name of the company, as refusals show it."""
    url: _WebUrl = ""
    """Where people read the policy."""
    contact: _Contact = ""
    """Where people who were refused can turn to."""
    effective: dict[str, date] = Field(default_factory=dict)
    """For packs without a date: the day from which the policy holds, by the name of the pack."""


class ClientSettings(Settings):
    """How the sender of a request is told when proxies stand in between."""

    trusted_proxies: tuple[Network, ...] | None = None
    """Networks of the proxies whose forwarding header is believed; an empty list: there are none, this is the edge.

    Unset: none is believed either, and where a private peer sends forwarding headers, rules that go by the client only
    observe.
    """
    source: _HeaderName = "x-forwarded-for"
    """The header that names the client: `x-forwarded-for`, `forwarded`, or one that holds one address (`x-real-ip`)."""
    ipv6_prefix: Annotated[int, Field(ge=16, le=128)] = 64
    """Length of the IPv6 prefix that counts as one client."""


class KeysSettings(Settings):
    """API keys that stand for accounts."""

    file: _FileName | None = None
    """TOML file with a `[[keys]]` table for each key: id, sha256, plan, parent. The sources `key:HEADER` need it."""


class AccountSettings(Settings):
    """Whom a request acts for."""

    sources: tuple[_AccountSource, ...] = ("scope:user",)
    """Where to look for the account; the first that yields one holds. Cookies and plain headers never verify it."""
    keys: KeysSettings = KeysSettings()
    """API keys that stand for accounts."""

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        reads_keys = any(source.startswith("key:") for source in self.sources)
        if reads_keys and self.keys.file is None:
            raise expectation('a source "key:HEADER" needs the keys: expected [account.keys] with a file', at="sources")
        if self.keys.file and not reads_keys:
            raise expectation('no source reads these keys: expected a source such as "key:x-api-key"', at="keys.file")
        return self


class StoreSettings(Settings):
    """Where meters are counted."""

    url: _StoreUrl = "memory://"
    """The store; `memory://` counts within one process."""
    max_keys: Annotated[int, Field(ge=1000)] = 200_000
    """Most counters held in memory; in a full store those that hold least back give way."""
    timeout: Duration = 0.05
    """Longest wait for the store's answer."""
    on_failure: Literal["local", "allow", "refuse"] = "local"
    """What happens when the store is away: count in this process, let pass, or refuse with 503."""


class SpoolSettings(Settings):
    """Where bodies wait for their verdict."""

    dir: _FileName | None = None
    """Directory for the files; unset: the system's directory for temporary files."""
    memory: Size = 64 * 2**10
    """The part of one body that is held in memory; what is beyond goes to a file."""
    budget: Size = 2 * 2**30
    """The most that all bodies together may take; beyond it bodies are refused with 503."""

    @model_validator(mode="after")
    def _memory_within_budget(self) -> Self:
        if self.memory > self.budget:
            raise expectation(f"expected no more than the budget of {_size_text(self.budget)}", at="memory")
        return self


class LogSettings(Settings):
    """What is written where, one JSON object a line."""

    audit: _LogTarget = "stderr"
    """Findings: `stderr`, `stdout`, `off`, or a file."""
    access: _LogTarget | None = None
    """Requests: as `audit`; unset: `stdout` in `aupgate serve`, `off` in a mount."""


class Config(Settings):
    """The whole configuration."""

    gateway: GatewaySettings = GatewaySettings()
    """The gateway itself. A mount in an application uses `mode` only."""
    admin: AdminSettings = AdminSettings()
    """The listener for operators."""
    aup: AupSettings = AupSettings()
    """The Acceptable Use Policy that is enforced."""
    client: ClientSettings = ClientSettings()
    """How the sender of a request is told."""
    account: AccountSettings = AccountSettings()
    """Whom a request acts for."""
    store: StoreSettings = StoreSettings()
    """Where meters are counted."""
    spool: SpoolSettings = SpoolSettings()
    """Where bodies wait for their verdict."""
    log: LogSettings = LogSettings()
    """What is written where."""
    policies: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """The tables of the policies, as written; each policy's own settings judge them."""

    @model_validator(mode="after")
    def _listeners_and_workers_fit(self) -> Self:
        listen = self.gateway.listen
        if listen == self.admin.listen and not listen.endswith(":0"):
            at = "admin.listen" if "listen" in self.admin.model_fields_set else "gateway.listen"
            raise expectation("expected different addresses for gateway.listen and admin.listen", at=at)
        if self.gateway.workers > 1 and self.store.url == "memory://":
            raise expectation(
                "several workers need a store that they share, and memory:// is one process's own: expected 1",
                at="gateway.workers",
            )
        return self


# --- schema: the same, for editors and for error messages

Policies = Mapping[str, type["PolicySettings"]]
"""The settings class of each policy, by the policy's name."""

_KINDS: Final = {
    "string": ("a string", "strings"),
    "integer": ("a whole number", "whole numbers"),
    "number": ("a number", "numbers"),
    "boolean": ("true or false", "booleans"),
    "array": ("a list", "lists"),
    "object": ("a table", "tables"),
}
_MAX_NESTING: Final = 16


class _TomlSchema(GenerateJsonSchema):
    """TOML has no null: what may be None may be left out. The defaults of a table stand with its keys."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        if described.get("default") is None or isinstance(described["default"], dict):
            described.pop("default", None)
        return described


def json_schema(policies: Policies) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a whole configuration file, for editors."""
    models: list[tuple[type[BaseModel], Literal["serialization"]]] = [(Config, "serialization")]
    models += [(model, "serialization") for model in policies.values()]
    references, shared = models_json_schema(models, schema_generator=_TomlSchema)
    definitions = shared["$defs"]
    root = definitions.pop(references[Config, "serialization"]["$ref"].rpartition("/")[2])
    tables = {name: references[model, "serialization"] for name, model in policies.items()}
    described = root["properties"]["policies"]["description"]
    root["properties"]["policies"] = {
        "type": "object",
        "description": described,
        "properties": tables,
        "additionalProperties": False,
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:aupgate:config"}
    return {**head, **root, "title": "aupgate configuration", "$defs": definitions}


class _Schema:
    """The schema as errors need it: what is expected at a path, and which keys there are."""

    def __init__(self, policies: Policies) -> None:
        self._root = json_schema(policies)

    def at(self, path: KeyPath) -> JsonSchemaValue | None:
        """Return the schema of the setting at `path`; None when there is no such setting."""
        node: JsonSchemaValue | None = self._root
        for part in path:
            node = next(filter(None, (self._below(branch, part) for branch in self._branches(node or {}))), None)
        return node

    def keys(self, path: KeyPath) -> list[str]:
        """Return the keys that the table at `path` may have."""
        return [key for branch in self._branches(self.at(path) or {}) for key in branch.get("properties", ())]

    def settings(self, path: KeyPath = ()) -> Iterator[KeyPath]:
        """Yield the path of every setting that an environment variable can name."""
        keys = self.keys(path) if len(path) < _MAX_NESTING else []
        for key in keys:
            yield from self.settings((*path, key))
        if path and not keys:
            yield path

    def expected(self, path: KeyPath) -> str:
        """Say what is expected at `path`; empty when the schema does not tell."""
        said = " or ".join(filter(None, map(self._said, self._branches(self.at(path) or {}))))
        return f"expected {said}" if said else ""

    def _branches(self, node: JsonSchemaValue) -> list[JsonSchemaValue]:
        if "$ref" in node:
            return self._branches(self._root["$defs"][node["$ref"].rpartition("/")[2]])
        choices = node.get("anyOf") or node.get("oneOf")
        return [branch for each in choices for branch in self._branches(each)] if choices else [node]

    def _below(self, node: JsonSchemaValue, part: str | int) -> JsonSchemaValue | None:
        if isinstance(part, int):
            return node.get("items")
        below = node.get("properties", {}).get(part) or node.get("additionalProperties")
        return below if isinstance(below, dict) else None

    def _said(self, node: JsonSchemaValue) -> str:
        choices = [node["const"]] if "const" in node else node.get("enum", [])
        if choices:
            return _one_of(choices)
        if node.get("type") == "array":
            return f"a list of {_range(node)}" + " or ".join(map(_of_many, self._branches(node.get("items", {}))))
        if node.get("format") == "date":
            return "a date, such as 2026-01-31"
        kind = _KINDS.get(node.get("type", ""), ("", ""))[0]
        return f"{kind}{_such_as(node) or _range(node)}"


def _one_of(choices: Sequence[Any]) -> str:
    written = ", ".join(f'"{choice}"' for choice in choices)
    return f"one of {written}" if len(choices) > 1 else written


def _of_many(node: JsonSchemaValue) -> str:
    if "enum" in node:
        return _one_of(node["enum"])
    examples = f", such as {json.dumps(node['examples'][:2])}" if "examples" in node else ""
    return _KINDS.get(node.get("type", ""), ("", "values"))[1] + examples


def _range(node: JsonSchemaValue) -> str:
    if "minimum" in node and "maximum" in node:
        return f" from {node['minimum']} to {node['maximum']}"
    words = {
        "minimum": " of at least {}", "maximum": " of at most {}", "exclusiveMinimum": " above {}",
        "exclusiveMaximum": " below {}", "minLength": " of {} or more characters",
        "maxLength": " of up to {} characters", "pattern": " that matches {}", "minItems": "{} or more ",
        "maxItems": "up to {} ",
    }  # fmt: skip
    return "".join(phrase.format(node[key]) for key, phrase in words.items() if key in node)


def _such_as(node: JsonSchemaValue) -> str:
    return f", such as {json.dumps(node['examples'][0])}" if node.get("examples") else ""


# --- loading

PREFIX: Final = "AUPGATE_"
"""Environment variables that begin so override settings: `AUPGATE_STORE__URL` is `store.url`."""

RESERVED: Final = frozenset({"AUPGATE_CONFIG", "AUPGATE_REQUIRE_SERVICES"})
"""Environment variables that begin with the prefix and are no settings."""

_MAX_FILE: Final = 2**20
_MAX_SHOWN: Final = 60
_ROUNDS: Final = 4
"""Validation is repeated without what was wrong: pydantic judges a table as a whole only once its keys are right."""

_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s\"]*(?=@)")

Raw = dict[str, Any]


class _Mistake(NamedTuple):
    path: KeyPath
    kind: str
    text: str
    """What the validator said."""
    judged: KeyPath = ()
    """What the validator judged; `path` may name one key of it."""

    def expectation(self, schema: _Schema) -> str:
        """Say what would be accepted."""
        if self.kind == "extra_forbidden":
            return _unknown(self.path, schema.keys(self.path[:-1]))
        if self.kind in {"expectation", "value_error", "assertion_error"}:
            return self.text
        expected = schema.expected(self.path) or self.text
        return f"missing, {expected}" if self.kind == "missing" else expected


def _unknown(path: KeyPath, known: Sequence[str]) -> str:
    noun = "policy" if path[:-1] == ("policies",) else "key"
    nearest = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.6)
    if nearest:
        return f"unknown {noun}, did you mean `{nearest[0]}`?"
    return f"unknown {noun}, expected one of " + ", ".join(f"`{key}`" for key in known)


@dataclass(frozen=True)
class Loaded:
    """A configuration that holds together."""

    config: Config
    policies: Mapping[str, PolicySettings]
    """Settings of every policy, whether or not the file mentions it."""
    base: Path
    """Directory that relative file names start from."""
    _document: "_Document"

    def problem(self, path: Sequence[str | int], expected: str) -> Problem:
        """Return a problem with the setting at `path`, such as `("aup", "packs", 0)`, for what later stages find."""
        return self._document.problem(tuple(path), expected)


def load(
    config: Path | Mapping[str, Any] | None,
    *,
    policies: Policies,
    environ: Mapping[str, str],
    overrides: Mapping[str, str] | None = None,
) -> Loaded:
    """Load a file, a mapping of the same shape, or the defaults (None).

    `policies` has the settings class of each policy. `environ` overrides the file, and `overrides` (dotted key to text,
    as the command line gives them) override both. Raises `ConfigError` with every problem found, in file order.
    """
    document = _Document.of(config)
    given = [*_variables(environ), *_options(overrides or {})]
    problems = document.override(given, policies) if given else []
    root, settings, mistakes = _judge_all(document.raw, policies)
    if mistakes:
        schema = _Schema(policies)
        problems += [document.problem(mistake.path, mistake.expectation(schema)) for mistake in mistakes]
    if problems or root is None:
        raise ConfigError(sorted(problems, key=lambda problem: (problem.line is None, problem.line or 0)))
    return Loaded(root, settings, document.base, document)


class _Override(NamedTuple):
    source: str
    path: KeyPath
    text: str

    def refusal(self, schema: _Schema, other: str | None) -> Problem | None:
        """Return the problem with the name or the bytes of this override, if there is one; `other` came before it."""
        if schema.at(self.path) is None:
            names = {path: self.source_of(path) for path in schema.settings()}
            nearest = difflib.get_close_matches(self.source_of(self.path), names.values(), n=3, cutoff=0.6)
            return Problem(self.source, None, "", "", _suggested("names no setting", nearest))
        if any("\ud800" <= character <= "\udfff" for character in self.text):
            return Problem(self.source, None, dotted(self.path), "", "expected text in UTF-8")
        if other and self.source != _COMMAND_LINE:
            return Problem(self.source, None, dotted(self.path), "", f"expected one variable, {other} names it too")
        return None

    def source_of(self, path: KeyPath) -> str:
        """Return how an override of this kind names the setting at `path`."""
        return dotted(path) if self.source == _COMMAND_LINE else PREFIX + "__".join(map(str, path)).upper()


_COMMAND_LINE: Final = "command line"


def _suggested(text: str, names: Sequence[str]) -> str:
    return f"{text}, nearest: " + ", ".join(f"`{name}`" for name in names) if names else text


def _variables(environ: Mapping[str, str]) -> list[_Override]:
    return [
        _Override(name, tuple(name[len(PREFIX) :].lower().split("__")), text)
        for name, text in sorted(environ.items())
        if name.upper().startswith(PREFIX) and name.upper() not in RESERVED
    ]


def _options(overrides: Mapping[str, str]) -> list[_Override]:
    return [_Override(_COMMAND_LINE, tuple(key.split(".")), text) for key, text in overrides.items()]


def _readings(text: str) -> Iterator[Any]:
    """Yield what the text of an override may stand for: itself, else a value as TOML or as JSON writes it."""
    yield text
    try:
        yield tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        try:
            yield json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            return


class _Document:
    """What was written, and where: the raw tables with the lines and the variables their values come from."""

    def __init__(self, raw: Raw, source: str, base: Path, lines: Mapping[KeyPath, int]) -> None:
        self.raw = raw
        self.base = base
        self._source = source
        self._lines = lines
        self._overridden: dict[KeyPath, str] = {}

    @classmethod
    def of(cls, config: Path | Mapping[str, Any] | None) -> Self:
        """Read `config`."""
        if not isinstance(config, Path):
            return cls(_plain(config or {}), _MAPPING, Path.cwd(), {})
        text = _text(config)
        raw = _parsed(text, str(config))
        lines = key_lines(text)
        _check_nesting(lines, str(config))
        return cls(raw, str(config), config.absolute().parent, lines)

    def problem(self, path: KeyPath, expected: str) -> Problem:
        """Say what is wrong at `path`, with the value written there."""
        source = next(
            (self._overridden[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self._overridden), None
        )
        line = None if source else line_of(self._lines, path)
        return Problem(source or self._source, line, dotted(path), _shown(_found(self.raw, path)), expected)

    def override(self, overrides: Sequence[_Override], policies: Policies) -> list[Problem]:
        """Put each override in its place; return what is wrong with those that have none."""
        schema = _Schema(policies)
        problems = []
        for each in overrides:
            problem = each.refusal(schema, self._overridden.get(each.path))
            if problem:
                problems.append(problem)
            else:
                self._overridden[each.path] = each.source
                self.raw = _best(self.raw, each, policies)
        return problems


_MAPPING: Final = "<mapping>"


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise _broken(str(path), None, f"cannot be read: {error.strerror}") from None
    if len(content) > _MAX_FILE:
        raise _broken(str(path), None, f"expected no more than {_size_text(_MAX_FILE)}")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise _broken(str(path), content.count(b"\n", 0, error.start) + 1, "expected text in UTF-8") from None


def _parsed(text: str, source: str) -> Raw:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        line = int(at[1] or text.count("\n") + 1) if at else None
        message = str(error)[: at.start() if at else None]
        raise _broken(source, line, f"not TOML: {message[:1].lower()}{message[1:]}") from None
    except RecursionError:
        raise _broken(source, None, "nested too deeply") from None


def _check_nesting(lines: Mapping[KeyPath, int], source: str) -> None:
    deepest = max(lines, key=len, default=())
    if len(deepest) > _MAX_NESTING:
        raise _broken(source, lines[deepest], f"nested too deeply: expected no more than {_MAX_NESTING} levels")


def _plain(config: Mapping[str, Any]) -> Raw:
    """Return `config` in the plain types that TOML has."""
    try:
        text = json.dumps(config, default=_plain_value, ensure_ascii=False)
        text.encode()
        return cast("Raw", json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise _broken(_MAPPING, None, f"expected what TOML can hold: {error}") from None


def _plain_value(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, set | frozenset) else str(value)


def _broken(source: str, line: int | None, expected: str) -> ConfigError:
    return ConfigError([Problem(source, line, "", "", expected)])


def _judge_all(raw: Raw, policies: Policies) -> tuple[Config | None, dict[str, PolicySettings], list[_Mistake]]:
    """Validate everything; return the settings and every mistake."""
    root, settings, mistakes = _judge_once(raw, policies)
    found: list[_Mistake] = []
    gone: set[KeyPath] = set()
    for _ in range(_ROUNDS):
        # A judgement may come again and name another key, because the one it named before now has its default.
        said = {(mistake.judged, mistake.text) for mistake in found}
        news = [mistake for mistake in mistakes if (mistake.judged, mistake.text) not in said]
        fresh = _distinct([mistake for mistake in news if not _touches(mistake.path, gone)])
        if not fresh:
            break
        found += fresh
        raw = _without(raw, fresh, gone)
        _, _, mistakes = _judge_once(raw, policies)
    return root, settings, found


def _judge_once(raw: Raw, policies: Policies) -> tuple[Config | None, dict[str, PolicySettings], list[_Mistake]]:
    root, mistakes = _judge(Config, raw, ())
    written = raw.get("policies", {})
    tables = written if isinstance(written, dict) else {}
    mistakes += [_Mistake(("policies", name), "extra_forbidden", "") for name in tables if name not in policies]
    settings: dict[str, PolicySettings] = {}
    for name, model in policies.items():
        table = tables.get(name, {})
        judged, more = _judge(model, table if isinstance(table, dict) else {}, ("policies", name))
        mistakes += more
        if judged:
            settings[name] = judged
    return root, settings, mistakes


_Model = TypeVar("_Model", bound=Settings)


def _judge(model: type[_Model], table: Raw, prefix: KeyPath) -> tuple[_Model | None, list[_Mistake]]:
    # As JSON, for strictness then means the same as in TOML: a list makes a tuple, a string an enum, never a number.
    try:
        return model.model_validate_json(json.dumps(table, default=str), strict=True), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return None, [_mistake(detail, table, prefix) for detail in details]


def _mistake(detail: ErrorDetails, table: Raw, prefix: KeyPath) -> _Mistake:
    context = detail.get("ctx", {})
    judged = path = prefix + _written(table, detail["loc"])
    if detail["type"] == "missing":
        path = (*path, detail["loc"][-1])
    if context.get("at"):
        path = (*path, *context["at"].split("."))
    return _Mistake(path, detail["type"], str(context.get("error", detail["msg"])), judged)


def _written(node: Any, path: Sequence[str | int]) -> KeyPath:
    """Return the parts of `path` that lead through what is written; pydantic adds tags for the branches of unions."""
    parts: list[str | int] = []
    for part in path:
        below = _found(node, (part,))
        if below is not _ABSENT:
            parts.append(part)
            node = below
    return tuple(parts)


_ABSENT: Final = object()


def _found(node: Any, path: KeyPath) -> Any:
    for part in path:
        keyed = isinstance(node, dict) and part in node
        indexed = isinstance(node, list) and isinstance(part, int) and part < len(node)
        if not (keyed or indexed):
            return _ABSENT
        node = node[part]
    return node


def _shown(value: object) -> str:
    """Return `value` as TOML writes it, shortened and without credentials; nothing for tables and what is not there."""
    if value is _ABSENT or isinstance(value, dict) or (isinstance(value, list) and dict in map(type, value)):
        return ""
    text = str(value) if isinstance(value, date | time) else json.dumps(value, ensure_ascii=False, default=str)
    text = _CREDENTIALS.sub("***", text if text.isprintable() else _escaped(text))
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def _escaped(text: str) -> str:
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)


def _best(raw: Raw, override: _Override, policies: Policies) -> Raw:
    """Return `raw` with the first reading of the override that is accepted; if none is, with the one that says most."""
    tries = [_with(raw, override.path, value) for value in _readings(override.text)]
    for tables in tries:
        mistakes = _judge_all(tables, policies)[2]
        if not any(mistake.path[: len(override.path)] == override.path for mistake in mistakes):
            return tables
    return tries[-1] if isinstance(_found(tries[-1], override.path), list | dict) else tries[0]


def _with(raw: Raw, path: KeyPath, value: object) -> Raw:
    """Return a copy of `raw` with `value` at `path`; unchanged where something else than a table is in the way."""
    tables = deepcopy(raw)
    node: Any = tables
    for part in path[:-1]:
        node = node.setdefault(part, {}) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node[path[-1]] = value
    return tables


def _distinct(mistakes: Sequence[_Mistake]) -> list[_Mistake]:
    """Keep one mistake a path, the best explained, and none about a list or table of which an element is wrong."""
    best: dict[KeyPath, _Mistake] = {}
    for mistake in mistakes:
        if mistake.path not in best or mistake.kind == "expectation":
            best[mistake.path] = mistake
    outer = {path[:end] for path in best for end in range(len(path))}
    return [mistake for path, mistake in best.items() if path not in outer]


def _touches(path: KeyPath, others: AbstractSet[KeyPath]) -> bool:
    return any(path[: len(other)] == other[: len(path)] for other in others)


def _without(raw: Raw, mistakes: Sequence[_Mistake], gone: set[KeyPath]) -> Raw:
    """Return a copy of `raw` without the keys that are wrong, and add them to `gone`."""
    tables = deepcopy(raw)
    for mistake in mistakes:
        if not _touches(mistake.path, gone):
            key = _deepest_key(tables, mistake.path)
            gone.add(key or mistake.path)
            if key:
                del _found(tables, key[:-1])[key[-1]]
    return tables


def _deepest_key(raw: Raw, path: KeyPath) -> KeyPath:
    """Return the longest part of `path` that is written and ends in a key of a table."""
    written = _written(raw, path)
    while written and isinstance(written[-1], int):
        written = written[:-1]
    return written
