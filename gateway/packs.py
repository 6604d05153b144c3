"""AUP packs: which clauses an Acceptable Use Policy has, and which rules enforce each of them.

A pack is a TOML file (docs/packs.md describes the format). `load` reads the packs that a configuration names together
with those they extend, and `ClauseIndex` answers which clauses a finding touches. Packs know rules by name alone, so
this module knows no policy, and a rule that does not exist yet may be named.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Final

from aupgate.errors import PackError, Problem
from aupgate.model import Clause

BUILT_IN: Final = ("default", "infince", "cimcon")
"""The packs that come with aupgate, named in a configuration without a path."""

MAX_FILE_BYTES: Final = 256 * 1024
MAX_CLAUSES: Final = 1_000
MAX_PACKS: Final = 32
MAX_CACHED_RULES: Final = 4_096

_MAX_SHOWN: Final = 80
_BUILT_IN_PACKAGE: Final = "aupgate.policies.clauses"
_PACK_KEYS: Final = frozenset({"id", "name", "title", "effective", "url", "extends", "clauses"})
_CLAUSE_KEYS: Final = frozenset({"id", "title", "summary", "controls", "person", "reference"})
_PACK_ID: Final = re.compile(r"[a-z][a-z0-9_-]*")
_CLAUSE_REST: Final = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*")
_CONTROL: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9][a-z0-9_-]*)?")


@dataclass(frozen=True, slots=True)
class Pack:
    """One Acceptable Use Policy, clause by clause."""

    id: str
    name: str
    """The policy's full name, as refusals and reports give it."""
    title: str
    """A short heading for lists; the name where the file has none."""
    effective: date | None
    """Since when the text holds; None when neither the text nor the configuration says."""
    url: str
    """Where people read the text; empty when the file does not say."""
    clauses: tuple[Clause, ...]
    extends: tuple[str, ...]
    """Ids of the packs that this one extends, as written; what those extend is not repeated here."""


def load(names: Sequence[str], base: Path, *, effective: Mapping[str, date] | None = None) -> list[Pack]:
    """Return the packs of `names` and all they extend, each once: a pack, then what it extends, then the next name.

    A name is one of `BUILT_IN` or a path that ends in `.toml`, relative to `base`; in the `extends` of a file it is
    relative to that file. `effective` gives dates by pack id, above those of the files, for texts that bear none.

    Raises `PackError` with every problem of every file. Problems of `names` themselves have the key `aup.packs[n]`,
    those of `effective` the key `aup.effective.ID`, and both have the source "configuration".
    """
    loader = _Loader(effective or {})
    for number, name in enumerate(names):
        loader.add(name, _Mention("configuration", f"aup.packs[{number}]", None, base))
    packs = loader.finish()
    if loader.problems:
        raise PackError(_in_file_order(loader.problems))
    return packs


class ClauseIndex:
    """Finds the clauses that a rule enforces. Built once from the packs that are on, and shared by all requests."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        self.packs: Final = tuple(packs)
        self.clauses: Final = tuple(clause for pack in packs for clause in pack.clauses)
        self._by_id: Final = {clause.id: clause for clause in self.clauses}
        self._cache: Final[dict[tuple[str, tuple[str, ...]], tuple[Clause, ...]]] = {}

    def get(self, clause_id: str) -> Clause | None:
        """Return the clause `clause_id`, or None when no pack that is on has it."""
        return self._by_id.get(clause_id)

    def for_rule(self, rule: str, extra: Sequence[str] = ()) -> tuple[Clause, ...]:
        """Return the clauses that `rule` (`policy.rule`) enforces and those of `extra`, in the order of the packs.

        A rule enforces the clauses whose controls name it or its whole policy; `extra` are ids that the configuration
        names for it. Raises `KeyError` for an id that no pack has: ask `get` when the configuration is read.
        """
        key = (rule, tuple(extra))
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= MAX_CACHED_RULES:
                self._cache.clear()
            found = self._cache[key] = self._find(*key)
        return found

    def _find(self, rule: str, extra: tuple[str, ...]) -> tuple[Clause, ...]:
        covering = {rule, rule.partition(".")[0]}
        named = {self._by_id[clause_id].id for clause_id in extra}
        return tuple(
            clause for clause in self.clauses if clause.id in named or not covering.isdisjoint(clause.controls)
        )

    @property
    def controls(self) -> Iterator[tuple[Clause, str]]:
        """Every control of every clause, in the order of the packs. A clause that is a person's work alone has none."""
        return ((clause, control) for clause in self.clauses for control in clause.controls)

    def chain(self, pack_id: str) -> tuple[Pack, ...]:
        """Return the pack `pack_id` and all that it extends, directly or through another, in the order of the packs."""
        extends = {pack.id: pack.extends for pack in self.packs}
        reached, waiting = set(), [pack_id]
        while waiting:
            current = waiting.pop()
            if current not in reached:
                reached.add(current)
                waiting.extend(extends.get(current, ()))
        return tuple(pack for pack in self.packs if pack.id in reached)


