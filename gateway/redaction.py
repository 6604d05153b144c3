"""Keeping secrets out of logs: what an audit or access line may say of a request."""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote

from aupgate.model import Account

REDACTED: Final = "[redacted]"
MAX_TEXT: Final = 512
"""Characters of a logged text; the rest is cut and marked."""

_SECRET_NAME: Final = re.compile(
    r"pass|pwd|^pw$|secret|token|key|auth|cred|cookie|sess|^sid$|sig|code|otp|^pin$|jwt|ticket|assertion|saml",
    re.IGNORECASE,
)
_SECRET_EVIDENCE: Final = re.compile(r"password|secret|token|api[-_]?key|authorization|cookie|session", re.IGNORECASE)
_PAIR: Final = re.compile(r"([?&;]|^)([^=&;?#/]{1,256})=([^&;#]*)")
_PARAMETER: Final = re.compile(r";([^=;/?]{1,256})=([^;/?]*)")
_USERINFO: Final = re.compile(r"(?<![^/\s])[^/@\s:]{0,256}:[^/@\s]{0,256}@")


def redact_target(target: bytes) -> str:
    """Return a request target that may be logged: values that belong to names of secrets are replaced.

    That goes for the query, also one within a value, for parameters of path segments, and for user information.
    """
    path, mark, query = target.decode("latin-1").partition("?")
    path = _USERINFO.sub(f"{REDACTED}@", _PARAMETER.sub(_redact_parameter, path))
    return shorten(_printable(path + mark + _PAIR.sub(_redact_pair, query)))


def _redact_pair(found: re.Match[str]) -> str:
    separator, name, text = found.groups()
    return f"{separator}{name}={REDACTED if text and _tells(name, text) else text}"


def _redact_parameter(found: re.Match[str]) -> str:
    name, text = found.groups()
    return f";{name}={REDACTED if text and _tells(name, text) else text}"


def _tells(name: str, text: str) -> bool:
    """Tell whether a value is a secret by its name, or holds a query with one."""
    inner = unquote(text)
    return bool(_SECRET_NAME.search(unquote(name))) or ("=" in inner and bool(_SECRET_NAME.search(inner)))


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)


def redact(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Return evidence that may be logged: values under names of secrets replaced, long texts cut, bytes as text."""
    return {name: REDACTED if _SECRET_EVIDENCE.fullmatch(name) else _plain(found) for name, found in evidence.items()}


def _plain(found: Any) -> Any:
    match found:
        case str():
            return shorten(_USERINFO.sub(f"{REDACTED}@", found))
        case bytes():
            return _plain(found.decode("latin-1"))
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
