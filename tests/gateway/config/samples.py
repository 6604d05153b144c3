from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import Field, model_validator

from aupgate.config import (
    Duration,
    Loaded,
    Method,
    OneOrMore,
    PathTemplate,
    PolicySettings,
    Rate,
    Settings,
    expectation,
    load,
)
from aupgate.errors import ConfigError, Problem

CONFIGS = Path(__file__).parents[2] / "config"


GOOD = sorted((CONFIGS / "good").glob("*.toml"))


class Match(Settings):
    path: PathTemplate | None = None
    methods: tuple[Method, ...] = ()


class Limit(Settings):
    name: str
    rate: Rate
    match: Match = Match()


class Concurrency(Settings):
    per_client: Annotated[int, Field(ge=1)] = 100


class Limits(PolicySettings):
    """A policy for these tests."""

    limits: tuple[Limit, ...] = ()
    """Limits."""
    concurrency: Concurrency | None = None
    window: Literal["fixed", "sliding"] = "sliding"
    pause: Duration = 1.5
    sources: Annotated[tuple[str, ...], OneOrMore()] = ()
    lowest: int = 0
    highest: int = 9

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.lowest > self.highest:
            raise expectation("expected no more than highest", at="lowest")
        return self


POLICIES = {"limits": Limits, "plain": PolicySettings}


def settings_classes() -> Mapping[str, type[PolicySettings]]:
    """Return those of the real policies, which only the tests of whole files need."""
    from aupgate.build import settings_classes as real

    return real()


def loaded(config: Mapping[str, Any] | Path | None = None, **environ: str) -> Loaded:
    return load(config, policies=POLICIES, environ=environ)


def problems(config: Mapping[str, Any] | Path | None, **environ: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        loaded(config, **environ)
    return caught.value.problems


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode())
    return path
