"""Accounts by signed tokens: who is named, and what names nobody."""

import json
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from aupgate.build import build, read
from aupgate.errors import ConfigError
from aupgate.fields import Fields
from aupgate.gateway import Gateway
from aupgate.identity import tokens as module
from aupgate.identity.accounts import AccountResolver
from aupgate.identity.compact import TokenOutcome
from aupgate.identity.key_sets import KeySet, parse
from aupgate.identity.tokens import REFUSED_FOR
from aupgate.meters import Outcome
from aupgate.middleware import AcceptableUse
from aupgate.model import Account
from tests.gateway.identity.issuers import (
    NOW,
    compact,
    jwk,
    key_set,
    publishing,
    signer,
    token,
)
from tests.gateway.identity.issuers import document as answering
from tests.gateway.identity.verifying import ALGORITHMS, KEYS, Clock, bearer, claims, counted, named, verifier

GOOD = token()


# -- who is named ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_verified_token_names_its_subject(algorithm: str) -> None:
    tokens = verifier(algorithms=[algorithm])

    assert named(tokens, bearer(token(algorithm))) == Account("ann", "jwt:sub", verified=True)
    assert counted(tokens) == {"accepted": 1}


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        pytest.param(claims(aud=["other", "app"]), {}, "ann", id="one of several audiences"),
        pytest.param(claims(), {"audience": ["web", "app"]}, "ann", id="one of the audiences that are accepted"),
        pytest.param(claims(aud=...), {"audience": []}, "ann", id="for nobody in particular"),
        pytest.param(claims(iss="x"), {"issuer": []}, "ann", id="any issuer"),
        pytest.param(claims(exp=NOW - 10), {}, "ann", id="expired within the leeway"),
        pytest.param(claims(nbf=NOW + 10, iat=NOW + 10), {}, "ann", id="not yet valid within the leeway"),
        pytest.param(claims(exp=NOW + 0.5), {}, "ann", id="a fraction of a second"),
        pytest.param(claims(sub="ann@éxample.com"), {}, "ann@éxample.com", id="letters of any script"),
        pytest.param(claims(jti=7, nested={"a": [1]}), {}, "ann", id="other claims do not matter"),
    ],
)
def test_a_token_within_the_rules_names_somebody(
    text: Mapping[str, Any], settings: Mapping[str, Any], expected: str
) -> None:
    account = named(verifier(**settings), bearer(token(claims=text)))

    assert account is not None
    assert account.id == expected


def test_the_scheme_is_known_in_any_case() -> None:
    assert named(verifier(), b"bearer  " + token())


def test_a_key_without_a_name_is_tried_for_any_token() -> None:
    keys = parse(key_set(jwk("RS256", serial=1), jwk("RS256")), ALGORITHMS, secrets=False)

    assert named(verifier(keys=keys), bearer(token()))


def test_a_token_without_the_name_of_a_key_is_tried_with_all_that_fit() -> None:
    keys = parse(key_set(jwk("RS256", "a", 1), jwk("RS256", "b"), jwk("ES256", "c")), ALGORITHMS, secrets=False)

    assert named(verifier(keys=keys), bearer(compact({"alg": "RS256"}, sign=signer("RS256"))))


def test_another_claim_may_name_the_account() -> None:
    tokens = verifier("https://app.example/user")
    text = token(claims=claims(**{"https://app.example/user": "u-7"}))

    account = named(tokens, bearer(text), claim="https://app.example/user")

    assert account == Account("u-7", "jwt:https://app.example/user", verified=True)


def test_the_first_claim_that_is_there_names_the_account() -> None:
    resolver = AccountResolver.configured(["jwt:user", "jwt:sub"], tokens=verifier("user", "sub"))

    found = [
        resolver.resolve(Fields([(b"authorization", bearer(token(claims=text)))]))
        for text in (claims(user="u"), claims())
    ]

    assert [account and account.source for account in found] == ["jwt:user", "jwt:sub"]