@dataclass(frozen=True, slots=True)
class _Mention:
    """Where a pack was named, and the folder that a path there is relative to."""

    source: str
    key: str
    line: int | None
    folder: Path

    def problem(self, value: str, expected: str) -> Problem:
        return Problem(self.source, self.line, self.key, repr(value), expected)


@dataclass(frozen=True, slots=True)
class _Source:
    """The text of one pack file."""

    label: str
    """The path that messages show."""
    text: str
    folder: Path

    def line(self, key: str, clause: int | None) -> int | None:
        """Return the line of `key`, or of its clause's heading, or None: a hint that reads lines, not TOML."""
        current, heading = -1, None
        for number, line in enumerate(self.text.splitlines(), 1):
            if line.lstrip().startswith("[["):
                current += 1
                heading = number if current == clause else heading
            elif current == (-1 if clause is None else clause) and re.match(rf"\s*{re.escape(key)}\s*=", line):
                return number
        return heading


@dataclass(frozen=True, slots=True)
class _Table:
    """One TOML table being read: takes values out and notes what is wrong with them."""

    source: _Source
    values: Mapping[str, Any]
    problems: list[Problem]
    clause: int | None = None

    def wrong(self, key: str, expected: str, value: object = None) -> None:
        """Note that `key` is not as expected; `value` is what was found instead of something."""
        path = key if self.clause is None else f"clauses[{self.clause}].{key}"
        given = "" if value is None else _shortened(str(value) if isinstance(value, date) else repr(value))
        line = self.source.line(key, self.clause)
        self.problems.append(Problem(self.source.label, line, path, given, expected))

    def refuse_unknown(self, known: frozenset[str]) -> None:
        for key in (key for key in self.values if key not in known):
            self.wrong(key, f"unknown key; known are {', '.join(sorted(known))}")

    def text(self, key: str, *, required: bool = False) -> str:
        value = self.values.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if value is not None:
            self.wrong(key, "must be a text that is not empty", value)
        elif required:
            self.wrong(key, "is missing; it must be a text that is not empty")
        return ""

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key, [])
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        self.wrong(key, "must be a list of texts", value)
        return ()

    def day(self, key: str) -> date | None:
        value = self.values.get(key)
        if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
            return value
        self.wrong(key, "must be a date without quotes, such as 2026-01-31", value)
        return None

    def address(self, key: str, value: str) -> str:
        if value and not value.startswith(("https://", "http://")):
            self.wrong(key, "must be an address that starts with https:// or http://", value)
        return value


