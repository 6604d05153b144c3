"""The gateway as adapters use it: the engine with the store, identities, refusals, logs and metrics around it."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from aupgate.audit import AccessLog, LineWriter
from aupgate.config import Config, Loaded
from aupgate.driver import judge, judge_body
from aupgate.enforcement import Switch
from aupgate.engine import Engine, Exchange
from aupgate.errors import ServiceError
from aupgate.identity import AccountResolver, ClientResolver
from aupgate.inspection.spool import SpoolFactory
from aupgate.metrics import Metrics
from aupgate.model import Examination, Message, Outcome, Request, Verdict
from aupgate.policy import Body, Fetcher, FileInspector, Prepares
from aupgate.refusal import Renderer
from aupgate.store import Store

_log = logging.getLogger("aupgate")


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
        return exchange, judge(exchange.head(), self.store, request.now)

    async def judge_body(self, exchange: Exchange, body: Body) -> Verdict:
        """Judge the whole body of an exchange."""
        return await judge_body(exchange.body(body, self.services), self.store, time.time())

    def close(self, exchange: Exchange, outcome: Outcome) -> None:
        """Settle an exchange that ended."""
        posts = exchange.end(outcome)
        if posts:
            # A refund belongs to the window of its charge, so the time of the request counts.
            self.store.post(posts, exchange.request.now)
        self.metrics.end(outcome)
        if self.access is not None:
            self.access.record(exchange.request, outcome)

    def judge_message(self, exchange: Exchange, message: Message) -> Verdict:
        """Judge one websocket message of an exchange."""
        return judge(exchange.on_message(message), self.store, time.time())

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
