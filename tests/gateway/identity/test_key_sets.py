"""Key sets: which key verifies what."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from aupgate.errors import ConfigError
from aupgate.identity.key_sets import MAX_DOCUMENT, MAX_KEYS, MAX_TRIED, KeyFile, KeySet, parse
from aupgate.watching import Watcher
from tests.gateway.identity.issuers import SECRET, jwk, key_set, private_key, public_key, segment, signer

ALL = ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS512"]
RSA_PEM = public_key("RS256").public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_jwk() -> dict[str, Any]:
    made = RSAAlgorithm.to_jwk(private_key("RS256"), as_dict=True)
    return {name: text for name, text in made.items() if name != "key_ops"}


def weak() -> dict[str, Any]:
    return dict(RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True))


def verified_by(keys: KeySet) -> list[str]:
    return [algorithm for algorithm in ALL if keys.fitting(algorithm, None)]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param(jwk("RS256"), ["RS256", "PS256"], id="RSA"),
        pytest.param(jwk("RS256", alg="PS256"), ["PS256"], id="RSA for one algorithm"),
        pytest.param(jwk("ES256"), ["ES256"], id="P-256"),
        pytest.param(jwk("ES384"), ["ES384"], id="P-384"),
        pytest.param(jwk("ES512"), ["ES512"], id="P-521"),
        pytest.param(jwk("EdDSA"), ["EdDSA"], id="Ed25519"),
        pytest.param(jwk("HS512"), ["HS256", "HS512"], id="secret"),
        pytest.param(jwk("RS256", use="sig", key_ops=["verify"]), ["RS256", "PS256"], id="for signatures"),
        pytest.param(jwk("RS256", use="enc"), [], id="for encryption"),
        pytest.param(jwk("RS256", key_ops=["encrypt"]), [], id="to encrypt with"),
        pytest.param(jwk("RS256", key_ops="verify"), [], id="operations are no list"),
        pytest.param(jwk("RS256", alg="RSA-OAEP"), [], id="for another algorithm"),
        pytest.param(jwk("RS256", alg="HS256"), [], id="says that it is a secret"),
        pytest.param(jwk("RS256", kty="oct"), [], id="RSA dressed as a secret"),
        pytest.param({**jwk("RS256"), "kty": "oct", "k": segment(RSA_PEM).decode()}, [], id="PEM as a secret"),
        pytest.param(jwk("ES256", crv="P-384"), [], id="point of another curve"),
        pytest.param(jwk("ES256", y=jwk("ES256")["x"]), [], id="point on no curve"),
        pytest.param(jwk("ES256", crv="secp256k1"), [], id="another curve"),
        pytest.param(jwk("ES256", crv=["P-256"]), [], id="curve is a list"),
        pytest.param(jwk("EdDSA", crv="X25519"), [], id="curve for agreement"),
        pytest.param({"kty": "oct", "k": segment(SECRET[:32]).decode()}, ["HS256"], id="secret too short for HS512"),
        pytest.param({"kty": "oct", "k": segment(b"short").decode()}, [], id="short secret"),
        pytest.param({"kty": "oct", "k": ""}, [], id="empty secret"),
        pytest.param({"kty": "RSA", "n": 7, "e": 3}, [], id="members are numbers"),
        pytest.param({"kty": "RSA"}, [], id="members are missing"),
        pytest.param({"kty": "RSA", "n": jwk("RS256")["n"], "e": "AQ"}, [], id="exponent of one"),
        pytest.param(weak(), [], id="weak RSA"),
        pytest.param({"kty": "DSA"}, [], id="unknown type"),
        pytest.param({}, [], id="nothing"),
        pytest.param([], [], id="no object"),
        pytest.param(private_jwk(), ["RS256", "PS256"], id="private key, of which the public part counts"),
    ],
)
def test_a_key_verifies_what_it_is_for(key: Any, expected: list[str]) -> None:
    assert verified_by(parse(key_set(key), ALL, secrets=True)) == expected


def test_a_private_key_verifies() -> None:
    (check,) = parse(key_set(private_jwk()), ["RS256"], secrets=True).fitting("RS256", None)

    assert check(b"text", signer("RS256")(b"text"))
    assert not check(b"texT", signer("RS256")(b"text"))


def test_secrets_come_from_files_only() -> None:
    document = key_set(jwk("HS256"), jwk("RS256"))

    assert verified_by(parse(document, ALL, secrets=False)) == ["RS256", "PS256"]


def test_only_what_is_accepted_is_made_of_keys() -> None:
    assert verified_by(parse(key_set(jwk("RS256"), jwk("ES256")), ["ES256"], secrets=True)) == ["ES256"]


def test_one_broken_key_does_not_harm_the_others(caplog: pytest.LogCaptureFixture) -> None:
    keys = parse(key_set({"kty": "RSA", "kid": "broken"}, jwk("RS256", "good")), ["RS256"], secrets=False)

    assert keys.fitting("RS256", "good")
    assert "'broken' cannot be used for RS256" in caplog.text


def test_a_token_means_the_key_that_it_names() -> None:
    keys = parse(key_set(jwk("RS256", "a"), jwk("RS256", "b", 1), jwk("ES256", "a")), ALL, secrets=False)

    assert [len(keys.fitting(*each)) for each in (("RS256", "a"), ("RS256", "c"), ("RS256", None), ("ES256", "b"))] == [
        1, 0, 2, 0,
    ]  # fmt: skip


def test_a_token_is_tried_with_few_keys() -> None:
    same = [jwk("ES256", kid) for kid in (None, "a") for _ in range(10)]
    keys = parse(key_set(*same), ["ES256"], secrets=False)

    assert [len(keys.fitting("ES256", kid)) for kid in (None, "a", "b")] == [MAX_TRIED] * 3


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>", id="a page"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"{}", id="no keys"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"keys": {}}', id="keys are no list"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(key_set(*[{}] * (MAX_KEYS + 1)), id="too many keys"),
        pytest.param(key_set() + b" " * MAX_DOCUMENT, id="too large"),
    ],
)
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"[kK]ey [sS]et"):
        parse(document, ALL, secrets=True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.sampled_from(["kty", "kid", "alg", "use", "key_ops", "n", "e", "crv", "x", "y", "k"])


@given(st.lists(st.dictionaries(MEMBERS, JSON | st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "Ed25519"]))))
def test_any_key_is_used_or_left_out(keys: list[dict[str, Any]]) -> None:
    logging.getLogger("aupgate").setLevel(logging.CRITICAL)
    try:
        parse(key_set(*keys[:MAX_KEYS]), ALL, secrets=True)
    finally:
        logging.getLogger("aupgate").setLevel(logging.NOTSET)


# -- files -------------------------------------------------------------------------------------------------------------


def replace(path: Path, document: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(document)
    new.replace(path)


def test_a_file_is_used_at_once_and_whenever_its_keys_change(tmp_path: Path) -> None:
    path, used = tmp_path / "jwks.json", list[KeySet]()
    path.write_bytes(key_set(jwk("RS256", "a")))
    watcher = Watcher()
    watcher.watch(KeyFile(path, ["RS256"], used.append).read)
    for document in (key_set(jwk("RS256", "a")), key_set(jwk("RS256", "b")), b"{", key_set()):
        replace(path, document)
        watcher.look()
    watcher.stop()

    assert [[bool(keys.fitting("RS256", kid)) for kid in "ab"] for keys in used] == [
        [True, False],
        [False, True],
        [False, False],  # withdrawn
    ]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (None, "a readable key set: .*No such file"),
        (b"{", "expected a JSON Web Key Set"),
        (b" " * (MAX_DOCUMENT + 1), "at most 262144 bytes"),
        (key_set(), "at least one usable key for RS256"),
        (json.dumps({"keys": [jwk("ES256")]}).encode(), "at least one usable key for RS256"),
    ],
    ids=["none", "no JSON", "too large", "empty", "other keys"],
)
def test_a_file_that_cannot_be_used_is_a_mistake_at_the_start(
    tmp_path: Path, document: bytes | None, expected: str
) -> None:
    path = tmp_path / "jwks.json"
    if document is not None:
        path.write_bytes(document)

    with pytest.raises(ConfigError, match=expected) as raised:
        KeyFile(path, ["RS256"], lambda _: None).read()
    assert str(path) in str(raised.value)
