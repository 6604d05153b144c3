"""Faults of Redis, and what becomes of takes meanwhile: none waits longer than the timeout, and all is well after."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from aupgate.errors import StoreError, StoreUnavailableError
from aupgate.meters import Meter, MeterKind, OnFailure, Post, PostKind, Quota, Window
from aupgate.store.memory import MemoryStore
from aupgate.store.redis.link import TRIP, LinkState
from aupgate.store.redis.store import RedisStore
from aupgate.store.resilient import ResilientStore
from tests.services import Redis, accepts, run_redis, running, short_directory

QUOTA = Quota("tests.link", "link", 1000, 3600.0)
METER = Meter(QUOTA, "k")


@pytest.fixture
def redis() -> Iterator[Redis]:
    with run_redis() as server:
        yield server


@pytest.fixture
async def store(redis: Redis) -> AsyncIterator[RedisStore]:
    opened = RedisStore(redis.url, timeout=0.05)
    for _ in range(100):  # the first answer may take longer on a busy machine
        if (await asked(opened)) is None:
            break
    yield opened
    await opened.close()


async def asked(store: RedisStore) -> Exception | None:
    try:
        await store.take([[METER]], time.time())
    except StoreError as error:
        return error
    return None


async def until(store: RedisStore, state: LinkState) -> None:
    """Wait for a state; the test's own time limit ends what never comes."""
    while store.state is not state:
        await asked(store)
        await asyncio.sleep(0.005)


async def test_a_script_that_redis_has_lost_is_loaded_again(redis: Redis, store: RedisStore) -> None:
    await store.take([[METER]], time.time())
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(redis.socket))
        client.sendall(b"SCRIPT FLUSH\r\n")
        assert client.recv(100) == b"+OK\r\n"
    answers = await asyncio.gather(*[asked(store) for _ in range(20)])
    assert answers == [None] * 20


async def test_takes_of_one_turn_share_a_write(store: RedisStore) -> None:
    (link,) = store._nodes.links()
    before = link.tally.batches
    await asyncio.gather(*[store.take([[METER]], time.time()) for _ in range(64)])
    assert link.tally.batches == before + 1


async def test_while_redis_is_stopped_takes_fail_and_then_do_not_even_wait(redis: Redis, store: RedisStore) -> None:
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        errors = [await asked(store) for _ in range(TRIP + 1)]
        assert all(isinstance(error, StoreError) for error in errors)
        assert isinstance(errors[-1], StoreUnavailableError)
        assert store.state is LinkState.DOWN
        answered: list[object] = []
        store.submit([[METER]], time.time(), answered.append)
        assert isinstance(answered[0], StoreUnavailableError)
    finally:
        os.kill(redis.pid, signal.SIGCONT)
    await until(store, LinkState.UP)
    await until_answered(store)


async def until_answered(store: RedisStore) -> None:
    """Take until one is answered; the test's own time limit ends what never is."""
    while await asked(store) is not None:  # noqa: ASYNC110 - to ask is what it waits for
        await asyncio.sleep(0.005)


async def test_a_redis_that_was_killed_is_used_again_when_it_is_back() -> None:
    with short_directory("redis") as directory:
        path = directory / "redis.sock"
        command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", ""]
        store = RedisStore(f"unix://{path}", timeout=0.05)
        with running(command, directory, lambda: accepts(path)) as pid:
            await until_answered(store)
            os.kill(pid, signal.SIGKILL)
            await until(store, LinkState.DOWN)
        path.unlink(missing_ok=True)
        with running(command, directory, lambda: accepts(path)):
            await until(store, LinkState.UP)
            await until_answered(store)
            await store.close()


async def test_a_socket_that_never_answers_fails_takes_from_the_first(tmp_path: Path) -> None:
    with short_directory("hole") as directory, socket.socket(socket.AF_UNIX) as hole:
        hole.bind(str(directory / "hole.sock"))
        hole.listen()
        store = RedisStore(f"unix://{directory}/hole.sock", timeout=0.05)
        assert isinstance(await asked(store), StoreUnavailableError)
        assert isinstance(await asked(store), StoreUnavailableError)
        await store.close()


async def test_a_lease_that_ends_while_redis_is_away_ends_there_when_it_is_back(
    redis: Redis, store: RedisStore
) -> None:
    places = Quota("tests.link", "places", 1, 3600.0, MeterKind.LEASE)
    held = Meter(places, "k", 1, "first")
    assert (await store.take([[held]], time.time()))[0][0].admitted
    os.kill(redis.pid, signal.SIGSTOP)
    await until(store, LinkState.DOWN)
    store.post([Post(held, PostKind.RELEASE)], time.time())
    os.kill(redis.pid, signal.SIGCONT)
    await until(store, LinkState.UP)
    await until_answered(store)
    assert (await store.take([[Meter(places, "k", 1, "second")]], time.time()))[0][0].admitted


@pytest.mark.parametrize("on_failure", list(OnFailure), ids=str)
async def test_what_becomes_of_takes_while_redis_is_away(
    redis: Redis, store: RedisStore, on_failure: OnFailure
) -> None:
    resilient = ResilientStore(store, MemoryStore(), on_failure)
    small = Meter(Quota("tests.link", "small", 2, 3600.0, algorithm=Window.FIXED), "k")
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        answers: list[bool | None] = []
        for _ in range(TRIP + 3):
            try:
                answers.append((await resilient.take([[small]], time.time()))[0][0].admitted)
            except StoreError:
                answers.append(None)
    finally:
        os.kill(redis.pid, signal.SIGCONT)
    expected = {
        OnFailure.LOCAL: [True, True] + [False] * (TRIP + 1),
        OnFailure.ALLOW: [True] * (TRIP + 3),
        OnFailure.REFUSE: [None] * (TRIP + 3),
    }
    assert answers == expected[on_failure]