def test_plan_parent_and_further_claims_come_with_the_account() -> None:
    tokens = verifier(
        plan_claim="plan", parent_claim="org", claims=["tenant", "beta", "seats", "ratio", "list", "none"]
    )
    given = claims(plan="pro", org="acme", tenant="t1", beta=True, seats=5, ratio=0.5, list=["a"], none=None, other="x")

    assert named(tokens, bearer(token(claims=given))) == Account(
        "ann", "jwt:sub", True, "pro", "acme", {"tenant": "t1", "beta": "true", "seats": "5", "ratio": "0.5"}
    )


def test_plan_and_parent_may_be_absent() -> None:
    account = named(verifier(plan_claim="plan", parent_claim="org"), bearer(token(claims=claims(org=None))))

    assert account == Account("ann", "jwt:sub", verified=True)


@pytest.mark.parametrize("text", [token(), bearer(token())], ids=["bare", "bearer"])
def test_another_header_may_hold_the_token(text: bytes) -> None:
    tokens = verifier(header="x-token")

    assert named(tokens, text, field=b"x-token")
    assert named(tokens, bearer(token())) is None


def test_a_cookie_may_hold_the_token() -> None:
    tokens = verifier(cookie="access")

    assert named(tokens, b"a=1; access=" + token() + b"; b=2", field=b"cookie")
    assert named(tokens, b"xaccess=" + token(), field=b"cookie") is None


def test_two_cookies_of_the_name_name_nobody() -> None:
    tokens = verifier(cookie="access")

    assert named(tokens, b"access=" + token() + b"; access=x", field=b"cookie") is None
    assert counted(tokens) == {"several": 1}


# -- what is remembered ------------------------------------------------------------------------------------------------


class CountedKeys(KeySet):
    """Counts how often a signature is looked at."""

    def __init__(self) -> None:
        self.checks = 0
        (check,) = KEYS.fitting("RS256", "RS256")

        def counting(signed: bytes, signature: bytes) -> bool:
            self.checks += 1
            return check(signed, signature)

        super().__init__([("RS256", "RS256", counting)])


def test_a_verified_token_is_verified_once() -> None:
    keys = CountedKeys()
    tokens = verifier(keys=keys)

    assert len({id(named(tokens, bearer(GOOD))) for _ in range(3)}) == 1
    assert (keys.checks, counted(tokens)) == (1, {"accepted": 3})


def test_a_remembered_token_expires() -> None:
    clock = Clock()
    tokens = verifier(clock=clock)
    found = []
    for now in (NOW, NOW + 629, NOW + 630, NOW + 10_000):
        clock.now = now
        found.append(named(tokens, bearer(GOOD)) is not None)

    assert found == [True, True, False, False]
    assert counted(tokens) == {"accepted": 2, "expired": 2}


def test_a_refused_token_is_remembered_for_a_while() -> None:
    keys, clock = CountedKeys(), Clock()
    tokens = verifier(keys=keys, clock=clock)
    for now in (NOW, NOW + REFUSED_FOR - 1, NOW + REFUSED_FOR, NOW - 100):
        clock.now = now
        assert named(tokens, bearer(token(serial=1))) is None

    assert keys.checks == 3


def test_a_token_that_is_not_yet_valid_becomes_valid() -> None:
    clock = Clock()
    tokens = verifier(clock=clock)
    text = bearer(token(claims=claims(nbf=NOW + 40)))
    first = named(tokens, text)
    clock.now += 10

    assert (first, named(tokens, text)) == (None, Account("ann", "jwt:sub", verified=True))


def test_when_the_keys_change_everything_is_verified_anew() -> None:
    tokens = verifier()
    text, new = bearer(GOOD), bearer(token(serial=1))
    before = [named(tokens, each) is not None for each in (text, new)]
    tokens.use(parse(key_set(jwk("RS256", "RS256", 1)), ALGORITHMS, secrets=False))
    after = [named(tokens, each) is not None for each in (text, new)]

    assert (before, after) == ([True, False], [False, True])


