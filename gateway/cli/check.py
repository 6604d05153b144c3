"""`aupgate check`: every mistake in the configuration, or what it does."""

from collections.abc import Collection, Iterator
from pathlib import Path

from aupgate.build import REGISTRY, mode_of
from aupgate.cli.loading import open_config, upstream_warnings
from aupgate.cli.output import say, table
from aupgate.config import Loaded
from aupgate.model import Mode


def run(config: Path | None) -> None:
    """Read and build the configuration, and print what is enforced, observed and off. Raises `ConfigError`."""
    loaded, gateway = open_config(config, serving=True)
    say(f"ok: {config or 'the defaults'}", "bold green")
    rules = {each.name: sum(rule.configured for rule in each.policy.rules) for each in gateway.engine.enforcements}
    table(
        ["policy", "mode", "rules", "notes"],
        [[name, mode_of(loaded, name), str(rules.get(name, "-")), _notes(loaded, name)] for name in REGISTRY],
    )
    for warning in warnings(loaded, idle={name for name, count in rules.items() if not count}):
        say(f"note: {warning}", "yellow")


def _notes(loaded: Loaded, name: str) -> str:
    settings = loaded.policies[name]
    notes = [f"{rule} = {mode}" for rule, mode in settings.rules.items()]
    if settings.share < 100:
        notes.append(f"share = {settings.share:g}%")
    if settings.exempt:
        notes.append(f"{len(settings.exempt)} exempt")
    return ", ".join(notes)


def warnings(loaded: Loaded, idle: Collection[str] = ()) -> Iterator[str]:
    """Yield what is no mistake and yet worth knowing. The `idle` policies are those without anything configured."""
    if loaded.config.client.trusted_proxies is None:
        yield (
            "client.trusted_proxies is not set: behind a proxy, rules that count by client only observe; "
            "set it to the proxy's networks, or to [] when clients connect directly"
        )
    yield from upstream_warnings(loaded.config)
    if loaded.config.gateway.mode is not Mode.ENFORCE:
        yield f'gateway.mode = "{loaded.config.gateway.mode}" holds for every policy: nothing is enforced'
        return
    observed = [f"[policies.{name}]" for name in REGISTRY if mode_of(loaded, name) is Mode.OBSERVE and name not in idle]
    if observed:
        yield f'to enforce what is observed, set mode = "enforce" in {", ".join(observed)}'
    for name in REGISTRY:
        yield from _without_effect(loaded, name)


def _without_effect(loaded: Loaded, name: str) -> Iterator[str]:
    """Yield the rules that are told to do more than their policy does: the weaker of the two holds."""
    ceiling = mode_of(loaded, name)
    for rule, mode in loaded.policies[name].rules.items():
        if Mode.weakest(mode, ceiling) is not mode:
            policy = {Mode.OBSERVE: "only observes", Mode.OFF: "is off"}[ceiling]
            yield f'policies.{name}.rules.{rule} = "{mode}" has no effect, because the policy {policy}'
