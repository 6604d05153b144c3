"""Loading a configuration: a file, its overrides, and every mistake in them at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aupgate.config.document import Document
from aupgate.config.judging import judge_all
from aupgate.config.overrides import options, override, variables
from aupgate.config.schema import Policies, Schema
from aupgate.config.tables import Config, PolicySettings
from aupgate.errors import ConfigError, Problem


@dataclass(frozen=True)
class Loaded:
    """A configuration that holds together."""

    config: Config
    policies: Mapping[str, PolicySettings]
    """Settings of every policy, whether or not the file mentions it."""
    base: Path
    """Directory that relative file names start from."""
    _document: Document

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
    document = Document.of(config)
    problems = override(document, [*variables(environ), *options(overrides or {})], policies)
    root, settings, mistakes = judge_all(document.raw, policies)
    if mistakes:
        schema = Schema(policies)
        problems += [document.problem(mistake.path, mistake.expectation(schema)) for mistake in mistakes]
    if problems or root is None:
        raise ConfigError(sorted(problems, key=lambda problem: (problem.line is None, problem.line or 0)))
    return Loaded(root, settings, document.base, document)
