"""Drivers: they run the engine's steps and supply what each asks for.

`judge` needs no event loop and serves the memory store: a request is then judged without an await. `judge_body` awaits
what the body phase asks for.
"""

from aupgate.counting import Take
from aupgate.engine import BodySteps, Exchange
from aupgate.model import Verdict
from aupgate.store import Store


def judge(exchange: Exchange, step: Take | Verdict, store: Store, now: float) -> Verdict:
    """Return the verdict that `step` of `exchange` is or hangs on; `now` is in seconds since the epoch."""
    if not isinstance(step, Take):
        return step
    try:
        answered = store.take(step.groups, now)
    except Exception as error:  # noqa: BLE001 - the engine decides what a fault of the store means
        return exchange.uncounted(step, error)
    return exchange.counted(step, answered)


async def judge_body(steps: BodySteps, store: Store, now: float) -> Verdict:
    """Run `steps` to their verdict, awaiting inspections and taking meters from `store`."""
    try:
        need = next(steps)
        while True:
            try:
                answer = store.take(need.groups, now) if isinstance(need, Take) else await need.inspection
            except Exception as error:  # noqa: BLE001 - the engine decides what a fault of a policy or service means
                need = steps.throw(error)
            else:
                need = steps.send(answer)
    except StopIteration as stop:
        verdict: Verdict = stop.value
        return verdict
