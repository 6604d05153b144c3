"""Whom a request acts for."""

from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest

from aupgate.fields import Fields
from aupgate.identity.accounts import AccountResolver
from aupgate.identity.keys import KnownKeys
from aupgate.model import Account

KEYS = KnownKeys(
    accounts={sha256(b"demo").hexdigest(): Account("demo", "key", verified=True, plan="pro", parent="acme")}
)


def resolved(*sources: str, headers: list[tuple[bytes, bytes]] | None = None, user: Any = None) -> Account | None:
    return AccountResolver.configured(sources, KEYS).resolve(Fields(headers or []), user)


def a_user(**attributes: Any) -> Any:
    return SimpleNamespace(**{"is_authenticated": True, **attributes})


@pytest.mark.parametrize(
    ("sources", "headers", "user", "expected"),
    [
        pytest.param(
            ["key:x-api-key"], [(b"x-api-key", b"demo")], None, ("demo", "key:x-api-key", True, "pro"), id="known key"
        ),
        pytest.param(
            ["key:x-api-key"], [(b"X-API-Key", b"demo")], None, ("demo", "key:x-api-key", True, "pro"), id="any case"
        ),
        pytest.param(["key:x-api-key"], [(b"x-api-key", b"made-up")], None, None, id="unknown key names nobody"),
        pytest.param(["key:x-api-key"], [(b"x-api-key", b"")], None, None, id="empty key"),
        pytest.param(["key:x-api-key"], [], None, None, id="no key"),
        pytest.param(
            ["cookie:session"],
            [(b"cookie", b"a=1; session=s1")],
            None,
            ("s1", "cookie:session", False, None),
            id="cookie",
        ),
        pytest.param(["cookie:session"], [(b"cookie", b"xsession=s1")], None, None, id="another cookie"),
        pytest.param(
            ["header:x-user"], [(b"x-user", b"ann")], None, ("ann", "header:x-user", False, None), id="plain header"
        ),
        pytest.param(["scope:user"], [], a_user(pk=7), ("7", "scope:user", True, None), id="Django user"),
        pytest.param(
            ["scope:user"], [], a_user(username="ann"), ("ann", "scope:user", True, None), id="Starlette user"
        ),
        pytest.param(["scope:user"], [], a_user(is_authenticated=False, username="x"), None, id="anonymous user"),
        pytest.param(["scope:user"], [], None, None, id="no user"),
        pytest.param(
            ["key:x-api-key", "cookie:session"],
            [(b"cookie", b"session=s1"), (b"x-api-key", b"demo")],
            None,
            ("demo", "key:x-api-key", True, "pro"),
            id="the first source that yields one",
        ),
        pytest.param(
            ["key:x-api-key", "cookie:session"],
            [(b"cookie", b"session=s1"), (b"x-api-key", b"made-up")],
            None,
            ("s1", "cookie:session", False, None),
            id="an unknown key leaves it to the next source",
        ),
    ],
)
def test_an_account_is_verified_only_by_a_source_that_proves_it(
    sources: list[str], headers: list[tuple[bytes, bytes]], user: Any, expected: tuple[Any, ...] | None
) -> None:
    account = resolved(*sources, headers=headers, user=user)
    assert (account and (account.id, account.source, account.verified, account.plan)) == expected


def test_starlettes_own_user_classes_are_understood() -> None:
    from starlette.authentication import SimpleUser, UnauthenticatedUser

    assert resolved("scope:user", user=SimpleUser("ann")) == Account("ann", "scope:user", verified=True)
    assert resolved("scope:user", user=UnauthenticatedUser()) is None


def test_tokens_are_named_by_what_verifies_them() -> None:
    with pytest.raises(ValueError, match="jwt:sub"):
        resolved("jwt:sub")


def test_an_account_comes_without_claims_unless_a_token_has_them() -> None:
    account = resolved("key:x-api-key", headers=[(b"x-api-key", b"demo")])
    assert account is not None
    assert (account.parent, account.claims) == ("acme", None)
