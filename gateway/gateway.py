"""The gateway as adapters use it: the engine with the store, identities, refusals, logs and metrics around it."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import getrandbits

from aupgate.audit import AccessLog, LineWriter
from aupgate.config import Config, Loaded
from aupgate.driver import judge, judge_body
from aupgate.enforcement import Switch
from aupgate.engine import Engine, Exchange
from aupgate.errors import ServiceError
from aupgate.identity import AccountResolver, ClientResolver
from aupgate.inspection.spool import SpoolFactory
from aupgate.meters import Outcome
from aupgate.metrics import Metrics
from aupgate.model import Examination, Finding, Message, Request, Verdict
from aupgate.policy import Body, Fetcher, FileInspector, Prepares
from aupgate.refusal import Answer, Renderer
from aupgate.store import Store

_log = logging.getLogger("aupgate")


def request_id() -> str:
    """Return a new random UUID (RFC 9562 version 4) as text."""
    text = f"{getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[getrandbits(2)]}{text[17:20]}-{text[20:]}"


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
    access: AccessLog | None
    writers: Sequence[LineWriter]

    @property
    def config(self) -> Config:
        """The configuration it was built from."""
        return self.loaded.config

    def open(self, request: Request) -> tuple[Exchange, Verdict]:
        """Judge the head of `request`, without an await."""
        self.metrics.begin(request)
        exchange = self.engine.open(request)
        try:
            return exchange, judge(exchange.head(), self.store, request.now)
        except BaseException:
            self.close(exchange, Outcome(500, 0, 0, 0.0, aborted=True))
            raise

    async def judge_body(self, exchange: Exchange, body: Body) -> Verdict:
        """Judge the whole body of an exchange."""
        return await judge_body(exchange.body(body, self.services), self.store, time.time())

    def close(self, exchange: Exchange, outcome: Outcome) -> None:
        """Settle an exchange that ended."""
        try:
            posts = exchange.end(outcome)
            if posts:
                # A refund belongs to the window of its charge, so the time of the request counts.
                self.store.post(posts, exchange.request.now)
        except Exception:  # noqa: BLE001 - it is over, and must be counted all the same
            _log.exception("an exchange could not be settled")
        finally:
            self._record_end(exchange.request, outcome)

    def _record_end(self, request: Request, outcome: Outcome) -> None:
        self.metrics.end(outcome)
        if self.access is not None:
            self.access.record(request, outcome)

    def judge_message(self, exchange: Exchange, message: Message) -> Verdict:
        """Judge one websocket message of an exchange."""
        return judge(exchange.on_message(message), self.store, time.time())

    def refuse_unreadable(self, peer: str | None, finding: Finding) -> Answer:
        """Refuse what the listener could not even read as a request; no mode can let that pass."""
        now = time.time()
        client = self.clients.resolve(peer, ())
        request = Request(
            id=request_id(), method="", target=b"", path="", query=b"", headers=(), scheme="", http_version="",
            client=client, now=now,
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

    def flush(self) -> None:
        """Write out the logs."""
        for writer in self.writers:
            writer.flush()
