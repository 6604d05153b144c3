"""Work in threads."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from aupgate.inspection.threads import run


async def test_the_event_loop_goes_on_while_the_work_runs() -> None:
    release = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        task = asyncio.create_task(run(executor, lambda: release.wait(60)))
        await asyncio.sleep(0)
        release.set()
        assert await task is True


async def test_an_error_of_the_work_is_raised_where_it_is_awaited() -> None:
    with ThreadPoolExecutor(1) as executor, pytest.raises(ZeroDivisionError):
        await run(executor, lambda: 1 // 0)


@pytest.mark.parametrize("fails", [False, True], ids=["that succeeds", "that fails"])
async def test_a_cancelled_task_ends_only_after_the_work_it_waited_for(fails: bool) -> None:
    started, release, ended = threading.Event(), threading.Event(), []

    def work() -> None:
        started.set()
        release.wait(60)
        ended.append(True)
        if fails:
            raise ZeroDivisionError

    with ThreadPoolExecutor(1) as executor:
        task = asyncio.create_task(run(executor, work))
        await asyncio.to_thread(started.wait, 60)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended
