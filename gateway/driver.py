"""Drivers: they run the engine's steps and supply what each asks for.

`judge` needs no event loop and serves the memory store: a request is then judged without an await. `judged` tells what
follows from the answer of a store behind a connection, whenever that comes. `judge_body` awaits what the body phase
asks for.
"""

from inspect import isawaitable
from typing import Any

from aupgate.counting import Readings, Take
from aupgate.engine import BodySteps, Exchange
from aupgate.model import Verdict
from aupgate.store import RemoteStore, Store


def judge(exchange: Exchange, step: Take | Verdict, store: Store, now: float) -> Verdict:
    """Return the verdict that `step` of `exchange` is or hangs on; `now` is in seconds since the epoch."""
    if not isinstance(step, Take):
        return step
    try:
        answered = store.take(step.groups, now)
    except Exception as error:  # noqa: BLE001 - the engine decides what a fault of the store means
        return exchange.uncounted(step, error)
    return exchange.counted(step, answered)


def judged(exchange: Exchange, take: Take, answer: Readings | Exception) -> Verdict:
    """Return the verdict of `exchange` that hung on `take`, now that a store answered, or failed to."""
    if isinstance(answer, Exception):
        return exchange.uncounted(take, answer)
    return exchange.counted(take, answer)


async def judge_body(steps: BodySteps, store: Store | RemoteStore, now: float) -> Verdict:
    """Run `steps` to their verdict, awaiting inspections and taking meters from `store`."""
    try:
        need = next(steps)
        while True:
            try:
                answer: Any = store.take(need.groups, now) if isinstance(need, Take) else need.inspection
                if isawaitable(answer):
                    answer = await answer
            except Exception as error:  # noqa: BLE001 - the engine decides what a fault of a policy or service means
                need = steps.throw(error)
            else:
                need = steps.send(answer)
    except StopIteration as stop:
        verdict: Verdict = stop.value
        return verdict
