"""The tables of a configuration: which settings there are, what they mean and what they are by default."""

from datetime import date
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aupgate.config.notation import OneOrMore, expectation
from aupgate.config.quantities import Duration, Percent, Size, size_text
from aupgate.config.values import (
    AccountSource,
    AdminAddress,
    ClaimName,
    Contact,
    CookieName,
    EngineName,
    FileName,
    ForwardingStyle,
    HeaderName,
    HostName,
    KeySetLocation,
    ListenAddress,
    LogTarget,
    Network,
    PackName,
    PathTemplate,
    SignatureAlgorithm,
    StoreUrl,
    UpstreamUrl,
    WebUrl,
)
from aupgate.meters import OnFailure
from aupgate.model import Mode, OnError


class Settings(BaseModel):
    """Base of every table: unknown keys are errors, values never change, and each setting's docstring describes it."""

    # Deferred, because a table within another is built with it, and need not be built for itself at import.
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True)


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

    cert: FileName = Field(examples=["tls/cert.pem"])
    """PEM file with the certificate and its chain."""
    key: FileName = Field(examples=["tls/key.pem"])
    """PEM file with the private key."""


class UpstreamTlsSettings(Settings):
    """How upstreams are spoken to whose URL begins with `https`. Their certificates are verified unless told not to."""

    ca_file: FileName | None = None
    """PEM file with the authorities to believe, instead of the system's."""
    server_name: HostName | None = None
    """Name to ask for (SNI) and to find in the certificate; unset: the host of the URL."""
    verify: bool = True
    """`false` takes any certificate: then who is on the way can read and change everything."""
    cert: FileName | None = Field(default=None, examples=["tls/client.pem"])
    """PEM file with the certificate to show to an upstream that asks for one, and its chain."""
    key: FileName | None = Field(default=None, examples=["tls/client-key.pem"])
    """PEM file with the private key of `cert`."""

    @model_validator(mode="after")
    def _certificate_has_a_key(self) -> Self:
        if (self.cert is None) != (self.key is None):
            written, absent = ("key", "cert") if self.cert is None else ("cert", "key")
            raise expectation(f"a certificate goes with its key: expected `{absent}` as well", at=written)
        return self


class Timeouts(Settings):
    """How long to wait for whom."""

    header: Duration = 10.0
    """Longest time a client may take to send the head of a request."""
    body: Duration = 30.0
    """Longest pause between two pieces of a request's body; its pace is averaged over as long."""
    write: Duration = 30.0
    """How long the pace is averaged over at which a client takes a response."""
    connect: Duration = 5.0
    """Longest time for a connection to the upstream to be made."""
    response: Duration = 60.0
    """Longest wait for the head of the upstream's response."""
    pause: Duration = 300.0
    """Longest time for which the upstream sends nothing of a response's body, or takes nothing of a request's."""
    idle: Duration = 60.0
    """How long a connection stays open without a request, to a client and to the upstream."""


class ConnectionSettings(Settings):
    """How many connections clients may have, and how slow they may be."""

    total: Annotated[int, Field(ge=1, le=1_000_000)] = 8192
    """Most connections of clients; one more is answered with 503."""
    per_client: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    """Most connections of one IPv4 address or IPv6 network; one more is answered with 429.

    Trusted proxies and unix sockets are not counted by client; while `client.trusted_proxies` is unset, nor are private
    addresses, for each might be a proxy.
    """
    min_rate: Annotated[Size, Field(ge=1)] = 100
    """Bytes a second that a client must send of a body, else 408, and take of a response, else it is cut off."""


