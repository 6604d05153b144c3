"""The configurations that are measured: the example's, with limits too high to refuse, and larger ones made from it."""

import json
import re
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
EXAMPLE: Final = ROOT / "examples" / "saas"

_NEVER_REACHED: Final = "1000000000/"
_QUIET: Final[Mapping[str, Any]] = {"admin": {"listen": "off"}, "log": {"audit": "off", "access": "off"}}

Configuration = dict[str, Any]


def example() -> Configuration:
    """Return the example's configuration: every policy enforced, nothing logged, and limits that nobody reaches."""
    config = tomllib.loads((EXAMPLE / "config.toml").read_text(encoding="utf-8"))
    limits = config["policies"]["rate_limits"]
    for limit in limits["limits"]:
        limit["rate"] = re.sub(r"\d+/", _NEVER_REACHED, limit["rate"])
    limits["concurrency"]["per_client"] = 1_000_000
    config["policies"]["interfaces"]["openapi"] = "openapi.json"
    return {**config, **_QUIET}


def defaults() -> Configuration:
    """Return what a site gets that writes no configuration, but nothing logged."""
    return dict(_QUIET)


def off() -> Configuration:
    """Return a configuration in which no policy runs."""
    return {"gateway": {"mode": "off"}, **_QUIET}


def without_uploads(config: Configuration) -> Configuration:
    """Return `config` without the policy that inspects bodies."""
    policies = {**config["policies"], "uploads": {"mode": "off"}}
    return {**config, "policies": policies}


def grown(*, limits: int = 0, ranges: int = 0, routes: int = 0) -> Configuration:
    """Return the example's configuration with `limits` limits in all, `ranges` trusted networks, `routes` more routes.

    The limits that are added count other paths than the ones that are asked for.
    """
    config = example()
    counted = config["policies"]["rate_limits"]["limits"]
    counted += [_limit(number) for number in range(limits - len(counted))]
    if ranges:
        config["client"] = {"trusted_proxies": [f"10.{n >> 8}.{n & 255}.0/24" for n in range(ranges)]}
    allowed = config["policies"]["interfaces"]["allow"]
    allowed += [{"path": f"/sections/{n}/{{rest:path}}", "methods": ["GET"]} for n in range(routes)]
    return config


def _limit(number: int) -> dict[str, Any]:
    return {
        "name": f"report_{number}",
        "rate": f"{_NEVER_REACHED}minute",
        "key": ["client"],
        "match": {"path": f"/reports/{number}/{{rest:path}}", "methods": ["GET"]},
    }


def lay_out(directory: Path) -> None:
    """Put the files that the example's configuration refers to into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("keys.toml", "openapi.json"):
        shutil.copy(EXAMPLE / name, directory / name)


def to_toml(config: Mapping[str, Any]) -> str:
    """Return `config` as TOML, one line for each top-level key."""
    return "".join(f"{key} = {_value(value)}\n" for key, value in config.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)
