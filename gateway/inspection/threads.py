"""CPU work off the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


async def run(executor: Executor, work: Callable[[], T]) -> T:
    """Return what `work` returns, run in `executor`.

    When the waiting task is cancelled it waits for the work's end nevertheless: the work reads spools that whoever
    cancelled is about to close, and a closed descriptor's number may already be another file's. So the work itself
    must be bounded.
    """
    future = asyncio.get_running_loop().run_in_executor(executor, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            try:
                await asyncio.wait({future})
            except asyncio.CancelledError:
                continue
        if not future.cancelled():
            future.exception()  # retrieved, or asyncio reports it as forgotten
        raise
