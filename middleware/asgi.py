"""The ASGI adapter: `AcceptableUse` around any ASGI application.

It decides before the first `receive`, so that a refused client is never asked for its body; it awaits every `send` and
queues nothing; and it passes on scopes and messages that it does not know.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from inspect import isawaitable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from aupgate.build import build, read
from aupgate.counting import Take
from aupgate.gateway import Gateway
from aupgate.middleware.documents import AppDocuments
from aupgate.middleware.flow import HttpFlow
from aupgate.middleware.lifespan import Preparation
from aupgate.middleware.websocket import WebSocketFlow
from aupgate.model import Account, Client

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
AccountOf = Callable[[Scope], Awaitable[Account | str | None] | Account | str | None]
"""Names the account that a request acts for, from its ASGI scope. A string is the id of a verified account."""

_log = logging.getLogger("aupgate")


class AcceptableUse:
    """Enforce an Acceptable Use Policy in front of `app`.

    `config` is a TOML file, a mapping of the same shape, a built `Gateway`, or None for the defaults. `account` is
    asked before the configured account sources. Raises `aupgate.errors.ConfigError` with every problem of the
    configuration.

    The application reads what was decided from `scope["aupgate"]`, a `RequestContext`.
    """

    def __init__(
        self,
        app: App,
        config: Gateway | Path | str | Mapping[str, Any] | None = None,
        *,
        account: AccountOf | None = None,
    ) -> None:
        self.app = app
        self.gateway = (
            config if isinstance(config, Gateway) else build(read(Path(config) if isinstance(config, str) else config))
        )
        documents = AppDocuments(app, self.gateway.loaded.base)
        self.gateway.services.documents = documents
        self.preparation = Preparation(self.gateway, documents)
        self._account = account
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection scope."""
        kind = scope["type"]
        if kind not in {"http", "websocket"}:
            await self.preparation.pass_through(self.app, scope, receive, send)
            return
        if self.preparation.waiting:
            await self.preparation.begin(scope)
        account = None if self._account is None else await _named(self._account, scope)
        peer = scope.get("client")
        request = self.gateway.request(
            scope.get("method", "GET"),
            raw_path(scope),
            scope.get("query_string", b""),
            list(scope["headers"]),  # some servers append trailers to theirs later
            peer=peer[0] if peer else None,
            scheme=scope.get("scheme", "http"),
            http_version=scope.get("http_version", "1.1"),
            root=scope.get("root_path", ""),
            kind=kind,
            user=scope.get("user"),
            account=account,
        )
        if not request.client.certain and not self._warned:
            self._warn(request.client)
        exchange, verdict = self.gateway.open(request)
        if isinstance(verdict, Take):
            verdict = await self.gateway.admit(exchange, verdict)
        flow = (HttpFlow if kind == "http" else WebSocketFlow)(self.gateway, exchange, scope, receive, send)
        await flow.run(self.app, verdict)

    def _warn(self, client: Client) -> None:
        self._warned = True
        if self.gateway.config.client.trusted_proxies is None:
            _log.warning(
                "a private peer (%s) sends forwarding headers and client.trusted_proxies is not set, so rules that "
                "count by client only observe; set it to your proxies' networks, or to [] if clients connect directly",
                client.peer,
            )
            return
        _log.warning(
            "a trusted proxy (%s) names no client that is not in client.trusted_proxies, so rules that count by client "
            "only observe such requests; its own health checks are meant to be so, but if clients are, let it write %r",
            client.peer,
            self.gateway.config.client.source,
        )


def raw_path(scope: Scope) -> bytes:
    """Return the path as the client sent it.

    Some servers give no `raw_path`, some leave the query in it, and an outer middleware may have rewritten `path`
    alone; the application routes by `path`, so where the two disagree `path` holds.
    """
    path: str = scope["path"]
    raw: bytes | None = scope.get("raw_path")
    if raw:
        if b"?" in raw:
            raw = raw.partition(b"?")[0]
        if raw == path.encode("utf-8", "surrogateescape") or unquote_to_bytes(raw) == path.encode(
            "utf-8", "surrogateescape"
        ):
            return raw
        if unquote_to_bytes(raw).decode("utf-8", "replace") == path or raw[:8].lower().startswith(
            (b"http://", b"https://")
        ):
            return raw
    return quote(path, safe="/:@!$&'()*+,;=~-._").encode("ascii")


async def _named(name: AccountOf, scope: Scope) -> Account | None:
    found = name(scope)
    if isawaitable(found):
        found = await found
    return found if found is None or isinstance(found, Account) else Account(str(found), "callable", verified=True)
