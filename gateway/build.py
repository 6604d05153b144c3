"""The composition root: it reads a configuration and builds the gateway.

Only here are concrete classes named, as strings: a policy that is off is not imported, so that an application that
scans no uploads imports no scanner.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from aupgate.audit import AccessLog, AuditLog, LineWriter, open_writer
from aupgate.config import Loaded, PolicySettings, load
from aupgate.enforcement import Enforcement, Switch
from aupgate.engine import Engine
from aupgate.errors import ConfigError, Problem
from aupgate.exemptions import decides_by_path, exempts
from aupgate.gateway import Gateway, GatewayServices, Unavailable
from aupgate.identity.accounts import AccountResolver
from aupgate.identity.clients import ClientResolver
from aupgate.identity.keys import KnownKeys
from aupgate.identity.tokens import Tokens
from aupgate.inspection.spool import SpoolFactory
from aupgate.metrics import Metrics
from aupgate.model import Mode, OnError
from aupgate.packs import ClauseIndex, Pack
from aupgate.packs import load as load_packs
from aupgate.policy import ComparesPaths, DecidesByPath, FileInspector, FindingSink, PathDecider, Policy, ReadsFiles
from aupgate.refusal import Aup, Refusals
from aupgate.store.memory import MemoryStore
from aupgate.store.resilient import ResilientStore
from aupgate.watching import Watcher

_Part = TypeVar("_Part")

REGISTRY: Final[Mapping[str, str]] = {
    "protocol": "aupgate.policies.protocol:Protocol",
    "headers": "aupgate.policies.headers:Headers",
    "networks": "aupgate.policies.networks:build",
    "interfaces": "aupgate.policies.interfaces:Interfaces",
    "scrapers": "aupgate.policies.scrapers:Scrapers",
    "rate_limits": "aupgate.policies.rate_limits:RateLimits",
    "uploads": "aupgate.policies.uploads:Uploads",
}
"""Every policy, in the order the engine asks them."""

ENFORCED: Final = frozenset({"protocol", "headers", "uploads"})
"""Policies that are enforced without configuration: they need no knowledge of the app. All others observe."""

NEVER_EXEMPT: Final = frozenset({"protocol", "headers"})
"""Policies that exempt nobody: what they refuse would mislead the application, whoever sends it."""

REFUSE_ON_ERROR: Final = frozenset({"protocol", "headers", "networks", "uploads"})
"""Policies whose failure refuses the request without configuration; a failure of the others is counted and let pass."""

FILES: Final = "aupgate.inspection.pipeline:build"
REDIS: Final = "aupgate.store.redis.store:RedisStore"
TOKENS: Final = "aupgate.identity.tokens:build"

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


def build(loaded: Loaded, *, access: str = "off", lives: bool = True) -> Gateway:
    """Build the gateway from a configuration. `access` is where access lines go when the configuration does not say.

    One that does not live long (`lives`) fetches no keys, and reads no file again that changes.
    Raises `ConfigError` with every problem of what the configuration names: packs, keys, rules, clauses, scanners.
    """
    config, base = loaded.config, loaded.base
    parts = _Parts()
    switch, metrics = Switch(), Metrics()
    watcher = Watcher(metrics.file_read)
    clauses = parts.take(lambda: ClauseIndex(_packs(loaded)))
    policies = parts.take(lambda: enforcements(loaded, switch))
    keys = parts.take(lambda: _keys(loaded, watcher))
    tokens = parts.take(lambda: _tokens(loaded, watcher, metrics))
    files = parts.take(lambda: _files(loaded))
    for policy in [each.policy for each in policies or () if isinstance(each.policy, ReadsFiles)]:
        parts.take(partial(watcher.watch, partial(policy.read_files, base)))
    store = MemoryStore(config.store.max_keys)
    remote = parts.take(lambda: _remote(loaded, metrics, store))
    parts.problems += _misnamed(loaded, policies or (), clauses)
    audit = parts.take(lambda: _writer(loaded, "audit", config.log.audit))
    access_writer = parts.take(lambda: _writer(loaded, "access", config.log.access or access))
    if parts.problems or clauses is None or policies is None:
        raise ConfigError(parts.problems)
    sinks: list[FindingSink] = [metrics] if audit is None else [metrics, AuditLog(audit)]
    proxies = config.client.trusted_proxies
    unavailable = Unavailable()
    if remote is None:
        warn_of_shared_memory()
    if lives:
        watcher.start()
        if tokens is not None:
            tokens.start()
    return Gateway(
        loaded=loaded,
        engine=Engine(policies, clauses, sinks),
        store=store,
        remote=remote,
        clients=ClientResolver(
            None if proxies is None else [str(network) for network in proxies],
            source=config.client.source,
            ipv6_prefix=config.client.ipv6_prefix,
        ),
        accounts=AccountResolver.configured(config.account.sources, keys, tokens),
        refusals=Refusals(Aup(config.aup.name, config.aup.url, config.aup.contact)),
        metrics=metrics,
        spools=SpoolFactory(config.spool.dir and base / config.spool.dir, config.spool.memory, config.spool.budget),
        services=GatewayServices(files or unavailable, unavailable),
        switch=switch,
        watcher=watcher,
        access=None if access_writer is None else AccessLog(access_writer),
        writers=[writer for writer in (audit, access_writer) if writer is not None],
    )


class _Parts:
    """Takes the parts of a gateway one by one and keeps what is wrong with them, to report it all at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def take(self, make: Callable[[], _Part]) -> _Part | None:
        try:
            return make()
        except ConfigError as error:
            self.problems += error.problems
            return None


