"""Accounts by signed tokens: a JWT (RFC 7519, RFC 8725) in a header field or a cookie names whom a request acts for.

A token names somebody when its signature, its times, its issuer and its audience hold; else it names nobody, and the
next source is asked. It is read strictly (`aupgate.identity.compact`) and verified with the issuer's keys
(`aupgate.identity.key_sets`).

Verified tokens are remembered until they expire, so that a request costs one look-up. Refused ones are remembered for
a minute, apart from them: clients that send an expired token again and again cost as little. Tokens that are made up
anew for every request cost a verification each, 10 to 150 microseconds (ES512: 600), about what a request costs anyway;
what bounds requests bounds them too. All is forgotten when the keys change.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from aupgate.config.tables import AccountSettings, JwtSettings
from aupgate.errors import ConfigError, Problem
from aupgate.identity.compact import Compact, TokenError, TokenOutcome, read, read_object
from aupgate.identity.key_sets import KeyFile, KeySet
from aupgate.metrics import Family, Metrics
from aupgate.model import Account
from aupgate.watching import Watcher

MAX_TOKENS: Final = 10_000
"""Verified tokens that are remembered; the memory starts anew when it is full."""
MAX_REFUSED: Final = 2_048
"""Refused tokens that are remembered, likewise."""
REFUSED_FOR: Final = 60.0
"""Seconds for which a refused token is remembered."""
LONGEST: Final = 4_096
"""Bytes of a field that is remembered as it is; a longer one by its SHA-256. So 48 MiB bound it all."""
MAX_CLAIM: Final = 256
"""Characters of a claim that names an account, and of one that is passed on."""

# An unknown key may be fetched any moment, and time alone makes the others valid.
_PASSING: Final = frozenset({TokenOutcome.UNKNOWN_KEY, TokenOutcome.NOT_YET_VALID, TokenOutcome.ERROR})
_ACCEPTED: Final = TokenOutcome.ACCEPTED

_log = logging.getLogger("aupgate")


class Token(NamedTuple):
    """A verified token."""

    until: float
    """When it expires, in seconds since the epoch, with the leeway."""
    accounts: Mapping[str, Account]
    """The account that each claim names."""


class _Known:
    """The keys that hold, and what is known of tokens by them. It is replaced as a whole when the keys change."""

    __slots__ = ("keys", "refused", "verified")

    def __init__(self, keys: KeySet) -> None:
        self.keys = keys
        # By the field, or by the SHA-256 of a long one as a string: no field can pass for it. The look-up compares no
        # secret byte by byte: a dictionary goes by a keyed hash that senders do not know.
        self.verified: dict[bytes | str, Token] = {}
        self.refused: dict[bytes | str, tuple[float, TokenOutcome]] = {}


@dataclass(frozen=True, slots=True)
class Where:
    """Where the token is: a header field, or one cookie."""

    field: bytes
    cookie: bytes = b""


class Tokens:
    """Verifies the tokens of requests. `ids` are the claims that name an account, `clock` tells the time."""

    def __init__(self, settings: JwtSettings, ids: Sequence[str], *, clock: Callable[[], float] = time.time) -> None:
        self.where = Where(b"cookie", settings.cookie.encode()) if settings.cookie else Where(settings.header.encode())
        self._settings = settings
        self._algorithms = frozenset(settings.algorithms)
        self._issuers, self._audiences = frozenset(settings.issuer), frozenset(settings.audience)
        self._needs_scheme = self.where.field == b"authorization"
        self._ids = tuple(ids)
        self._clock = clock
        self._known = _Known(KeySet())
        self._failed = False
        self.counts = dict.fromkeys(TokenOutcome, 0)
        """How many tokens came to what."""
        self.missed: Callable[[], None] = _nobody
        """Called when a token is signed with a key that the set does not have."""
        self.start: Callable[[], None] = _nobody
        """To be called once, when all else is ready: keys that are fetched, are from then on."""

    def use(self, keys: KeySet) -> None:
        """Verify with `keys` from now on, and forget what was verified with others. Any thread may call it."""
        self._known = _Known(keys)

    def find(self, texts: Sequence[bytes]) -> Token | None:
        """Return the verified token in the fields, or the cookies, where tokens are; None when there is none."""
        if len(texts) != 1:
            if texts:
                self.counts[TokenOutcome.SEVERAL] += 1
            return None
        known, text = self._known, texts[0]
        token = known.verified.get(text)
        if token is not None and self._clock() < token.until:
            self.counts[_ACCEPTED] += 1
            return token
        return self._learn(known, text)

    def families(self) -> Iterator[Family]:
        """Tell of the tokens and the keys, for the metrics."""
        samples = [((outcome.value,), float(count)) for outcome, count in self.counts.items()]
        yield Family("counter", "aupgate_tokens", "Tokens, by what came of them", ("outcome",), samples)
        size = float(self._known.keys.size)
        yield Family("gauge", "aupgate_token_keys", "Keys that tokens are verified with", (), [((), size)])

    def _learn(self, known: _Known, text: bytes) -> Token | None:
        token = _bearer(text, needs_scheme=self._needs_scheme)
        if not token:
            return None
        if len(token) > self._settings.max_size:
            self.counts[TokenOutcome.TOO_LARGE] += 1
            return None
        key = text if len(text) <= LONGEST else sha256(text).hexdigest()
        now = self._clock()
        found = self._remembered(known, key, now)
        if found is None:
            found = self._verified(known, token, now)
            _remember(known, key, found, now)
        self.counts[_ACCEPTED if isinstance(found, Token) else found] += 1
        return found if isinstance(found, Token) else None

    def _remembered(self, known: _Known, key: bytes | str, now: float) -> Token | TokenOutcome | None:
        token = known.verified.get(key)
        if token is not None:
            if now < token.until:
                return token
            known.verified.pop(key, None)
        until, outcome = known.refused.get(key, (0.0, None))
        return outcome if 0 < until - now <= REFUSED_FOR else None  # the clock may be set back

    def _verified(self, known: _Known, token: bytes, now: float) -> Token | TokenOutcome:
        try:
            return self._verify(known.keys, read(token), now)
        except TokenError as refused:
            return refused.outcome
        except Exception:  # noqa: BLE001 - whatever a token does, it names nobody, and the request goes on
            if not self._failed:  # senders choose how often: the others are counted
                self._failed = True
                _log.exception("a token could not be verified; further ones are only counted, as `error`")
            return TokenOutcome.ERROR

    def _verify(self, keys: KeySet, parts: Compact, now: float) -> Token:
        if parts.algorithm not in self._algorithms:
            raise TokenError(TokenOutcome.ALGORITHM)
        checks = keys.fitting(parts.algorithm, parts.key_id)
        if not checks:
            self.missed()
            raise TokenError(TokenOutcome.UNKNOWN_KEY)
        if not any(check(parts.signed, parts.signature) for check in checks):
            raise TokenError(TokenOutcome.SIGNATURE)
        claims = read_object(parts.payload)
        until = self._until(claims, now)
        self._check_parties(claims)
        return Token(until, self._accounts(claims))

    def _until(self, claims: Mapping[str, Any], now: float) -> float:
        """Return when a token expires (RFC 7519 sections 4.1.4 to 4.1.6)."""
        leeway = self._settings.leeway
        if claims.get("exp") is None:
            raise TokenError(TokenOutcome.NO_EXPIRY)
        until = _instant(claims["exp"]) + leeway
        if now >= until:
            raise TokenError(TokenOutcome.EXPIRED)
        for name in ("nbf", "iat"):
            if claims.get(name) is not None and _instant(claims[name]) > now + leeway:
                raise TokenError(TokenOutcome.NOT_YET_VALID)
        return until

    def _check_parties(self, claims: Mapping[str, Any]) -> None:
        """Check who issued a token, and for whom: one for others is refused, also where no audience is configured."""
        issuer, audience = claims.get("iss"), claims.get("aud")
        if self._issuers and not (isinstance(issuer, str) and issuer in self._issuers):
            raise TokenError(TokenOutcome.ISSUER)
        for_whom = audience if isinstance(audience, list) else [] if audience is None else [audience]
        meant = any(isinstance(each, str) and each in self._audiences for each in for_whom)
        if not meant and (self._audiences or audience is not None):
            raise TokenError(TokenOutcome.AUDIENCE)

    def _accounts(self, claims: Mapping[str, Any]) -> Mapping[str, Account]:
        plan = self._optional(claims, self._settings.plan_claim)
        parent = self._optional(claims, self._settings.parent_claim)
        passed = {name: text for name in self._settings.claims if (text := _text(claims.get(name))) is not None}
        kept = MappingProxyType(passed) if passed else None  # the application is given what later requests are, too
        accounts = {
            name: Account(claims[name], f"jwt:{name}", True, plan, parent, kept)
            for name in self._ids
            if _names(claims.get(name))
        }
        if not accounts:
            raise TokenError(TokenOutcome.CLAIM)
        return accounts

    def _optional(self, claims: Mapping[str, Any], name: str | None) -> str | None:
        """Return a claim that may be absent. One that cannot be read names nobody: else its limits would not hold."""
        found = claims.get(name) if name else None
        if found is None:
            return None
        if not _names(found):
            raise TokenError(TokenOutcome.CLAIM)
        return str(found)


def build(settings: AccountSettings, base: Path, watcher: Watcher, metrics: Metrics) -> Tokens:
    """Build what verifies the tokens of the sources `jwt:CLAIM`; a file of keys is read at once.

    Raises `ConfigError` when the file of keys, or PyJWT, cannot be used.
    """
    jwt, jwks = settings.jwt, settings.jwt.jwks or ""
    _check_installed(jwt)
    tokens = Tokens(jwt, [source.partition(":")[2] for source in settings.sources if source.startswith("jwt:")])
    metrics.show(tokens.families)
    if not jwks.startswith(("http:", "https:")):
        watcher.watch(KeyFile(base / jwks, jwt.algorithms, tokens.use).read)
        return tokens
    from aupgate.identity.key_fetching import KeyFetcher  # noqa: PLC0415 - brings clients for HTTP and TLS along

    authorities = jwt.ca_file and base / jwt.ca_file
    try:
        fetcher = KeyFetcher(jwks, jwt.algorithms, tokens.use, every=jwt.refresh, ca_file=authorities)
    except OSError as error:
        raise ConfigError([Problem(str(authorities), None, "", "", f"a PEM file of authorities: {error}")]) from error
    metrics.show(fetcher.families)
    tokens.missed, tokens.start = fetcher.missed, fetcher.start
    return tokens


def _check_installed(settings: JwtSettings) -> None:
    try:
        from jwt.algorithms import has_crypto  # noqa: PLC0415 - needed only where tokens are
    except ImportError:
        has_crypto = False
    if not has_crypto:
        expected = "tokens need PyJWT with cryptography: pip install 'aupgate[jwt]'"
        raise ConfigError([Problem("configuration", None, "account.jwt", ", ".join(settings.algorithms), expected)])


def _nobody() -> None:
    """Nothing to fetch: a file is watched."""


def _remember(known: _Known, key: bytes | str, found: Token | TokenOutcome, now: float) -> None:
    if isinstance(found, Token):
        if len(known.verified) >= MAX_TOKENS:
            known.verified.clear()
        known.verified[key] = found
    elif found not in _PASSING:
        if len(known.refused) >= MAX_REFUSED:
            known.refused.clear()
        known.refused[key] = now + REFUSED_FOR, found


def _bearer(text: bytes, *, needs_scheme: bool) -> bytes:
    """Return the token in a field (RFC 6750 section 2.1), empty when it holds none, such as a password."""
    if text[:7].lower() == b"bearer ":
        return text[7:].strip(b" ")
    return b"" if needs_scheme else text.strip(b" ")


def _instant(found: object) -> float:
    """Return a NumericDate (RFC 7519 section 2)."""
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise TokenError(TokenOutcome.MALFORMED)
    try:
        instant = float(found)
    except OverflowError:
        instant = math.inf
    if not math.isfinite(instant):
        raise TokenError(TokenOutcome.MALFORMED)
    return instant


def _names(found: object) -> bool:
    """Tell whether a claim can name an account: a text that prints, not too long."""
    return isinstance(found, str) and 0 < len(found) <= MAX_CLAIM and found.isprintable()


def _text(found: object) -> str | None:
    """Return a claim that is passed on as text, None when it is not a string, number or boolean of some length."""
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, int | float):
        found = str(found)
    return found if isinstance(found, str) and _names(found) else None