def test_a_key_that_is_missing_is_asked_for() -> None:
    tokens, asked = verifier(keys=KeySet()), []
    tokens.missed = lambda: asked.append(1)

    assert named(tokens, bearer(GOOD)) is None
    tokens.use(KEYS)
    assert named(tokens, bearer(GOOD))
    assert asked == [1]


def test_a_long_token_is_remembered_by_its_digest_which_is_no_token() -> None:
    keys = CountedKeys()
    tokens = verifier(keys=keys)
    text = bearer(token(claims=claims(padding="x" * 4000)))

    assert named(tokens, text)
    assert named(tokens, text)
    assert keys.checks == 1
    for digest in (sha256(text).hexdigest().encode(), sha256(text).digest()):
        assert named(tokens, digest) is None
        assert named(tokens, bearer(digest)) is None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TOKENS", 3)
    monkeypatch.setattr(module, "MAX_REFUSED", 3)
    tokens = verifier()
    for number in range(10):
        assert named(tokens, bearer(token("HS256", claims(sub=f"u{number}"))))
        assert named(tokens, bearer(token("HS256", claims(exp=number)))) is None

    assert len(tokens._known.verified) <= 3
    assert len(tokens._known.refused) <= 3


# -- in a gateway ------------------------------------------------------------------------------------------------------


def lasting(**changed: Any) -> dict[str, Any]:
    return claims(exp=4_000_000_000, **changed)


def config(tmp_path: Path, jwks: str = "jwks.json", **settings: Any) -> dict[str, Any]:
    (tmp_path / "jwks.json").write_bytes(key_set(jwk("RS256", "RS256")))
    tokens = {"algorithms": ["RS256"], "audience": "app", "jwks": str(tmp_path / jwks), **settings}
    return {"log": {"audit": "off"}, "account": {"sources": ["jwt:sub"], "jwt": tokens}}


def account_of(gateway: Gateway, text: bytes) -> Account | None:
    headers = [(b"host", b"app.example"), (b"authorization", bearer(text))]
    return gateway.request("GET", b"/", b"", headers, peer="192.0.2.1", scheme="https", http_version="1.1").account


def test_a_file_of_keys_is_read_again_when_it_changes(tmp_path: Path) -> None:
    gateway = build(read(config(tmp_path), environ={}))
    old, new = token(claims=lasting()), token(claims=lasting(), serial=1)
    before = [account_of(gateway, each) is not None for each in (old, new)]
    (tmp_path / "new.json").write_bytes(key_set(jwk("RS256", "RS256", 1)))
    (tmp_path / "new.json").replace(tmp_path / "jwks.json")
    gateway.watcher.look()
    after = [account_of(gateway, each) is not None for each in (old, new)]
    gateway.watcher.stop()

    assert (before, after) == ([True, False], [False, True])


def test_the_metrics_tell_what_became_of_tokens(tmp_path: Path) -> None:
    gateway = build(read(config(tmp_path), environ={}))
    gateway.watcher.stop()
    for text in (token(claims=lasting()), token(claims=lasting(), serial=1), b"x"):
        account_of(gateway, text)

    shown = gateway.metrics.render().decode()

    for line in (
        'aupgate_tokens_total{outcome="accepted"} 1.0',
        'aupgate_tokens_total{outcome="signature"} 1.0',
        'aupgate_tokens_total{outcome="malformed"} 1.0',
        'aupgate_tokens_total{outcome="expired"} 0.0',
        "aupgate_token_keys 1.0",
    ):
        assert line in shown
    assert shown.count("aupgate_tokens_total{") == len(TokenOutcome)


