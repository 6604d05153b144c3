"""Judging the raw tables: what settings they make, and everything that is wrong with them."""

import json
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from copy import deepcopy
from typing import Final, NamedTuple, TypeVar

from pydantic import ValidationError

from aupgate.config.document import Raw, found, written
from aupgate.config.mistakes import Mistake, mistake_of
from aupgate.config.schema import Policies
from aupgate.config.tables import Config, PolicySettings, Settings
from aupgate.config.toml_lines import KeyPath

_ROUNDS: Final = 4
"""Validation is repeated without what was wrong: pydantic judges a table as a whole only once its keys are right."""

_Model = TypeVar("_Model", bound=Settings)


class Judgement(NamedTuple):
    """What validation makes of the tables. Where there are no mistakes, all settings are there."""

    config: Config | None
    policies: dict[str, PolicySettings]
    mistakes: list[Mistake]


def judge(raw: Raw, policies: Policies) -> Judgement:
    """Validate `raw` once: mistakes may hide others."""
    config, mistakes = _validated(Config, raw, ())
    tables = raw.get("policies")
    tables = tables if isinstance(tables, dict) else {}
    unknown = [("policies", name) for name in tables if name not in policies]
    mistakes += [Mistake(path, "extra_forbidden", "", path) for path in unknown]
    settings: dict[str, PolicySettings] = {}
    for name, model in policies.items():
        table = tables.get(name)
        judged, more = _validated(model, table if isinstance(table, dict) else {}, ("policies", name))
        mistakes += more
        if judged:
            settings[name] = judged
    return Judgement(config, settings, mistakes)


def judge_all(raw: Raw, policies: Policies) -> Judgement:
    """Validate `raw` until every mistake is found."""
    config, settings, mistakes = judge(raw, policies)
    known: list[Mistake] = []
    gone: set[KeyPath] = set()
    for _ in range(_ROUNDS):
        fresh = _fresh(mistakes, known, gone)
        if not fresh:
            break
        known += fresh
        raw = _without(raw, fresh, gone)
        mistakes = judge(raw, policies).mistakes
    return Judgement(config, settings, known)


def _validated(model: type[_Model], table: Raw, prefix: KeyPath) -> tuple[_Model | None, list[Mistake]]:
    # As JSON, for strictness then means the same as in TOML: a list makes a tuple, a string an enum, never a number.
    try:
        return model.model_validate_json(json.dumps(table, default=str), strict=True), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return None, [mistake_of(detail, table, prefix) for detail in details]


def _fresh(mistakes: Iterable[Mistake], known: Iterable[Mistake], gone: AbstractSet[KeyPath]) -> list[Mistake]:
    """Return the mistakes that are new and are not there only because of the keys that were taken away.

    One mistake a path, the best explained, and none about a list or table of which an element is wrong.
    """
    # A judgement may come again and name another key, because the one it named before now has its default.
    said = {(mistake.judged, mistake.text) for mistake in known}
    best: dict[KeyPath, Mistake] = {}
    for mistake in mistakes:
        if (mistake.judged, mistake.text) in said or _touches(mistake.path, gone):
            continue
        if mistake.path not in best or mistake.kind == "expectation":
            best[mistake.path] = mistake
    outer = {path[:end] for path in best for end in range(len(path))}
    return [mistake for path, mistake in best.items() if path not in outer]


def _touches(path: KeyPath, others: AbstractSet[KeyPath]) -> bool:
    """Return whether `path` is one of `others`, around one or inside one."""
    return any(path[: len(other)] == other[: len(path)] for other in others)


def _without(raw: Raw, mistakes: Sequence[Mistake], gone: set[KeyPath]) -> Raw:
    """Return a copy of `raw` without the keys that are wrong, and add them to `gone`."""
    tables = deepcopy(raw)
    for mistake in mistakes:
        if not _touches(mistake.path, gone):
            key = _deepest_key(tables, mistake.path)
            gone.add(key or mistake.path)
            if key:
                del found(tables, key[:-1])[key[-1]]
    return tables


def _deepest_key(raw: Raw, path: KeyPath) -> KeyPath:
    """Return the longest part of `path` that is written and ends in a key of a table."""
    key = written(raw, path)
    while key and isinstance(key[-1], int):
        key = key[:-1]
    return key
