"""The tables of a configuration: which settings there are, what they mean and what they are by default."""

from datetime import date
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aupgate.config.notation import OneOrMore, expectation
from aupgate.config.quantities import Duration, Percent, Size, size_text
from aupgate.config.values import (
    AccountSource,
    AdminAddress,
    Contact,
    EngineName,
    FileName,
    HeaderName,
    HostName,
    ListenAddress,
    LogTarget,
    Network,
    PackName,
    PathTemplate,
    StoreUrl,
    UpstreamUrl,
    WebUrl,
)
from aupgate.model import Mode, OnError


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
    """Longest pause between two pieces of a request's body."""
    connect: Duration = 5.0
    """Longest time for a connection to the upstream to be made."""
    response: Duration = 60.0
    """Longest wait for the head of the upstream's response."""
    pause: Duration = 300.0
    """Longest time for which the upstream sends nothing of a response's body, or takes nothing of a request's."""
    idle: Duration = 60.0
    """How long a connection stays open without a request, to a client and to the upstream."""


class GatewaySettings(Settings):
    """The gateway itself. A mount in an application uses `mode` only."""

    listen: ListenAddress = "127.0.0.1:8080"
    """Where the gateway listens."""
    upstream: Annotated[tuple[UpstreamUrl, ...], Field(min_length=1), OneOrMore()] = ("http://127.0.0.1:8000",)
    """Where the application is: one address, or a list of equal ones; the least busy takes the next request."""
    engine: EngineName = "asgi"
    """What carries the traffic."""
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


class AccountSettings(Settings):
    """Whom a request acts for."""

    sources: tuple[AccountSource, ...] = ("scope:user",)
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

    url: StoreUrl = "memory://"
    """The store; `memory://` counts within one process."""
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
    def _workers_share_a_store(self) -> Self:
        if self.gateway.workers > 1 and self.store.url == "memory://":
            raise expectation(
                "several workers need a store that they share, and memory:// is one process's own: expected 1",
                at="gateway.workers",
            )
        return self
