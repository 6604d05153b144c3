"""`aupgate coverage`: clause by clause, what enforces the policy."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from aupgate.build import REGISTRY, mode_of, resolve
from aupgate.cli.loading import open_config
from aupgate.cli.output import say, table
from aupgate.config import Loaded
from aupgate.model import Clause, Mode, Rule
from aupgate.packs import load as load_packs

ENFORCED, PARTLY, OBSERVING, OFF = "enforced", "partly enforced", "observing", "off"
NOT_CONFIGURED, NOT_BUILT, PERSON = "not configured", "not built", "a person's work"
BEST_FIRST: Final = (ENFORCED, PARTLY, OBSERVING, OFF, NOT_CONFIGURED, NOT_BUILT, PERSON)

_STATES: Final = {Mode.ENFORCE: ENFORCED, Mode.OBSERVE: OBSERVING, Mode.OFF: OFF}


@dataclass(frozen=True, slots=True)
class ClauseCoverage:
    """One clause and what enforces it.

    `state` is the best of its controls' states, but where only some of them are enforced it says so.
    """

    id: str
    title: str
    state: str
    controls: Mapping[str, str]
    person: str

    def described(self) -> str:
        """Return the controls with their states, and what remains a person's work, in one line."""
        parts = [f"{control} ({state})" for control, state in self.controls.items()]
        return ", ".join([*parts, *([f"person: {self.person}"] if self.person else [])])


def run(config: Path | None, *, as_json: bool) -> None:
    """Print every clause of the packs that are on, with the state of each control. Raises `ConfigError`."""
    covered = coverage_of(open_config(config, serving=False).loaded)
    if as_json:
        print(json.dumps([asdict(each) for each in covered], indent=2))
        return
    table(["clause", "state", "controls"], [[each.id, each.state, each.described()] for each in covered])
    counts = {state: sum(each.state == state for each in covered) for state in BEST_FIRST}
    say(f"{len(covered)} clauses: {', '.join(f'{count} {state}' for state, count in counts.items() if count)}")


def coverage_of(loaded: Loaded) -> list[ClauseCoverage]:
    """Return the coverage of every clause of the packs that are on, in their order."""
    packs = load_packs(loaded.config.aup.packs, loaded.base, effective=loaded.config.aup.effective)
    states = {name: _rule_states(loaded, name) for name in REGISTRY}
    return [_cover(clause, states) for pack in packs for clause in pack.clauses]


def _rule_states(loaded: Loaded, policy: str) -> dict[str, str]:
    """Return the state of each rule of `policy`, by the rule's name."""
    settings, ceiling = loaded.policies[policy], mode_of(loaded, policy)
    rules: Sequence[Rule] = resolve(REGISTRY[policy])(settings).rules
    own = {f"{policy}.{rule}": mode for rule, mode in settings.rules.items()}
    states = {
        rule.name: _STATES[Mode.weakest(ceiling, own.get(rule.name, ceiling))] if rule.configured else NOT_CONFIGURED
        for rule in rules
    }
    if settings.share == 100:
        return states
    return {rule: PARTLY if state == ENFORCED else state for rule, state in states.items()}


def _cover(clause: Clause, policies: Mapping[str, Mapping[str, str]]) -> ClauseCoverage:
    states = {control: _state(control, policies) for control in clause.controls}
    return ClauseCoverage(clause.id, clause.title, _together(states.values()), states, clause.person)


def _state(control: str, policies: Mapping[str, Mapping[str, str]]) -> str:
    """Return the state of one control: `policy.rule`, or `policy` for all of its rules."""
    policy, _, rule = control.partition(".")
    if policy not in REGISTRY:
        return NOT_BUILT
    if not rule:
        return _together(policies[policy].values())
    # Limits are named by the operator; every other policy names its rules itself.
    return policies[policy].get(control, NOT_CONFIGURED if policy == "rate_limits" else NOT_BUILT)


def _together(states: Collection[str]) -> str:
    """Return the state of several things together: the best, and partly enforced where not all are."""
    best = min(states, key=BEST_FIRST.index, default=PERSON)
    return PARTLY if best == ENFORCED and any(state != ENFORCED for state in states) else best
