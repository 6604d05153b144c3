"""The composition root: it reads a configuration and builds the gateway.

Only here are concrete classes named, as strings: a policy that is off is not imported, so that an application that
scans no uploads imports no scanner.
"""

import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final, cast

from aupgate.audit import AccessLog, AuditLog, LineWriter, open_writer
from aupgate.config import Config, Exemption, Loaded, PolicySettings, load
from aupgate.driver import judge, judge_body
from aupgate.enforcement import Enforcement, Exempts, Switch
from aupgate.engine import Engine, Exchange
from aupgate.errors import ServiceError
from aupgate.identity import AccountResolver, ClientResolver, load_keys, parse_address
from aupgate.inspection.spool import SpoolFactory
from aupgate.metrics import Metrics
from aupgate.model import Message, Mode, OnError, Outcome, Request, Verdict
from aupgate.packs import ClauseIndex
from aupgate.packs import load as load_packs
from aupgate.policy import Body, Fetcher, FileInspector, FindingSink, Policy, Prepares
from aupgate.refusal import Aup, Refusals, Renderer
from aupgate.routes import RouteTable
from aupgate.store.memory import MemoryStore

REGISTRY: Final[Mapping[str, str]] = {
    "protocol": "aupgate.policies.protocol:Protocol",
    "headers": "aupgate.policies.headers:Headers",
    "interfaces": "aupgate.policies.interfaces:Interfaces",
    "scrapers": "aupgate.policies.scrapers:Scrapers",
    "rate_limits": "aupgate.policies.rate_limits:RateLimits",
    "uploads": "aupgate.policies.uploads:Uploads",
}
"""Every policy, in the order the engine asks them."""

ENFORCED: Final = frozenset({"protocol", "headers", "uploads"})
"""Policies that are enforced without configuration: they need no knowledge of the app. All others observe."""

REFUSE_ON_ERROR: Final = frozenset({"protocol", "headers", "uploads"})
"""Policies whose failure refuses the request without configuration; a failure of the others is counted and let pass."""

FILES: Final = "aupgate.inspection.pipeline:build"

_log = logging.getLogger("aupgate")


def default_mode(policy: str) -> Mode:
    """Return the mode of a policy that the configuration does not mention."""
    return Mode.ENFORCE if policy in ENFORCED else Mode.OBSERVE


def resolve(reference: str) -> Any:
    """Return what `"module:name"` refers to, importing the module."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def settings_classes() -> dict[str, type[PolicySettings]]:
    """Return the settings class of every policy; each policy's module is imported, and what it needs is not."""
    return {name: resolve(f"{reference.partition(':')[0]}:Settings") for name, reference in REGISTRY.items()}


