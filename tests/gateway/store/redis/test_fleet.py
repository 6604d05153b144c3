"""What a fleet of gateways guarantees: together they admit as many as one would."""

import subprocess
import sys

import pytest

from aupgate.meters import Window
from tests.services import Redis, redis_server

__all__ = ["redis_server"]

PROGRAM = """
import asyncio, sys, time
from aupgate.meters import Meter, Plan, Planned, Quota, Window
from aupgate.store.redis.store import RedisStore

async def main(url, algorithm, name):
    store = RedisStore(url, timeout=10)
    quota = Quota("fleet", name, 1000, 86400.0, algorithm=Window(algorithm))
    plan = Plan((quota, Quota("other", name, 10**6, 60.0)), (0, 0), (1, 1))
    async def takers():
        admitted = 0
        for _ in range(25):
            readings = (await store.take([Planned(plan, ["198.51.100.7"])], time.time()))[0]
            admitted += all(reading.admitted for reading in readings)
        return admitted
    print(sum(await asyncio.gather(*[takers() for _ in range(16)])))
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("algorithm", [Window.FIXED, Window.SLIDING, Window.GCRA], ids=str)
def test_four_processes_admit_exactly_the_limit_together(redis_server: Redis, algorithm: Window) -> None:
    command = [sys.executable, "-c", PROGRAM, redis_server.url, str(algorithm), f"{algorithm} four"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    admitted = [int(process.communicate(timeout=60)[0]) for process in processes]
    if algorithm is Window.GCRA:  # and what drains meanwhile: one in 86.4 seconds
        assert 1000 <= sum(admitted) <= 1002
    else:
        assert sum(admitted) == 1000
