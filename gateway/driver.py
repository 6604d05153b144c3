"""Drivers: they run the engine's steps and supply what each asks for.

`judge` needs no event loop and serves the memory store: a request is then judged without an await. `judge_body` awaits
what the body phase asks for.
"""

from aupgate.counting import Take
from aupgate.engine import BodySteps, HeadSteps
from aupgate.model import Verdict
from aupgate.store import Store


def judge(steps: HeadSteps, store: Store, now: float) -> Verdict:
    """Run `steps` to their verdict, taking meters from `store` at the time `now` (seconds since the epoch)."""
    try:
        take = next(steps)
        while True:
            try:
                readings = store.take(take.groups, now)
            except Exception as error:  # noqa: BLE001 - the engine decides what a fault of the store means
                take = steps.throw(error)
            else:
                take = steps.send(readings)
    except StopIteration as stop:
        verdict: Verdict = stop.value
        return verdict


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