def enforcements(loaded: Loaded, switch: Switch | None = None) -> list[Enforcement]:
    """Build every policy that is not off, in the registry's order."""
    built = [
        _enforcement(name, loaded.policies[name], ceiling, switch or Switch())
        for name in REGISTRY
        if (ceiling := mode_of(loaded, name)) is not Mode.OFF
    ]
    deciders = list(_path_deciders(loaded, built))
    for each in built:
        if isinstance(each.policy, ComparesPaths):
            each.policy.compare(deciders)
    return built


def _path_deciders(loaded: Loaded, built: Sequence[Enforcement]) -> Iterator[PathDecider]:
    """Yield what goes by the path in policies that are enforced: their own decisions, and the exemptions from them."""
    for each in built:
        if mode_of(loaded, each.name) is Mode.ENFORCE:
            if isinstance(each.policy, DecidesByPath):
                yield each.policy.path_decision
            for exemption in loaded.policies[each.name].exempt:
                if (decider := decides_by_path(exemption)) is not None:
                    yield decider


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


def _misnamed(loaded: Loaded, policies: Sequence[Enforcement], clauses: ClauseIndex | None) -> Iterator[Problem]:
    """Yield what the settings of policies name and nobody knows: rules, clauses; and exemptions that cannot be."""
    for enforcement in policies:
        name, settings = enforcement.name, loaded.policies[enforcement.name]
        known = [rule.name.partition(".")[2] for rule in enforcement.policy.rules]
        for rule in settings.rules.keys() - set(known):
            yield loaded.problem(("policies", name, "rules", rule), f"unknown rule, expected one of {', '.join(known)}")
        if settings.exempt and name in NEVER_EXEMPT:
            yield loaded.problem(("policies", name, "exempt"), "nobody can be exempted from this policy; remove it")
        if clauses is not None:
            yield from _unknown_clauses(loaded, enforcement, clauses)


def _unknown_clauses(loaded: Loaded, enforcement: Enforcement, clauses: ClauseIndex) -> Iterator[Problem]:
    for rule in enforcement.policy.rules:
        for clause in rule.clauses:
            if clauses.get(clause) is None:
                expected = f"{rule.name} names the clause `{clause}`, which no pack in aup.packs has"
                yield loaded.problem(("policies", enforcement.name), expected)


def _packs(loaded: Loaded) -> Sequence[Pack]:
    aup = loaded.config.aup
    try:
        return load_packs(aup.packs, loaded.base, effective=aup.effective)
    except ConfigError as error:
        raise ConfigError([_placed(loaded, problem) for problem in error.problems]) from error


def _placed(loaded: Loaded, problem: Problem) -> Problem:
    """Give a problem that the packs found in the configuration its file and line."""
    if problem.source != "configuration":
        return problem
    path = [
        int(part) if part.isdecimal() else part for part in problem.key.replace("[", ".").replace("]", "").split(".")
    ]
    return loaded.problem(path, problem.expected)


def _keys(loaded: Loaded, watcher: Watcher) -> KnownKeys:
    file = loaded.config.account.keys.file
    keys = KnownKeys(file and loaded.base / file)
    watcher.watch(keys.read)
    return keys


def _tokens(loaded: Loaded, watcher: Watcher, metrics: Metrics) -> Tokens | None:
    settings = loaded.config.account
    if not settings.jwt.jwks:
        return None
    try:
        return cast("Tokens", resolve(TOKENS)(settings, loaded.base, watcher, metrics))
    except ConfigError as error:
        raise ConfigError([_placed(loaded, problem) for problem in error.problems]) from error


def _remote(loaded: Loaded, metrics: Metrics, local: MemoryStore) -> ResilientStore | None:
    """Return the store behind a connection, with `local` to fall back to; None where this process counts by itself."""
    settings, key = loaded.config.store, "url" if loaded.config.store.url_file is None else "url_file"
    try:
        url = (
            settings.url if settings.url_file is None else (loaded.base / settings.url_file).read_text("utf-8").strip()
        )
        if url == "memory://":
            return None
        store = resolve(REDIS)(url, timeout=settings.timeout)
    except ImportError as error:
        expected = 'Redis needs further packages: install "aupgate[redis]"'
        raise ConfigError([loaded.problem(("store", key), expected)]) from error
    except (OSError, ValueError) as error:
        raise ConfigError([loaded.problem(("store", key), f"{error}")]) from error
    limits = getattr(loaded.policies["rate_limits"], "limits", ())
    apart = {f"rate_limits.{each.name}": each.on_failure for each in limits if each.on_failure is not None}
    resilient = ResilientStore(store, local, settings.on_failure, apart)
    metrics.show(store.families)
    metrics.show(resilient.families)
    return resilient


def _writer(loaded: Loaded, log: str, target: str) -> LineWriter | None:
    try:
        return open_writer(target, loaded.base)
    except OSError as error:
        raise ConfigError([loaded.problem(("log", log), f"cannot be written: {error.strerror}")]) from error


def _files(loaded: Loaded) -> FileInspector | None:
    if mode_of(loaded, "uploads") is Mode.OFF:
        return None
    try:
        return cast("FileInspector", resolve(FILES)(loaded.policies["uploads"], loaded.base))
    except ConfigError as error:
        raise ConfigError([_placed(loaded, problem) for problem in error.problems]) from error


def warn_of_shared_memory() -> None:
    """Warn when this looks like one of several server processes: each then counts for itself."""
    asked = os.environ.get("WEB_CONCURRENCY", "")
    processes = sys.modules.get("multiprocessing.process")  # in a child, always; importing it here would take 12 ms
    is_child = processes is not None and processes.parent_process() is not None
    if is_child or (asked.isdecimal() and int(asked) > 1):
        _log.warning(
            "this looks like one of several worker processes, and store.url is memory://: "
            "each process counts limits for itself, so that clients get a multiple of every limit; run one worker"
        )
