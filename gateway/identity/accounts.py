"""Whom a request acts for.

An `Account` comes from the first configured source that yields one. It is verified only when its source proves it.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

from aupgate.fields import Fields
from aupgate.model import Account

Source = Callable[[Fields, object | None], Account | None]
"""Names the account of a request by its fields, and by the user object that an authentication middleware left."""


class AccountResolver:
    """Resolves the account of a request: the first configured source that yields one."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    @classmethod
    def configured(cls, sources: Sequence[str], keys: Mapping[str, Account]) -> "AccountResolver":
        """Build from the configuration's source names; `keys` maps the SHA-256 of each known API key to its account."""
        return cls([_source(text, keys) for text in sources])

    def resolve(self, fields: Fields, user: object | None = None) -> Account | None:
        """Return the account, or None when no source yields one. `user` is what the ASGI scope names so."""
        for source in self._sources:
            account = source(fields, user)
            if account is not None:
                return account
        return None


def _source(text: str, keys: Mapping[str, Account]) -> Source:
    kind, _, name = text.partition(":")
    if kind == "scope":
        return _from_scope
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


def _known_key(key: bytes | None, keys: Mapping[str, Account], source: str) -> Account | None:
    if not key:
        return None
    # The key is secret and the table is of its digests: an equal digest is proof, and comparing digests leaks nothing
    # of use.
    found = keys.get(sha256(key.strip()).hexdigest())
    return found and Account(found.id, source, verified=True, plan=found.plan, parent=found.parent)


def _unverified(text: bytes | None, source: str) -> Account | None:
    return Account(text.decode("latin-1"), source, verified=False) if text else None


def _cookie(fields: Fields, wanted: bytes) -> bytes | None:
    for place in fields.layout.places.get(b"cookie", ()):  # HTTP/2 may split the field (RFC 9113 section 8.2.3)
        text = fields.texts[place]
        start = text.find(wanted)
        while start >= 0:
            if start == 0 or text[start - 1 : start] in b"; ":
                return text[start + len(wanted) :].partition(b";")[0].strip()
            start = text.find(wanted, start + 1)
    return None
