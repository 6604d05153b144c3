"""The gateway as adapters use it: the engine with the store, identities, refusals, logs and metrics around it."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import itemgetter
from random import getrandbits
from typing import Final

from aupgate.audit import AccessLog, LineWriter
from aupgate.config import Config, Loaded
from aupgate.counting import Readings, Take
from aupgate.driver import judge, judge_body, judged
from aupgate.enforcement import Switch
from aupgate.engine import Engine, Exchange
from aupgate.errors import ServiceError
from aupgate.fields import Fields
from aupgate.http import below_root, normalise_path
from aupgate.identity.accounts import AccountResolver
from aupgate.identity.clients import ClientResolver, forwarded_scheme
from aupgate.inspection.spool import SpoolFactory
from aupgate.meters import Outcome
from aupgate.metrics import Metrics
from aupgate.model import (
    Account,
    Examination,
    Finding,
    Header,
    Message,
    Request,
    ResponseHead,
    Verdict,
)
from aupgate.policy import Body, Fetcher, FileInspector, Prepares
from aupgate.refusal import Answer, Renderer
from aupgate.responses import REQUEST_ID as REQUEST_ID  # noqa: PLC0414 - adapters know it from here
from aupgate.store import RemoteStore, Store
from aupgate.watching import Watcher

_log = logging.getLogger("aupgate")

_NO_FIELDS: Final = Fields(())
_name: Final = itemgetter(0)

_OWN: Final = frozenset({REQUEST_ID})
_OWN_WITH_LENGTH: Final = frozenset({REQUEST_ID, b"content-length", b"transfer-encoding"})


class _RequestIds:
    """Makes random UUIDs (RFC 9562 version 4) as text.

    The first 72 random bits are drawn anew after some ids, the last 48 for each: so no two are alike in practice, none
    tells how many there were in between, and each costs half of what one drawn whole does.
    """

    __slots__ = ("_begin", "_left")

    def __init__(self) -> None:
        self._begin = ""
        self._left = 0

    def __call__(self) -> str:
        """Return a new id."""
        if not self._left:
            self._left = _ALIKE
            text = "%018x" % getrandbits(72)  # noqa: UP031 - faster
            self._begin = f"{text[:8]}-{text[8:12]}-4{text[12:15]}-a{text[15:]}-"
        self._left -= 1
        return "%s%012x" % (self._begin, getrandbits(48))  # noqa: UP031 - faster


_ALIKE: Final = 256
"""Ids that begin alike."""

request_id: Final = _RequestIds()


def forwarded_fields(request: Request, verdict: Verdict, length: int | None = None) -> list[Header]:
    """Return the header fields that a request is forwarded with: edited, and with its id.

    `length` is the size of a body that was held: it then travels with that Content-Length, however it came.
    """
    pairs = request.fields.pairs
    headers: Sequence[Header] = pairs if verdict.edits is None else verdict.edits.apply(pairs)
    if length is None and request.header(REQUEST_ID) is None:
        return [*headers, (REQUEST_ID, request.id.encode())]
    own = [] if length is None else [(b"content-length", b"%d" % length)]
    own.append((REQUEST_ID, request.id.encode()))
    dropped = _OWN if length is None else _OWN_WITH_LENGTH
    return [*(pair for pair in headers if pair[0].lower() not in dropped), *own]


@dataclass(slots=True)
class GatewayServices:
    """The services that enabled policies may use."""

    files: FileInspector
    documents: Fetcher


class Unavailable:
    """Stands where no enabled policy needs a service; using it is a fault of the policy that does."""

    async def examine(self, body: Body, content_type: bytes | None, name: str) -> Examination:  # noqa: ARG002 - Protocol
        """Raise `ServiceError`."""
        raise ServiceError("no enabled policy asked for file inspection")

    async def fetch(self, location: str) -> bytes:
        """Raise `ServiceError`."""
        raise ServiceError(f"{location!r} cannot be read before an adapter has given the gateway a fetcher")


@dataclass(slots=True)
class Gateway:
    """The engine with everything around it that an adapter needs."""

    loaded: Loaded
    engine: Engine
    store: Store
    clients: ClientResolver
    accounts: AccountResolver
    refusals: Renderer
    metrics: Metrics
    spools: SpoolFactory
    services: GatewayServices
    switch: Switch
    watcher: Watcher
    access: AccessLog | None
    writers: Sequence[LineWriter]
    remote: RemoteStore | None = None
    """The store behind a connection that counts in the place of `store`, where there is one."""

    @property
    def config(self) -> Config:
        """The configuration it was built from."""
        return self.loaded.config

    def request(  # noqa: PLR0913 - a request has this many parts
        self,
        method: str,
        path: bytes,
        query: bytes,
        headers: list[Header],
        *,
        peer: str | None,
        scheme: str,
        http_version: str,
        root: str = "",
        kind: str = "http",
        user: object | None = None,
        account: Account | None = None,
    ) -> Request:
        """Return the request that came from `peer`, with its client and account resolved.

        `path` and `query` are as the client sent them, `root` is the part of the path under which the application is
        mounted; `peer` is None on a unix socket. An `account` that the adapter knows goes before the sources.
        """
        fields = Fields(headers)
        client = self.clients.resolve(peer, fields)
        normal = normalise_path(path)
        return Request(
            id=request_id(),
            method=method,
            target=path + b"?" + query if query else path,
            path=below_root(normal, root) if root else normal,
            query=query,
            scheme=(client.hops and forwarded_scheme(client, fields)) or scheme,
            http_version=http_version,
            client=client,
            account=account or self.accounts.resolve(fields, user),
            now=time.time(),
            kind=kind,
            fields=fields,
        )

    def open(self, request: Request) -> tuple[Exchange, Verdict | Take]:
        """Judge the head of `request`, without an await.

        Where a store behind a connection must be asked first, that is the `Take` returned: for `admit` or `count`.
        """
        self.metrics.begin(request)
        exchange = self.engine.open(request)
        try:
            step = exchange.head()
            return exchange, step if self.remote is not None else judge(exchange, step, self.store, request.now)
        except BaseException:
            self.close(exchange, Outcome(500, 0, 0, 0.0, aborted=True))
            raise

    def count(self, exchange: Exchange, take: Take, done: Callable[[Verdict | Exception], None]) -> None:
        """Have `take` counted by the store behind a connection; `done` gets the verdict on the head, or what failed.

        The exchange is open until then, whatever becomes of the client.
        """

        def answered(answer: Readings | Exception) -> None:
            try:
                verdict: Verdict | Exception = judged(exchange, take, answer)
            except Exception as error:  # noqa: BLE001 - stores must not see what fails here
                verdict = error
            done(verdict)

        assert self.remote is not None  # noqa: S101 - else nothing is left to be counted
        self.remote.submit(take.groups, exchange.request.now, answered)

    async def admit(self, exchange: Exchange, take: Take) -> Verdict:
        """Return the verdict on a head, once the store behind a connection counted `take`."""
        try:
            return await self._counted(exchange, take, exchange.request.now)
        except BaseException:
            self.close(exchange, Outcome(500, 0, 0, 0.0, aborted=True))
            raise

    async def _counted(self, exchange: Exchange, take: Take, now: float) -> Verdict:
        assert self.remote is not None  # noqa: S101 - else nothing is left to be counted
        try:
            answer: Readings | Exception = await self.remote.take(take.groups, now)
        except Exception as error:  # noqa: BLE001 - the engine decides what a fault of the store means
            answer = error
        return judged(exchange, take, answer)

    def response_fields(
        self, exchange: Exchange, verdict: Verdict, status: int, headers: Sequence[Header]
    ) -> list[Header]:
        """Return the header fields that a response of the application is sent with: edited, and with those added."""
        fields = list(headers)
        if self.engine.response:
            fields = self._shown(exchange, status, fields)
        plan = self.engine.responses.of(exchange.request)[tuple(map(_name, fields))]
        if plan.kept is not None:
            fields = list(compress(fields, plan.kept))
        if not plan.identified:
            fields.append((REQUEST_ID, exchange.request.id.encode()))
        fields += plan.added
        fields += verdict.response_headers
        return fields

    def _shown(self, exchange: Exchange, status: int, fields: list[Header]) -> list[Header]:
        """Show the head of a response to the policies that look at it; return the fields as they edited them."""
        edits, posts = exchange.response(ResponseHead(status, fields))
        if posts:
            (self.remote or self.store).post(posts, exchange.request.now)
        for edit in edits:
            fields = edit.apply(fields)
        return fields

    async def judge_body(self, exchange: Exchange, body: Body) -> Verdict:
        """Judge the whole body of an exchange."""
        return await judge_body(exchange.body(body, self.services), self.remote or self.store, time.time())

    def close(self, exchange: Exchange, outcome: Outcome) -> None:
        """Settle an exchange that ended."""
        try:
            posts = exchange.end(outcome)
            if posts:
                # A refund belongs to the window of its charge, so the time of the request counts.
                (self.remote or self.store).post(posts, exchange.request.now)
        except Exception:  # noqa: BLE001 - it is over, and must be counted all the same
            _log.exception("an exchange could not be settled")
        finally:
            self._record_end(exchange.request, outcome)

    def _record_end(self, request: Request, outcome: Outcome) -> None:
        self.metrics.end(outcome)
        if self.access is not None:
            self.access.record(request, outcome)

    async def judge_message(self, exchange: Exchange, message: Message) -> Verdict:
        """Judge one websocket message of an exchange."""
        step = exchange.on_message(message)
        if self.remote is not None and isinstance(step, Take):
            return await self._counted(exchange, step, time.time())
        return judge(exchange, step, self.store, time.time())

    def refuse_unreadable(self, peer: str | None, finding: Finding) -> Answer:
        """Refuse what the listener could not even read as a request; no mode can let that pass."""
        now = time.time()
        client = self.clients.resolve(peer, _NO_FIELDS)
        request = Request(
            id=request_id(), method="", target=b"", path="", query=b"", fields=_NO_FIELDS, scheme="",
            http_version="", client=client, now=now,
        )  # fmt: skip
        self.metrics.begin(request)
        answer = self.refusals(request, self.engine.impose(request, finding), ())
        self._record_end(request, Outcome(answer.status, 0, len(answer.body), 0.0, aborted=False, refused=True))
        return answer

    def observe(self, *, on: bool) -> None:
        """Drop every policy to observe at once, or let the configured modes hold again."""
        self.switch.observe = on
        self.metrics.observing(on=on)
        _log.warning("every policy observes only, by the runtime switch" if on else "the configured modes hold again")

    def preparing(self) -> list[Prepares]:
        """Return the policies that must load something before they can judge."""
        return [each.policy for each in self.engine.enforcements if isinstance(each.policy, Prepares)]

    async def close_store(self) -> None:
        """Send what waits for the store behind a connection, and end the connection."""
        if self.remote is not None:
            await self.remote.close()

    def flush(self) -> None:
        """Write out the logs."""
        for writer in self.writers:
            writer.flush()
