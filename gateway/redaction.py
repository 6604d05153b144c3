"""Keeping secrets out of logs: what an audit or access line may say of a request."""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from aupgate.model import Account

REDACTED: Final = "[redacted]"
MAX_TEXT: Final = 512
"""Characters of a logged text; the rest is cut and marked."""

_SECRET_NAME: Final = re.compile(
    r"pass(?:word|wd|phrase)?|secret|token|api[-_]?key|apikey|access[-_]?key|auth|authorization|cookie|session|signature|sig|code|otp|pin|jwt",
    re.IGNORECASE,
)
_PAIR: Final = re.compile(r"([?&;]|^)([^=&;?#]+)=([^&;#]*)")
_USERINFO: Final = re.compile(r"(?<=://)[^/@\s]+@")


def redact_target(target: bytes) -> str:
    """Return a request target that may be logged: the values of query parameters that name secrets are replaced."""
    path, mark, query = target.decode("latin-1").partition("?")
    text = _USERINFO.sub(f"{REDACTED}@", path) + mark + _PAIR.sub(_redact_pair, query)
    return shorten(text)


def _redact_pair(found: re.Match[str]) -> str:
    separator, name, text = found.groups()
    return f"{separator}{name}={REDACTED if _SECRET_NAME.search(name) and text else text}"


def redact(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Return evidence that may be logged: values under names of secrets replaced, long texts cut, bytes as text."""
    return {name: REDACTED if _SECRET_NAME.fullmatch(name) else _plain(found) for name, found in evidence.items()}


def _plain(found: Any) -> Any:
    match found:
        case str():
            return shorten(found)
        case bytes():
            return shorten(found.decode("latin-1"))
        case Mapping():
            return redact(found)
        case bool() | int() | float() | None:
            return found
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in list(found)[:32]]
        case _:
            return shorten(str(found))


def shorten(text: str) -> str:
    """Return `text`, cut at `MAX_TEXT` characters with what was left out counted."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text) - MAX_TEXT} more)"


def account_hash(account: Account | None) -> str | None:
    """Return the account as logs name it: the first 16 hexadecimal digits of the SHA-256 of its source and id."""
    return sha256(f"{account.source}:{account.id}".encode()).hexdigest()[:16] if account else None
