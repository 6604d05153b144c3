"""The compact form of signed tokens (RFC 7515 section 7.1), read strictly.

It is read, or `TokenError` is raised: nothing else. What two readers could take differently is refused, because the
application reads the token too: padding and other spellings of the same bytes, members of one name, text that is not
UTF-8, numbers that JSON does not have.
"""

import json
import re
from binascii import a2b_base64, b2a_base64
from enum import StrEnum
from typing import Any, Final, NamedTuple, NoReturn

MAX_KEY_ID: Final = 256
"""Characters of the name of a key."""
TYPES: Final = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
"""What a token may say it is, in lower case; it may also say nothing.

An issuer signs other things with the same keys, such as logout tokens and proofs (RFC 8725 section 3.11).
"""
_COMPACT: Final = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)").fullmatch
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


class TokenOutcome(StrEnum):
    """What became of a token: accepted, or why not."""

    ACCEPTED = "accepted"
    TOO_LARGE = "too_large"
    SEVERAL = "several"
    MALFORMED = "malformed"
    TYPE = "type"
    CRITICAL = "critical"
    ALGORITHM = "algorithm"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE = "signature"
    NO_EXPIRY = "no_expiry"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    CLAIM = "claim"
    ERROR = "error"


class TokenError(ValueError):
    """A token names nobody; `outcome` says why."""

    def __init__(self, outcome: TokenOutcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


class Compact(NamedTuple):
    """A token taken apart. Nothing in it is proven."""

    algorithm: str
    key_id: str | None
    signed: bytes
    """What the signature is of."""
    signature: bytes
    payload: bytes
    """The second segment, as it came: it is read when the signature has been verified."""


def read(token: bytes) -> Compact:
    """Take `token` apart; the caller bounds its size. Raises `TokenError`.

    Of the header only `alg`, `kid`, `typ` and `crit` are looked at: keys, and addresses of keys, that a token brings
    along (`jwk`, `jku`, `x5c`, `x5u`) prove nothing.
    """
    segments = _COMPACT(token)
    if segments is None:
        raise TokenError(TokenOutcome.MALFORMED)
    header = read_object(segments[1])
    if "crit" in header or header.get("b64", True) is not True:
        raise TokenError(TokenOutcome.CRITICAL)
    _check_type(header.get("typ"))
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        raise TokenError(TokenOutcome.ALGORITHM)
    if "kid" in header and not (isinstance(key_id, str) and len(key_id) <= MAX_KEY_ID):
        raise TokenError(TokenOutcome.UNKNOWN_KEY)
    return Compact(algorithm, key_id, token[: segments.end(2)], decoded(segments[3]), segments[2])


def read_object(segment: bytes) -> dict[str, Any]:
    """Return the JSON object in a segment. Raises `TokenError`."""
    try:
        found = _DECODER.decode(decoded(segment).decode())
    except (ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON, or a number of thousands of digits
        raise TokenError(TokenOutcome.MALFORMED) from error
    if not isinstance(found, dict):
        raise TokenError(TokenOutcome.MALFORMED)
    return found


def decoded(segment: bytes) -> bytes:
    """Return the bytes that a segment stands for, which no other segment stands for. Raises `TokenError`."""
    padded = segment.translate(_STANDARD) + b"=" * (-len(segment) % 4)
    try:
        found = a2b_base64(padded, strict_mode=True)
    except ValueError as error:
        raise TokenError(TokenOutcome.MALFORMED) from error
    if b2a_base64(found, newline=False) != padded:
        raise TokenError(TokenOutcome.MALFORMED)
    return found


def _check_type(given: object) -> None:
    if given is not None and not (isinstance(given, str) and given.lower() in TYPES):
        raise TokenError(TokenOutcome.TYPE)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("two members of one name")
    return members


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text!r} is no number")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_no_number)
