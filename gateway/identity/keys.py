"""The file of known API keys."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from aupgate.errors import ConfigError, Problem
from aupgate.model import Account

_DIGEST: Final = re.compile("[0-9A-Fa-f]{64}")


class KnownKeys:
    """The accounts of known API keys. `read` reads them from `path`, at once and again when the file changes."""

    def __init__(self, path: Path | None = None, accounts: Mapping[str, Account] | None = None) -> None:
        """Take accounts by the SHA-256 of their key, in hexadecimal, until `path` is read."""
        self._path = path
        self._accounts = accounts or {}

    def read(self) -> Sequence[Path]:
        """Read the file anew and return its path, as `Watcher` wants it. Raises `ConfigError`."""
        if self._path is None:
            return ()
        self._accounts = load_keys(self._path)  # replaced at once: a request sees the old keys or the new
        return [self._path]

    def find(self, key: bytes) -> Account | None:
        """Return the account that `key` stands for.

        The key is secret and the table is of its digests: an equal digest is proof. How long the look-up takes tells
        of digests only, and from those of made-up keys no key can be worked out, so it need not take constant time.
        """
        return self._accounts.get(sha256(key).hexdigest())


def load_keys(path: Path) -> dict[str, Account]:
    """Read the file of known API keys; return the account of each key by the key's SHA-256, in hexadecimal.

    The file holds `[[keys]]` with id, sha256, and optionally plan and parent. Raises `ConfigError` with every problem.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(str(path), None, "", "", f"a readable TOML file of known keys: {error}")]) from error
    entries = document.pop("keys", [])
    wrong = [(unknown, "", "unknown key; the file holds [[keys]] tables") for unknown in document]
    for index, entry in enumerate(entries if isinstance(entries, list) else [entries]):
        wrong += [(f"keys[{index}]{key}", given, expected) for key, given, expected in _wrong_with_key(entry)]
    if wrong:
        raise ConfigError([Problem(str(path), None, key, given, expected) for key, given, expected in wrong])
    return {
        entry["sha256"].lower(): Account(
            entry["id"], "key", verified=True, plan=entry.get("plan"), parent=entry.get("parent")
        )
        for entry in entries
    }


def _wrong_with_key(entry: object) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with one entry: the key below it, what is given, what is expected."""
    if not isinstance(entry, dict):
        yield "", repr(entry), "expected a table with id and sha256"
        return
    for name in sorted(entry.keys() - {"id", "sha256", "plan", "parent"}):
        yield f".{name}", "", "unknown key; known are id, sha256, plan, parent"
    for name in ("id", "plan", "parent"):
        given = entry.get(name, "" if name == "id" else "-")
        if not isinstance(given, str) or not given:
            yield f".{name}", repr(given), "expected a string that is not empty"
    digest = entry.get("sha256")
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        yield ".sha256", repr(digest)[:12], "expected the SHA-256 of the key, 64 hexadecimal digits"
