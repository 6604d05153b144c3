"""The keys that an issuer signs its tokens with: a JSON Web Key Set (RFC 7517), from a file or a document fetched.

A key verifies only what it is for: the algorithm must fit its type and curve, and what the key says of itself (`alg`,
`use`, `key_ops`). So no public key can be taken for the secret of an HMAC, whatever a token says.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from aupgate.errors import ConfigError, Problem

MAX_DOCUMENT: Final = 256 * 2**10
"""Bytes of a key set. Those of large issuers have 20 KiB."""
MAX_KEYS: Final = 64
"""Keys of a set."""
MAX_TRIED: Final = 4
"""Keys that a token is tried with at most, where its header does not tell them apart."""
RSA_BITS: Final = range(2048, 8193)
"""Lengths of RSA keys: below is too weak (RFC 7518 section 3.3), beyond is slow."""

Check = Callable[[bytes, bytes], bool]
"""Tells whether the second is a signature of the first."""

_EC: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_PUBLIC: Final = {
    "RSA": ("n", "e"),
    "EC": ("crv", "x", "y"),
    "OKP": ("crv", "x"),
    "oct": ("k",),
}
"""The members that a key is made of, by its type. A private part is never looked at."""

_log = logging.getLogger("aupgate")


class KeySet:
    """Keys by what they verify."""

    __slots__ = ("_any", "_named", "_unnamed", "size")

    def __init__(self, keys: Sequence[tuple[str, str | None, Check]] = ()) -> None:
        """Take keys as algorithm, name (`kid`) and check."""
        self.size = len(keys)
        self._named: dict[tuple[str, str], tuple[Check, ...]] = {}
        self._unnamed: dict[str, tuple[Check, ...]] = {}
        self._any: dict[str, tuple[Check, ...]] = {}
        for algorithm, key_id, check in keys:
            self._any[algorithm] = (*self._any.get(algorithm, ()), check)[:MAX_TRIED]
            if key_id is None:
                self._unnamed[algorithm] = (*self._unnamed.get(algorithm, ()), check)[:MAX_TRIED]
            else:
                named = self._named.get((algorithm, key_id), ())
                self._named[algorithm, key_id] = (*named, check)[:MAX_TRIED]

    def fitting(self, algorithm: str, key_id: str | None) -> tuple[Check, ...]:
        """Return the checks of the keys that a token names, or may mean where it or the set names none."""
        if key_id is None:
            return self._any.get(algorithm, ())
        return self._named.get((algorithm, key_id)) or self._unnamed.get(algorithm, ())


Use = Callable[[KeySet], None]
"""Takes the keys that hold from now on."""


def parse(document: bytes, algorithms: Sequence[str], *, secrets: bool) -> KeySet:
    """Return the keys of a set that verify one of `algorithms`; secrets (`oct`) only where `secrets` is true.

    Keys that cannot be used are left out and logged (RFC 7517 section 5). Raises ValueError when it is no key set.
    """
    if len(document) > MAX_DOCUMENT:
        raise ValueError(f"a key set has at most {MAX_DOCUMENT} bytes")
    try:
        keys = json.loads(document)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError('expected a JSON Web Key Set, {"keys": [...]}') from error
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise ValueError(f'expected a JSON Web Key Set with a list of at most {MAX_KEYS} "keys"')
    found = [found for jwk in keys for found in _checks(jwk, algorithms, secrets=secrets)]
    if not found:
        _log.warning("the key set has no key for %s: tokens name nobody", ", ".join(algorithms))
    return KeySet(found)


def _checks(jwk: object, algorithms: Sequence[str], *, secrets: bool) -> Iterator[tuple[str, str | None, Check]]:
    """Yield what one key verifies: for each algorithm, the key's name and its check."""
    if not isinstance(jwk, dict):
        _log.warning("a key of the key set is no JSON object, it is not used")
        return
    key_id = jwk.get("kid")
    for algorithm in algorithms:
        if not _fits(jwk, algorithm) or (jwk["kty"] == "oct" and not secrets):
            continue
        try:
            yield algorithm, key_id if isinstance(key_id, str) else None, _check(jwk, algorithm)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one key, the others hold
            _log.warning("the key %.64r cannot be used for %s: %s", key_id, algorithm, error)


def _fits(jwk: Mapping[str, Any], algorithm: str) -> bool:
    """Tell whether a key is for `algorithm`: by its type and curve, and by what it says of itself."""
    operations = jwk.get("key_ops", ["verify"])
    return (
        _is_of_type(jwk, algorithm)
        and jwk.get("alg", algorithm) == algorithm
        and jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )


def _is_of_type(jwk: Mapping[str, Any], algorithm: str) -> bool:
    kind, curve = jwk.get("kty"), jwk.get("crv")
    match algorithm[:2]:
        case "RS" | "PS":
            return kind == "RSA"
        case "ES":
            return kind == "EC" and isinstance(curve, str) and _EC.get(curve) == algorithm
        case "Ed":
            return kind == "OKP" and curve in ("Ed25519", "Ed448")
        case "HS":
            return kind == "oct"
        case _:
            return False


def _check(jwk: Mapping[str, Any], algorithm: str) -> Check:
    """Return the check of one key. Raises when it cannot be used."""
    from jwt import PyJWK  # noqa: PLC0415 - brings cryptography along, and only who verifies tokens needs it

    members = {name: jwk[name] for name in _PUBLIC[jwk["kty"]]}
    made = PyJWK.from_dict({"kty": jwk["kty"], **members}, algorithm)
    if jwk["kty"] == "RSA" and made.key.key_size not in RSA_BITS:
        raise ValueError(f"expected a key of {RSA_BITS[0]} to {RSA_BITS[-1]} bits")
    if jwk["kty"] == "oct" and len(made.key) * 8 < int(algorithm[2:]):
        raise ValueError(f"expected a secret of at least {algorithm[2:]} bits (RFC 7518 section 3.2)")
    verify, key = made.Algorithm.verify, made.Algorithm.prepare_key(made.key)
    return lambda signed, signature: verify(signed, key, signature)


class KeyFile:
    """A key set in a file; `use` is given its keys, at once and whenever they change."""

    def __init__(self, path: Path, algorithms: Sequence[str], use: Use) -> None:
        self._path = path
        self._algorithms = algorithms
        self._use = use
        self._digest = b""

    def read(self) -> Sequence[Path]:
        """Read the file and return its path, as `Watcher` wants it. Raises `ConfigError`.

        A set without a usable key is a mistake at the start; later it is obeyed, because emptying it withdraws keys.
        """
        try:
            with self._path.open("rb") as file:
                document = file.read(MAX_DOCUMENT + 1)
            keys = parse(document, self._algorithms, secrets=True)
        except (OSError, ValueError) as error:
            raise ConfigError([Problem(str(self._path), None, "", "", f"a readable key set: {error}")]) from error
        if not keys.size and not self._digest:
            expected = f"expected at least one usable key for {', '.join(self._algorithms)}"
            raise ConfigError([Problem(str(self._path), None, "keys", "", expected)])
        digest = sha256(document).digest()
        if digest != self._digest:
            self._digest = digest
            self._use(keys)
        return [self._path]
