"""Tokens that somebody made up, bent or stole: no account, no exception."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from aupgate.fields import Fields
from aupgate.identity.accounts import AccountResolver
from aupgate.identity.key_sets import KeySet, parse
from aupgate.model import Account
from tests.gateway.identity.issuers import (
    CLAIMS,
    NOW,
    SECRET,
    compact,
    jwk,
    key_set,
    private_key,
    public_key,
    segment,
    signer,
    token,
)
from tests.gateway.identity.verifying import ALGORITHMS, bearer, claims, counted, named, verifier

GOOD = token()

RSA = public_key("RS256")
RSA_PEM = RSA.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
RSA_DER = RSA.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
RSA_JWK = json.dumps(jwk("RS256")).encode()
OTHERS = private_key("RS256", 1)
OTHERS_JWK = jwk("RS256", "RS256", 1)
HEAD, PAYLOAD, SIGNATURE = GOOD.split(b".")


def hmac(algorithm: str, key: bytes) -> Any:
    import hmac as made

    return lambda signed: made.digest(key, signed, algorithm)


def header(**members: Any) -> dict[str, Any]:
    return {"alg": "RS256", "kid": "RS256", **members}


ISSUERS: list[Any] = ["https://evil.example", "https://login.example/", ["https://login.example"], {}, ..., None, ""]

ATTACKS = [
    *(
        pytest.param(segment({"alg": none}) + b"." + PAYLOAD + b".", "malformed", id=f"{none}, no signature")
        for none in ("none", "None", "NONE", "nOnE")
    ),
    *(
        pytest.param(compact({"alg": none, "kid": "RS256"}), "algorithm", id=f"{none}, some signature")
        for none in ("none", "None", "NONE", "nOnE", "", " none", "none\0")
    ),
    *(
        pytest.param(compact({"alg": "HS256", "kid": kid}, sign=hmac("sha256", key)), expected, id=f"HS256 by {name}")
        for name, key in (
            ("PEM", RSA_PEM),
            ("PEM without line feed", RSA_PEM.strip()),
            ("DER", RSA_DER),
            ("JWK", RSA_JWK),
        )
        for kid, expected in (("RS256", "unknown_key"), ("HS256", "signature"))
    ),
    pytest.param(compact({"alg": "HS256"}, sign=hmac("sha256", b"")), "signature", id="HS256 by the empty secret"),
    pytest.param(compact({"alg": "HS256"}, sign=hmac("sha256", RSA_PEM)), "signature", id="HS256 by PEM, no key named"),
    pytest.param(
        compact({"alg": "HS384", "kid": "HS256"}, sign=hmac("sha384", SECRET)), "algorithm", id="HS384 not accepted"
    ),
    pytest.param(
        compact({"alg": "ES256", "kid": "RS256"}, sign=signer("ES256")), "unknown_key", id="ES256 by an RSA key"
    ),
    pytest.param(
        compact({"alg": "PS256", "kid": "RS256"}, sign=signer("PS256", private_key("RS256"))),
        "unknown_key",
        id="PS256 by a key for RS256 only",
    ),
    pytest.param(
        compact({"alg": "RS256", "kid": "ES256"}, sign=signer("RS256")), "unknown_key", id="RS256 by an EC key"
    ),
    pytest.param(compact({"alg": "rs256", "kid": "RS256"}, sign=signer("RS256")), "algorithm", id="rs256"),
    # Times
    pytest.param(token(claims=claims(exp=NOW - 31)), "expired", id="expired"),
    pytest.param(token(claims=claims(exp=0)), "expired", id="expired in 1970"),
    pytest.param(token(claims=claims(exp=-1e300)), "expired", id="expired long before"),
    pytest.param(token(claims=claims(exp=...)), "no_expiry", id="never expires"),
    pytest.param(compact(header(), claims(exp=None), signer("RS256")), "no_expiry", id="null expiry"),
    *(
        pytest.param(compact(header(), claims(exp=odd), signer("RS256")), "malformed", id=f"expires at {odd!r}")
        for odd in ("9999999999", True, [NOW + 600], {"at": NOW + 600})
    ),
    pytest.param(
        compact(header(), b'{"sub":"ann","aud":"app","iss":"https://login.example","exp":1e999}', signer("RS256")),
        "malformed",
        id="expires in infinity",
    ),
    pytest.param(
        compact(header(), b'{"sub":"ann","exp":' + b"9" * 4000 + b"}", signer("RS256")), "malformed", id="huge expiry"
    ),
    pytest.param(token(claims=claims(nbf=NOW + 31)), "not_yet_valid", id="not yet valid"),
    pytest.param(token(claims=claims(iat=NOW + 31)), "not_yet_valid", id="issued in the future"),
    pytest.param(compact(header(), claims(nbf="0"), signer("RS256")), "malformed", id="valid from a text"),
    # Parties
    *(
        pytest.param(compact(header(), claims(aud=odd), signer("RS256")), "audience", id=f"audience {odd!r}")
        for odd in ("other", "APP", "app ", ["other"], [], [["app"]], {"app": 1}, 7, ..., None, "", "ap", "app,other")
    ),
    *(
        pytest.param(compact(header(), claims(iss=odd), signer("RS256")), "issuer", id=f"issuer {odd!r}")
        for odd in ISSUERS
    ),
    # Names of keys
    *(
        pytest.param(token(header={"kid": odd}), "unknown_key", id=f"kid {odd[:24]!r}")
        for odd in (
            "../../../../dev/null",
            "/dev/null",
            "' UNION SELECT 'secret' --",
            "x' OR '1'='1",
            "RS256\0",
            "rs256",
            "",
            "| sleep 5",
            "http://evil.example/key",
            "k" * 5000,
        )
    ),
    pytest.param(
        compact({"alg": "HS256", "kid": "../../../dev/null"}, sign=hmac("sha256", b"")),
        "unknown_key",
        id="kid of nothing",
    ),
    *(
        pytest.param(compact(header(kid=odd), sign=signer("RS256")), "unknown_key", id=f"kid {odd!r}")
        for odd in (1, 1.5, None, True, ["RS256"], {"kid": "RS256"})
    ),
    # Keys brought along
    *(
        pytest.param(compact(header(**brought), sign=signer("RS256", OTHERS)), "signature", id=f"brings {name}")
        for name, brought in (
            ("jwk", {"jwk": OTHERS_JWK}),
            ("jku", {"jku": "https://evil.example/jwks.json"}),
            ("x5u", {"x5u": "https://evil.example/cert.pem"}),
            ("x5c", {"x5c": ["MIIB"]}),
            ("x5t", {"x5t": "AAAA"}),
        )
    ),
    pytest.param(
        compact({"alg": "RS256", "kid": "evil", "jwk": OTHERS_JWK}, sign=signer("RS256", OTHERS)),
        "unknown_key",
        id="brings a key of another name",
    ),
    # Signatures
    pytest.param(HEAD + b"." + PAYLOAD + b".", "malformed", id="empty signature"),
    pytest.param(HEAD + b"." + PAYLOAD, "malformed", id="no signature"),
    pytest.param(HEAD + b"." + segment(claims(sub="root")) + b"." + SIGNATURE, "signature", id="another payload"),
    pytest.param(HEAD + b"." + PAYLOAD + b"." + segment(bytes(256)), "signature", id="signature of zeros"),
    pytest.param(token(serial=1), "signature", id="signed by another"),
    *(
        pytest.param(compact({"alg": "ES256", "kid": "ES256"}, sign=odd), "signature", id=f"ES256 {name}")
        for name, odd in (
            ("signature of zeros", bytes(64)),
            ("signature of DER zeros", bytes.fromhex("3006020100020100")),
            ("of one byte", b"\0"),
            ("too long", bytes(65)),
            ("of ones", b"\xff" * 64),
        )
    ),
    pytest.param(compact({"alg": "EdDSA", "kid": "EdDSA"}, sign=bytes(64)), "signature", id="EdDSA signature of zeros"),
    pytest.param(compact({"alg": "EdDSA", "kid": "EdDSA"}, sign=bytes(7)), "signature", id="EdDSA of seven bytes"),
    # Shapes
    pytest.param(b".".join([HEAD, b"a", b"a", b"a", SIGNATURE]), "malformed", id="five segments"),
    pytest.param(GOOD + b"." + SIGNATURE, "malformed", id="four segments"),
    pytest.param(GOOD + b"=", "malformed", id="padding"),
    pytest.param(GOOD + b", Bearer " + GOOD, "malformed", id="two in one field"),
    pytest.param(b"'; DROP TABLE users; --", "malformed", id="no token at all"),
    pytest.param(b"\xff\xfe\x00", "malformed", id="bytes"),
    pytest.param(b"A" * 8193, "too_large", id="too large"),
    pytest.param(b"e30." * 500_000, "too_large", id="two million bytes"),
    pytest.param(GOOD + b"A" * 8192, "too_large", id="a good one that goes on"),
    pytest.param(compact(header(), b"[" * 3000, signer("RS256")), "malformed", id="deep JSON"),
    pytest.param(compact(header(), b'"ann"', signer("RS256")), "malformed", id="payload is a text"),
    pytest.param(compact(header(), b"[]", signer("RS256")), "malformed", id="payload is a list"),
    pytest.param(
        compact(header(), json.dumps(CLAIMS).encode()[:-1] + b',"sub":"root"}', signer("RS256")),
        "malformed",
        id="subject twice",
    ),
    pytest.param(compact(header(crit=["x"]), sign=signer("RS256")), "critical", id="crit"),
    pytest.param(compact(header(b64=False), sign=signer("RS256")), "critical", id="payload not encoded"),
    pytest.param(compact(header(typ="logout+jwt"), sign=signer("RS256")), "type", id="logout token"),
    # Subjects
    *(
        pytest.param(compact(header(), claims(sub=odd), signer("RS256")), "claim", id=f"subject {str(odd)[:20]!r}")
        for odd in (7, 1.5, True, None, ["ann"], {"id": "ann"}, "", "a" * 257, "ann\n", "ann\0", "\ud800", "\u202eann")
    ),
    pytest.param(compact(header(), claims(sub=...), signer("RS256")), "claim", id="no subject"),
    pytest.param(compact(header(), claims(plan=7), signer("RS256")), "claim", id="plan is a number"),
    pytest.param(compact(header(), claims(org=["acme"]), signer("RS256")), "claim", id="parent is a list"),
    pytest.param(compact(header(), claims(org="x" * 257), signer("RS256")), "claim", id="parent is too long"),
]


@pytest.mark.parametrize(("text", "expected"), ATTACKS)
def test_an_attack_names_nobody(text: bytes, expected: str) -> None:
    accepted = [each for each in ALGORITHMS if each != "HS384"]
    tokens = verifier(algorithms=[*accepted, "PS256"], plan_claim="plan", parent_claim="org")

    assert [named(tokens, bearer(text)) for _ in range(3)] == [None, None, None]
    assert counted(tokens) == {expected: 3}


def test_deep_claims_name_nobody() -> None:
    """How deep the parser goes is a matter of the Python version; a claim that is no text names nobody at any depth."""
    tokens = verifier()
    for depth in (100, 900, 1000, 2500):
        deep = json.dumps(CLAIMS).encode().replace(b'"ann"', b"[" * depth + b"]" * depth)
        assert named(tokens, bearer(compact(header(), deep, signer("RS256")))) is None

    assert counted(tokens).keys() <= {"claim", "malformed"}


def test_a_set_of_asymmetric_keys_knows_no_secret() -> None:
    keys = parse(key_set(jwk("RS256", "RS256")), ALGORITHMS, secrets=True)
    for key in (RSA_PEM, RSA_DER, RSA_JWK, b""):
        forged = compact({"alg": "HS256", "kid": "RS256"}, sign=hmac("sha256", key))
        assert named(verifier(keys=keys), bearer(forged)) is None


def test_several_fields_name_nobody() -> None:
    tokens = verifier()

    assert named(tokens, bearer(GOOD), bearer(GOOD)) is None
    assert counted(tokens) == {"several": 1}


def test_a_token_for_somebody_names_nobody_where_no_audience_is_configured() -> None:
    tokens = verifier(audience=[])

    assert named(tokens, bearer(GOOD)) is None
    assert counted(tokens) == {"audience": 1}


@pytest.mark.parametrize("text", [b"Basic YTpi", b"Bearer", b"Bearer ", b"", b"Digest x", GOOD, b"DPoP " + GOOD])
def test_what_is_no_bearer_token_is_none_of_our_business(text: bytes) -> None:
    tokens = verifier()

    assert named(tokens, text) is None
    assert counted(tokens) == {}


def test_a_token_that_names_nobody_leaves_it_to_the_next_source() -> None:
    resolver = AccountResolver.configured(["jwt:sub", "header:x-user"], tokens=verifier())
    fields = Fields([(b"authorization", bearer(token(claims=claims(exp=1)))), (b"x-user", b"bob")])

    assert resolver.resolve(fields) == Account("bob", "header:x-user", verified=False)


@given(st.binary(max_size=400) | st.lists(st.binary(max_size=80).map(segment), max_size=6).map(b".".join))
def test_any_bytes_name_nobody(text: bytes) -> None:
    assert named(verifier(), bearer(text)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]), JSON), JSON)
def test_any_header_names_nobody_without_a_signature(head: dict[str, Any], payload: Any) -> None:
    text = compact(head, json.dumps(payload).encode(), b"\x01" * 32)

    assert named(verifier(), bearer(text)) is None


@given(st.dictionaries(st.sampled_from(["exp", "nbf", "iat", "iss", "aud", "sub", "plan", "org"]), JSON))
def test_any_claims_name_a_printable_text_or_nobody(found: dict[str, Any]) -> None:
    text = compact({"alg": "HS256", "kid": "HS256"}, {**CLAIMS, **found}, signer("HS256"))
    tokens = verifier(plan_claim="plan", parent_claim="org", claims=["plan", "org", "iat"])

    account = named(tokens, bearer(text))

    assert account is None or (account.id.isprintable() and account.id)
    assert "error" not in counted(tokens)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_token_with_any_byte_changed_names_nobody(place: int, byte: int) -> None:
    changed = GOOD[:place] + bytes([byte]) + GOOD[place + 1 :]

    account = named(verifier(), bearer(changed))

    assert (account is not None) == (changed == GOOD)


def test_what_nobody_thought_of_names_nobody_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def broken(signed: bytes, signature: bytes) -> bool:
        raise RuntimeError("broken")

    tokens = verifier(keys=KeySet([("RS256", "RS256", broken)]))

    assert [named(tokens, bearer(GOOD)) for _ in range(3)] == [None] * 3
    assert counted(tokens) == {"error": 3}
    assert caplog.text.count("could not be verified") == 1