class GatewaySettings(Settings):
    """The gateway itself. A mount in an application uses `mode` only."""

    listen: ListenAddress = "127.0.0.1:8080"
    """Where the gateway listens."""
    upstream: Annotated[tuple[UpstreamUrl, ...], Field(min_length=1), OneOrMore()] = ("http://127.0.0.1:8000",)
    """Where the application is: one address, or a list of equal ones; the least busy takes the next request."""
    engine: EngineName = "asgi"
    """What carries the traffic."""
    forwarding: ForwardingStyle = "x-forwarded"
    """How the application is told of the client: `X-Forwarded-*` with `X-Real-IP`, `Forwarded` (RFC 7239), or both."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Number of processes. More than one needs a store that they share."""
    mode: Mode = Mode.ENFORCE
    """The most that any policy does."""
    shutdown_grace: Duration = 30.0
    """How long running exchanges may go on when the gateway is told to stop."""
    tls: TlsFiles | None = None
    """Certificate and key; unset: plain HTTP."""
    upstream_tls: UpstreamTlsSettings = UpstreamTlsSettings()
    """How upstreams are spoken to whose URL begins with `https`."""
    timeouts: Timeouts = Timeouts()
    """How long to wait for whom."""
    connections: ConnectionSettings = ConnectionSettings()
    """How many connections clients may have, and how slow they may be."""
    proxy_protocol: bool = False
    """Each connection begins with the PROXY protocol, version 1 or 2; only trusted proxies may connect then."""

    @model_validator(mode="after")
    def _tls_has_a_port(self) -> Self:
        if self.tls and self.listen.startswith("unix:"):
            raise expectation(
                "expected host:port, because a unix socket carries no TLS; or no [gateway.tls]", at="listen"
            )
        return self

    @model_validator(mode="after")
    def _forwards_to_another(self) -> Self:
        own = {self.listen, f"http://{self.listen}", f"https://{self.listen}"}
        if not own.isdisjoint(self.upstream):
            raise expectation(
                "the gateway would forward to itself: expected the address of the application", at="upstream"
            )
        return self


class AdminSettings(Settings):
    """The listener for operators: `/metrics`, `/healthz`, `/readyz`. A mount has none."""

    listen: AdminAddress = "127.0.0.1:9464"
    """Where it listens; `off`: nowhere."""


class AupSettings(Settings):
    """The Acceptable Use Policy that is enforced."""

    packs: tuple[PackName, ...] = ("default",)
    """Packs of clauses that refusals cite: names of packs that come with aupgate, or files of your own."""
    name: str = ""
    """Name of the company, as refusals show it."""
    url: WebUrl = ""
    """Where people read the policy."""
    contact: Contact = ""
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
    source: HeaderName = "x-forwarded-for"
    """The header that names the client: `x-forwarded-for`, `forwarded`, or one that holds one address (`x-real-ip`)."""
    ipv6_prefix: Annotated[int, Field(ge=16, le=128)] = 64
    """Length of the IPv6 prefix that counts as one client."""


class KeysSettings(Settings):
    """API keys that stand for accounts."""

    file: FileName | None = None
    """TOML file with a `[[keys]]` table for each key: id, sha256, plan, parent. The sources `key:HEADER` need it."""


class JwtSettings(Settings):
    """Signed tokens (JWT) that name accounts. Each must say when it expires."""

    algorithms: Annotated[tuple[SignatureAlgorithm, ...], OneOrMore()] = Field(default=(), examples=[["RS256"]])
    """Signatures that are accepted. The sources `jwt:CLAIM` need it."""
    jwks: KeySetLocation | None = None
    """Keys of the issuer, a JSON Web Key Set: a file or an https URL. The sources `jwt:CLAIM` need it."""
    ca_file: FileName | None = None
    """PEM file with the authorities to believe when the keys are fetched, instead of the system's."""
    refresh: Duration = 600.0
    """How often the keys are fetched. Besides, they are when a token names an unknown one; a file is watched."""
    issuer: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], OneOrMore()] = ()
    """Issuers that are accepted (`iss`); empty: any that signs with these keys."""
    audience: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], OneOrMore()] = ()
    """For whom tokens may be (`aud`), at least one of these; empty: only tokens that do not say so are accepted."""
    leeway: Duration = 30.0
    """How far clocks may differ."""
    header: HeaderName = "authorization"
    """The header that holds the token, after `Bearer`; any other than `authorization` also without."""
    cookie: CookieName | None = None
    """The cookie that holds the token, instead of a header."""
    max_size: Annotated[Size, Field(ge=64, le=65536)] = 8 * 2**10
    """Longest token; a longer one names nobody."""
    plan_claim: ClaimName | None = None
    """The claim that names the account's plan."""
    parent_claim: ClaimName | None = None
    """The claim that names the account that answers for this one."""
    claims: Annotated[tuple[ClaimName, ...], Field(max_length=16)] = ()
    """Further claims to keep, where they are strings, numbers or booleans."""

    @model_validator(mode="after")
    def _within_reason(self) -> Self:
        if not 30 <= self.refresh <= 86_400:
            raise expectation('expected from "30s" to "1d"', at="refresh")
        if self.leeway > 300:
            raise expectation('expected at most "5m": a token would hold that much longer than it says', at="leeway")
        if self.cookie and self.header != "authorization":
            raise expectation("the token is in a header or in a cookie: expected one of the two", at="cookie")
        return self

    @model_validator(mode="after")
    def _fetches_no_secrets(self) -> Self:
        fetches = (self.jwks or "").startswith(("http:", "https:"))
        if fetches and any(algorithm.startswith("HS") for algorithm in self.algorithms):
            raise expectation("HS256 and its kin need a secret: expected a file as `jwks`", at="algorithms")
        return self