def read(
    config: Path | Mapping[str, Any] | None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Loaded:
    """Read a configuration: a file, a mapping of the same shape, or None for the defaults.

    `environ` (the process's unless given) may override settings, `overrides` are the command line's. Raises
    `ConfigError` with every problem found.
    """
    environ = os.environ if environ is None else environ
    return load(config, policies=settings_classes(), environ=environ, overrides=overrides or {})


@dataclass(slots=True)
class BuiltServices:
    """The services that enabled policies may use."""

    files: FileInspector
    documents: Fetcher


class _Unavailable:
    """Stands where no enabled policy needs a service; using it is a fault of the policy that does."""

    async def examine(self, body: Body, content_type: bytes | None, name: str) -> Any:  # noqa: ARG002 - the Protocol
        raise ServiceError("no enabled policy asked for file inspection")

    async def fetch(self, location: str) -> bytes:
        raise ServiceError(f"{location!r} cannot be read before an adapter has given the gateway a fetcher")


@dataclass(slots=True)
class Gateway:
    """The engine with everything around it that an adapter needs."""

    loaded: Loaded
    engine: Engine
    store: MemoryStore
    clients: ClientResolver
    accounts: AccountResolver
    refusals: Renderer
    metrics: Metrics
    spools: SpoolFactory
    services: BuiltServices
    switch: Switch
    access: AccessLog | None
    writers: Sequence[LineWriter]

    @property
    def config(self) -> Config:
        """The configuration it was built from."""
        return self.loaded.config

    def open(self, request: Request) -> tuple[Exchange, Verdict]:
        """Judge the head of `request`, without an await."""
        self.metrics.begin(request)
        exchange = self.engine.open(request)
        return exchange, judge(exchange.head(), self.store, request.now)

    async def judge_body(self, exchange: Exchange, body: Body) -> Verdict:
        """Judge the whole body of an exchange."""
        return await judge_body(exchange.body(body, self.services), self.store, time.time())

    def close(self, exchange: Exchange, outcome: Outcome) -> None:
        """Settle an exchange that ended."""
        posts = exchange.end(outcome)
        if posts:
            # A refund belongs to the window of its charge, so the time of the request counts.
            self.store.post(posts, exchange.request.now)
        self.metrics.end(outcome)
        if self.access is not None:
            self.access.record(exchange.request, outcome)

    def judge_message(self, exchange: Exchange, message: Message) -> Verdict:
        """Judge one websocket message of an exchange."""
        return judge(exchange.on_message(message), self.store, time.time())

    def observe(self, *, on: bool) -> None:
        """Drop every policy to observe at once, or let the configured modes hold again."""
        self.switch.observe = on
        self.metrics.observing(on=on)
        _log.warning("every policy observes only, by the runtime switch" if on else "the configured modes hold again")

    def preparing(self) -> list[Prepares]:
        """Return the policies that must load something before they can judge."""
        return [each.policy for each in self.engine.enforcements if isinstance(each.policy, Prepares)]

    def flush(self) -> None:
        """Write out the logs."""
        for writer in self.writers:
            writer.flush()


def build(loaded: Loaded, *, access: str = "off") -> Gateway:
    """Build the gateway from a configuration. `access` is where access lines go when the configuration does not say.

    Raises `ConfigError` when a file that the configuration names cannot be used.
    """
    config, base = loaded.config, loaded.base
    switch, metrics = Switch(), Metrics()
    audit = open_writer(config.log.audit, base)
    access_writer = open_writer(config.log.access or access, base)
    sinks: list[FindingSink] = [metrics] if audit is None else [metrics, AuditLog(audit)]
    clauses = ClauseIndex(load_packs(config.aup.packs, base, effective=config.aup.effective))
    unavailable = _Unavailable()
    warn_of_shared_memory()
    return Gateway(
        loaded=loaded,
        engine=Engine(enforcements(loaded, switch), clauses, sinks),
        store=MemoryStore(config.store.max_keys),
        clients=ClientResolver(
            _texts(config.client.trusted_proxies), source=config.client.source, ipv6_prefix=config.client.ipv6_prefix
        ),
        accounts=AccountResolver.configured(
            config.account.sources, load_keys(base / config.account.keys.file) if config.account.keys.file else {}
        ),
        refusals=Refusals(Aup(config.aup.name, config.aup.url, config.aup.contact)),
        metrics=metrics,
        spools=SpoolFactory(config.spool.dir and base / config.spool.dir, config.spool.memory, config.spool.budget),
        services=BuiltServices(_files(loaded) or unavailable, unavailable),
        switch=switch,
        access=None if access_writer is None else AccessLog(access_writer),
        writers=[writer for writer in (audit, access_writer) if writer is not None],
    )


def enforcements(loaded: Loaded, switch: Switch | None = None) -> list[Enforcement]:
    """Build every policy that is not off, in the registry's order."""
    return [
        _enforcement(name, loaded.policies[name], ceiling, switch or Switch())
        for name in REGISTRY
        if (ceiling := mode_of(loaded, name)) is not Mode.OFF
    ]


def mode_of(loaded: Loaded, policy: str) -> Mode:
    """Return the mode a policy runs in: the weaker of its own and the gateway's."""
    return Mode.weakest(loaded.policies[policy].mode or default_mode(policy), loaded.config.gateway.mode)


def _enforcement(name: str, settings: PolicySettings, ceiling: Mode, switch: Switch) -> Enforcement:
    make = cast("Callable[[PolicySettings], Policy]", resolve(REGISTRY[name]))
    return Enforcement(
        make(settings),
        ceiling=ceiling,
        rules=settings.rules,
        share=settings.share,
        exempt=[exempts(exemption) for exemption in settings.exempt],
        on_error=settings.on_error or (OnError.REFUSE if name in REFUSE_ON_ERROR else OnError.ALLOW),
        switch=switch,
    )


def exempts(exemption: Exemption) -> Exempts:
    """Compile an exemption: everything it names must hold. Only a verified account exempts."""
    path = RouteTable([(exemption.path, True)]) if exemption.path is not None else None
    network = exemption.client

    def matches(request: Request) -> bool:
        if path is not None and not path.find(request.path):
            return False
        if exemption.account is not None:
            account = request.account
            if account is None or not account.verified or account.id != exemption.account:
                return False
        return network is None or _inside(request.client.address, network)

    return matches


def _inside(text: str, network: IPv4Network | IPv6Network) -> bool:
    address = parse_address(text)
    return address is not None and address in network


def _files(loaded: Loaded) -> FileInspector | None:
    if mode_of(loaded, "uploads") is Mode.OFF:
        return None
    return cast("FileInspector", resolve(FILES)(loaded.policies["uploads"], loaded.base))


def _texts(networks: Sequence[object] | None) -> list[str] | None:
    return None if networks is None else [str(network) for network in networks]


def warn_of_shared_memory() -> None:
    """Warn when this looks like one of several server processes: each then counts for itself."""
    if multiprocessing.parent_process() is not None or int(os.environ.get("WEB_CONCURRENCY", "1") or 1) > 1:
        _log.warning(
            "this looks like one of several worker processes, and store.url is memory://: "
            "each process counts limits for itself, so that clients get a multiple of every limit; run one worker"
        )