@dataclass(slots=True)
class _Loader:
    """Finds, reads and checks packs, and keeps the order in which they were first named."""

    effective: Mapping[str, date]
    problems: list[Problem] = field(default_factory=list)
    _packs: dict[str, Pack | None] = field(default_factory=dict)
    """By file, in the order first named; None while the pack is being read, and when it cannot be read."""
    _open: list[str] = field(default_factory=list)
    """The files from the name in the configuration down to the one being read, to notice circles."""

    def add(self, name: str, mention: _Mention) -> str:
        """Load the pack `name` and what it extends. Returns its id, or an empty text when there is none to return."""
        label = _label(name, mention.folder)
        if label is None:
            expected = f"is no known pack; use {', '.join(BUILT_IN)} or a path to your own .toml"
            self.problems.append(mention.problem(name, expected))
        elif label in self._open:
            circle = " -> ".join([*self._open[self._open.index(label) :], label])
            self.problems.append(mention.problem(name, f"extends itself: {circle}; take one of them out"))
        elif label not in self._packs:
            self._load(label, name, mention)
        pack = self._packs.get(label or "")
        return pack.id if pack else ""

    def finish(self) -> list[Pack]:
        """Return the packs, having checked what concerns them all."""
        packs: dict[str, Pack] = {}
        for label, pack in self._packs.items():
            if pack and packs.setdefault(pack.id, pack) is not pack:
                expected = "is the id of another pack that is on; give each pack its own"
                self.problems.append(Problem(label, None, "id", repr(pack.id), expected))
        for pack_id in sorted(self.effective.keys() - packs.keys()):
            expected = "no pack that is on has this id"
            self.problems.append(Problem("configuration", None, f"aup.effective.{pack_id}", "", expected))
        return list(packs.values())

    def _load(self, label: str, name: str, mention: _Mention) -> None:
        if len(self._packs) >= MAX_PACKS:
            self.problems.append(mention.problem(name, f"is one pack too many; there may be {MAX_PACKS}"))
            return
        self._packs[label] = None
        source = self._read(label, name, mention)
        values = self._parse(source) if source else None
        if source and values is not None:
            self._open.append(label)
            self._packs[label] = self._pack(_Table(source, values, self.problems))
            self._open.pop()

    def _read(self, label: str, name: str, mention: _Mention) -> _Source | None:
        try:
            content = _content(name, label)
            if len(content) <= MAX_FILE_BYTES:
                return _Source(label, content.decode(), mention.folder if name in BUILT_IN else Path(label).parent)
            expected = f"the file is larger than {MAX_FILE_BYTES // 1024} KiB; write shorter summaries"
        except OSError as error:
            expected = f"cannot be read: {error.strerror or error}"
        except UnicodeDecodeError:
            expected = "the file is not UTF-8; save it as UTF-8"
        self.problems.append(mention.problem(name, expected))
        return None

    def _parse(self, source: _Source) -> Mapping[str, Any] | None:
        try:
            return tomllib.loads(source.text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            message = str(error)
            place = re.search(r"at line (\d+)", message)
            line = int(place[1]) if place else None
            self.problems.append(Problem(source.label, line, "", "", f"not valid TOML: {message}"))
        return None

    def _pack(self, table: _Table) -> Pack:
        table.refuse_unknown(_PACK_KEYS)
        head = _head(table, self.effective)
        clauses = tuple(_clauses(table, head))
        return replace(head, clauses=clauses, extends=self._extends(table))

    def _extends(self, table: _Table) -> tuple[str, ...]:
        names = table.texts("extends")
        line = table.source.line("extends", None) if names else None
        mention = _Mention(table.source.label, "extends", line, table.source.folder)
        ids = [self.add(name, mention) for name in names]
        return tuple(pack_id for pack_id in ids if pack_id)


def _head(table: _Table, effective: Mapping[str, date]) -> Pack:
    """Read what stands above the clauses."""
    pack_id, name = table.text("id", required=True), table.text("name", required=True)
    if pack_id and not _PACK_ID.fullmatch(pack_id):
        table.wrong("id", "must be a small letter, then small letters, digits, '_' or '-'", pack_id)
    return Pack(
        id=pack_id,
        name=name,
        title=table.text("title") or name,
        effective=effective.get(pack_id, table.day("effective")),
        url=table.address("url", table.text("url")),
        clauses=(),
        extends=(),
    )


def _clauses(table: _Table, head: Pack) -> Iterator[Clause]:
    entries = table.values.get("clauses")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        table.wrong("clauses", "must be one or more [[clauses]] tables")
        return
    if len(entries) > MAX_CLAUSES:
        table.wrong("clauses", f"there are {len(entries)} clauses; there may be {MAX_CLAUSES}")
    seen: set[str] = set()
    for number, entry in enumerate(entries[:MAX_CLAUSES]):
        yield _clause(_Table(table.source, entry, table.problems, number), head, seen)


def _clause(table: _Table, head: Pack, seen: set[str]) -> Clause:
    table.refuse_unknown(_CLAUSE_KEYS)
    return Clause(
        id=_clause_id(table, head.id, seen),
        title=table.text("title", required=True),
        summary=table.text("summary", required=True),
        controls=_controls(table),
        pack=head.id,
        effective=head.effective,
        person=table.text("person"),
        url=_link(table, head.url),
    )


def _clause_id(table: _Table, pack_id: str, seen: set[str]) -> str:
    clause_id = table.text("id", required=True)
    start, rest = clause_id[: len(pack_id) + 1], clause_id[len(pack_id) + 1 :]
    well_formed = start == f"{pack_id}." and _CLAUSE_REST.fullmatch(rest)
    if clause_id in seen and clause_id:
        table.wrong("id", "is the id of another clause too; give each clause its own", clause_id)
    elif clause_id and _PACK_ID.fullmatch(pack_id) and not well_formed:
        expected = f"must be '{pack_id}.' and then words of small letters, digits and '_', joined by dots"
        table.wrong("id", expected, clause_id)
    seen.add(clause_id)
    return clause_id


def _controls(table: _Table) -> tuple[str, ...]:
    controls = table.texts("controls")
    for control in controls:
        if not _CONTROL.fullmatch(control):
            table.wrong("controls", "must be 'policy' or 'policy.rule', such as 'uploads.infected'", control)
    if len(set(controls)) < len(controls):
        table.wrong("controls", "names a rule twice; name each once", list(controls))
    if not table.values.get("controls") and not table.values.get("person"):
        table.wrong("controls", "names no rule; name those that enforce it, or say under person whose work it is")
    return controls


def _link(table: _Table, url: str) -> str:
    """Return where people read the clause: its reference, a whole address or a fragment of `url`, or else `url`."""
    reference = table.text("reference")
    if not reference.startswith("#"):
        return table.address("reference", reference) or url
    if not url:
        table.wrong("reference", "is a fragment, so the pack needs a url", reference)
    return url + reference


def _label(name: str, folder: Path) -> str | None:
    """Return the name under which a pack is known while loading, the same for every spelling of its path."""
    if name in BUILT_IN:
        return f"{name}.toml (built in)"
    return str((folder / name).resolve()) if name.endswith(".toml") and "\0" not in name else None


def _content(name: str, label: str) -> bytes:
    """Read a pack file, at most one byte beyond what a pack may have."""
    built_in = resources.files(_BUILT_IN_PACKAGE) / f"{name}.toml"
    with (built_in if name in BUILT_IN else Path(label)).open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _in_file_order(problems: Sequence[Problem]) -> list[Problem]:
    sources = list(dict.fromkeys(problem.source for problem in problems))
    return sorted(problems, key=lambda problem: (sources.index(problem.source), problem.line or 0))