class AccountSettings(Settings):
    """Whom a request acts for."""

    sources: tuple[AccountSource, ...] = ("scope:user",)
    """Where to look for the account; the first that yields one holds. Cookies and plain headers never verify it."""
    jwt: JwtSettings = JwtSettings()
    """Signed tokens (JWT) that name accounts."""
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

    @model_validator(mode="after")
    def _tokens_fit(self) -> Self:
        reads_tokens = any(source.startswith("jwt:") for source in self.sources)
        if reads_tokens and not (self.jwt.jwks and self.jwt.algorithms):
            needed = 'expected [account.jwt] with jwks (a file or an https URL) and algorithms, such as ["RS256"]'
            absent = "jwt.algorithms" if self.jwt.jwks else "jwt.jwks"
            raise expectation(f'a source "jwt:CLAIM" verifies tokens: {needed}', at=absent)
        if self.jwt.jwks and not reads_tokens:
            raise expectation('no source reads tokens: expected a source such as "jwt:sub"', at="jwt.jwks")
        return self


class StoreSettings(Settings):
    """Where meters are counted."""

    url: StoreUrl = "memory://"
    """The store: `memory://` counts within one process, the URL of a Redis across all that share it."""
    url_file: FileName | None = Field(default=None, examples=["secrets/store-url"])
    """File that holds the URL in the place of `url`, for one with a password."""
    timeout: Duration = 0.05
    """Longest wait for Redis to count a request."""
    on_failure: OnFailure = OnFailure.LOCAL
    """What becomes of limits while Redis is away: counted in this process, not counted, or requests refused with 503.

    Limits may say otherwise for themselves.
    """
    max_keys: Annotated[int, Field(ge=1000)] = 200_000
    """Most counters held in memory; in a full store those that hold least back give way first."""


class SpoolSettings(Settings):
    """Where bodies wait for their verdict."""

    dir: FileName | None = None
    """Directory for the files; unset: the system's directory for temporary files."""
    memory: Size = 64 * 2**10
    """The part of one body that is held in memory; what is beyond goes to a file."""
    budget: Size = 2 * 2**30
    """The most that all bodies together may take; beyond it bodies are refused with 503."""

    @model_validator(mode="after")
    def _memory_within_budget(self) -> Self:
        if self.memory > self.budget:
            raise expectation(f"expected no more than the budget of {size_text(self.budget)}", at="memory")
        return self


class LogSettings(Settings):
    """What is written where, one JSON object a line."""

    audit: LogTarget = "stderr"
    """Findings: `stderr`, `stdout`, `off`, or a file."""
    access: LogTarget | None = None
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
    def _listeners_differ(self) -> Self:
        listen = self.gateway.listen
        if listen == self.admin.listen and not listen.endswith(":0"):
            at = "admin.listen" if "listen" in self.admin.model_fields_set else "gateway.listen"
            raise expectation("expected different addresses for gateway.listen and admin.listen", at=at)
        return self

    @model_validator(mode="after")
    def _preambles_come_from_proxies(self) -> Self:
        if self.gateway.proxy_protocol and not self.client.trusted_proxies:
            raise expectation(
                "only proxies that are trusted may say by the PROXY protocol whom they connect for: expected "
                "client.trusted_proxies to name them",
                at="gateway.proxy_protocol",
            )
        return self

    @model_validator(mode="after")
    def _workers_share_a_store(self) -> Self:
        if self.gateway.workers > 1:
            instead = (
                "several workers need a store that they share, and memory:// is one process's own"
                if self.store.url == "memory://" and self.store.url_file is None
                else "several workers are not part of this version, start several gateways that share the store"
            )
            raise expectation(f"{instead}: expected 1", at="gateway.workers")
        return self
