"""The drivers run the engine's steps, whatever is asked of them."""

import asyncio
from typing import Any

from aupgate.driver import judge, judge_body
from aupgate.enforcement import Enforcement
from aupgate.engine import Engine
from aupgate.meters import Quota
from aupgate.model import Verdict
from aupgate.packs import ClauseIndex
from aupgate.store.memory import MemoryStore
from tests.gateway import scripted
from tests.gateway.scripted import a_request


def an_engine(*policies: Any) -> Engine:
    return Engine([Enforcement(policy) for policy in policies], ClauseIndex([]))


def judged(engine: Engine, store: MemoryStore, now: float) -> Verdict:
    exchange = engine.open(a_request())
    return judge(exchange, exchange.head(), store, now)


def test_a_head_is_judged_without_an_event_loop() -> None:
    engine, store = an_engine(scripted.Count("p", Quota("p.first", "first", 1, 60.0))), MemoryStore(100)
    verdicts = [judged(engine, store, 1000.0) for _ in range(2)]
    assert [verdict.allow for verdict in verdicts] == [True, False]


def test_the_time_given_is_the_time_counted_by() -> None:
    engine, store = an_engine(scripted.Count("p", Quota("p.first", "first", 1, 60.0))), MemoryStore(100)
    assert judged(engine, store, 1000.0).allow
    assert judged(engine, store, 1000.0 + 121.0).allow


def test_a_cancelled_inspection_is_cancelled_and_not_judged() -> None:
    class Slow(scripted.Inspect):
        async def inspect(self, request: Any, body: Any, services: Any) -> Any:
            await asyncio.Event().wait()

    engine, store = an_engine(Slow("slow")), MemoryStore(100)

    async def run() -> bool:
        exchange = engine.open(a_request(headers=[(b"content-length", b"4")]))
        judge(exchange, exchange.head(), store, 1000.0)
        task = asyncio.create_task(judge_body(exchange.body(None, None), store, 1000.0))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled() and exchange.judgements == ()

    assert asyncio.run(run())