def test_the_logs_know_the_account_by_a_hash_only(tmp_path: Path) -> None:
    given = config(tmp_path)
    given["policies"] = {"scrapers": {"accounts_exempt": False}}
    given["log"] = {"audit": str(tmp_path / "audit.jsonl"), "access": str(tmp_path / "access.jsonl")}
    gateway = build(read(given, environ={}))
    gateway.watcher.stop()
    text = token(claims=lasting(sub="ann@customer.example"))
    headers = [(b"host", b"a"), (b"user-agent", b"sqlmap/1.8"), (b"authorization", bearer(text))]
    request = gateway.request("GET", b"/", b"", headers, peer="192.0.2.1", scheme="https", http_version="1.1")
    exchange, _ = gateway.open(request)
    gateway.close(exchange, Outcome(200, 0, 0, 0.1, aborted=False))
    gateway.flush()

    for name in ("audit.jsonl", "access.jsonl"):
        log = (tmp_path / name).read_text()
        (line,) = {json.loads(line)["account"] for line in log.splitlines()}
        assert line == sha256(b"jwt:sub:ann@customer.example").hexdigest()[:16]
        assert "customer" not in log
        assert text.decode() not in log


async def test_the_application_sees_the_account(tmp_path: Path) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["aupgate"].account)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    headers = [(b"host", b"a"), (b"authorization", bearer(token(claims=lasting(tenant="t1"))))]
    scope = {
        "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers,
        "client": ("192.0.2.1", 1), "scheme": "https", "http_version": "1.1", "root_path": "",
    }  # fmt: skip
    mounted = AcceptableUse(app, config(tmp_path, claims=["tenant"]))
    await mounted(scope, receive, send)

    assert seen == [Account("ann", "jwt:sub", verified=True, claims={"tenant": "t1"})]


def test_keys_are_fetched_from_a_url(tmp_path: Path) -> None:
    with publishing(answering(key_set(jwk("RS256", "RS256")))) as (_, url):
        given = config(tmp_path)
        given["account"]["jwt"]["jwks"] = url
        gateway = build(read(given, environ={}))

        assert account_of(gateway, token(claims=lasting()))
        assert 'aupgate_token_key_fetches_total{outcome="ok"} 1.0' in gateway.metrics.render().decode()


def test_an_application_without_tokens_imports_nothing_for_them(tmp_path: Path) -> None:
    config(tmp_path)
    program = (
        "import sys, json\nfrom aupgate.build import build, read\n"
        "build(read(json.loads(sys.argv[1]), environ={}))\nprint(*sys.modules)"
    )

    def imported(account: Mapping[str, Any]) -> set[str]:
        command = [sys.executable, "-c", program, json.dumps({"account": account})]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return {"jwt", "cryptography", "urllib.request", "aupgate.identity.key_fetching"} & set(names)

    tokens = {"algorithms": "RS256", "jwks": str(tmp_path / "jwks.json")}
    assert imported({"sources": ["scope:user"]}) == set()
    assert imported({"sources": ["jwt:sub"], "jwt": tokens}) >= {"jwt", "cryptography"}


def test_tokens_without_what_verifies_them_are_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt.algorithms", None)

    with pytest.raises(ConfigError, match=r"pip install 'aupgate\[jwt\]'"):
        build(read(config(tmp_path), environ={}))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({"jwks": "none.json"}, "none.json: a readable key set: .* No such file", id="no file"),
        pytest.param({"algorithms": ["ES256"]}, "at least one usable key for ES256", id="no key"),
        pytest.param(
            {"jwks": "https://127.0.0.1:1/", "ca_file": "none.pem"}, "none.pem: a PEM file of authorities", id="no CA"
        ),
    ],
)
def test_files_that_cannot_be_used_are_mistakes(tmp_path: Path, settings: Mapping[str, Any], expected: str) -> None:
    given = config(tmp_path)
    given["account"]["jwt"] |= settings

    with pytest.raises(ConfigError, match=expected):
        build(read(given, environ={}))
