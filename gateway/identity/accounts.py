"""Whom a request acts for.

An `Account` comes from the first configured source that yields one. It is verified only when its source proves it.
"""

from collections.abc import Callable, Iterator, Sequence

from aupgate.fields import Fields
from aupgate.identity.keys import KnownKeys
from aupgate.identity.tokens import Tokens
from aupgate.model import Account

Source = Callable[[Fields, object | None], Account | None]
"""Names the account of a request by its fields, and by the user object that an authentication middleware left."""


class AccountResolver:
    """Resolves the account of a request: the first configured source that yields one."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    @classmethod
    def configured(
        cls, sources: Sequence[str], keys: KnownKeys | None = None, tokens: Tokens | None = None
    ) -> "AccountResolver":
        """Build from the configuration's source names, with what the sources `key:` and `jwt:` need."""
        return cls([_source(text, keys or KnownKeys(), tokens) for text in sources])

    def resolve(self, fields: Fields, user: object | None = None) -> Account | None:
        """Return the account, or None when no source yields one. `user` is what the ASGI scope names so."""
        for source in self._sources:
            account = source(fields, user)
            if account is not None:
                return account
        return None


def _source(text: str, keys: KnownKeys, tokens: Tokens | None) -> Source:
    kind, _, name = text.partition(":")
    if kind == "scope":
        return _from_scope
    if kind == "jwt":
        return _from_token(tokens, name)
    wanted = name.lower().encode()
    if kind == "key":
        return lambda fields, _: _known_key(fields.get(wanted), keys, text)
    if kind == "cookie":
        cookie = name.encode() + b"="
        return lambda fields, _: _unverified(_cookie(fields, cookie), text)
    return lambda fields, _: _unverified(fields.get(wanted), text)


def _from_scope(_: Fields, user: object | None) -> Account | None:
    """Starlette's and Django's user objects: an authenticated one is proof, since the app itself made it."""
    if user is None or not getattr(user, "is_authenticated", False):
        return None
    for attribute in ("pk", "id", "identity", "username", "display_name"):
        try:
            found = getattr(user, attribute, None)
        except NotImplementedError:  # Starlette's BaseUser.identity, where a subclass defines only display_name
            continue
        if found:
            return Account(str(found), "scope:user", verified=True)
    return None


def _known_key(key: bytes | None, keys: KnownKeys, source: str) -> Account | None:
    found = keys.find(key.strip()) if key else None
    return found and Account(found.id, source, verified=True, plan=found.plan, parent=found.parent)


def _from_token(tokens: Tokens | None, claim: str) -> Source:
    """Return the source that names the account by a claim of a verified token."""
    if tokens is None:
        raise ValueError(f'the source "jwt:{claim}" needs something that verifies tokens')
    find, field, cookie = tokens.find, tokens.where.field, tokens.where.cookie + b"="

    def by_field(fields: Fields, _: object | None) -> Account | None:
        token = find(fields.all(field))
        return None if token is None else token.accounts.get(claim)

    def by_cookie(fields: Fields, _: object | None) -> Account | None:
        token = find(list(_cookies(fields, cookie)))
        return None if token is None else token.accounts.get(claim)

    return by_cookie if tokens.where.cookie else by_field


def _unverified(text: bytes | None, source: str) -> Account | None:
    return Account(text.decode("latin-1"), source, verified=False) if text else None


def _cookie(fields: Fields, wanted: bytes) -> bytes | None:
    return next(_cookies(fields, wanted), None)


def _cookies(fields: Fields, wanted: bytes) -> Iterator[bytes]:
    """Yield the value of every cookie of a name; `wanted` is the name with its `=`."""
    for place in fields.layout.places.get(b"cookie", ()):  # HTTP/2 may split the field (RFC 9113 section 8.2.3)
        text = fields.texts[place]
        start = text.find(wanted)
        while start >= 0:
            if start == 0 or text[start - 1 : start] in b"; ":
                yield text[start + len(wanted) :].partition(b";")[0].strip()
            start = text.find(wanted, start + 1)
