"""Verifying tokens in tests: a verifier with keys for every algorithm and a clock that stands still."""

from collections.abc import Mapping
from typing import Any

from aupgate.config import JwtSettings
from aupgate.fields import Fields
from aupgate.identity.accounts import AccountResolver
from aupgate.identity.key_sets import KeySet, parse
from aupgate.identity.tokens import Tokens
from aupgate.model import Account
from tests.gateway.identity.issuers import CLAIMS, NOW, jwk, key_set

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS512"]
KEYS = parse(key_set(*(jwk(each, each, alg=each) for each in ALGORITHMS)), ALGORITHMS, secrets=True)
SETTINGS: Mapping[str, Any] = {"issuer": "https://login.example", "audience": "app", "algorithms": ALGORITHMS}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def verifier(*ids: str, keys: KeySet = KEYS, clock: Clock | None = None, **settings: Any) -> Tokens:
    tokens = Tokens(JwtSettings(**{**SETTINGS, **settings}), ids or ("sub",), clock=clock or Clock())
    tokens.use(keys)
    return tokens


def named(tokens: Tokens, *texts: bytes, field: bytes = b"authorization", claim: str = "sub") -> Account | None:
    fields = Fields([(b"host", b"app.example"), *((field, text) for text in texts)])
    return AccountResolver.configured([f"jwt:{claim}"], tokens=tokens).resolve(fields)


def bearer(text: bytes) -> bytes:
    return b"Bearer " + text


def counted(tokens: Tokens) -> dict[str, int]:
    return {outcome.value: count for outcome, count in tokens.counts.items() if count}


def claims(**changed: Any) -> dict[str, Any]:
    return {name: text for name, text in {**CLAIMS, **changed}.items() if text is not ...}
