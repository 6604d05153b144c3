"""A connection: one write a turn, replies in order, bounds, and an end that everyone hears of."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aupgate.errors import StoreError, StoreUnavailableError
from aupgate.store.redis.connection import MOST_BATCHES, MOST_WAITING, Connection, Tally
from tests.services import short_directory


class Peer:
    """A server that answers when told to, and the owner of the connection to it."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self.writer: asyncio.StreamWriter | None = None
        self.seen: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        while data := await reader.read(65536):
            self.received.put_nowait(data)

    def answer(self, data: bytes) -> None:
        assert self.writer is not None
        self.writer.write(data)

    def replied(self) -> None:
        self.seen.append("replied")

    def timed_out(self) -> None:
        self.seen.append("timed out")

    def lost(self) -> None:
        self.seen.append("lost")


@pytest.fixture
async def peer() -> AsyncIterator[tuple[Peer, Path]]:
    with short_directory("peer") as directory:
        peer = Peer()
        server = await asyncio.start_unix_server(peer.serve, directory / "s")
        yield peer, directory / "s"
        server.close()
        if peer.writer is not None:
            peer.writer.close()


async def connect(peer: tuple[Peer, Path], seconds: float = 30) -> Connection:
    loop = asyncio.get_running_loop()
    owner, path = peer
    _, connection = await loop.create_unix_connection(lambda: Connection(owner, Tally(), seconds), str(path))
    return connection


async def test_what_is_asked_in_one_turn_is_one_write_and_answered_in_order(peer: tuple[Peer, Path]) -> None:
    connection = await connect(peer)
    asked = [asyncio.ensure_future(connection.reply(word)) for word in ("ONE", "TWO")]
    assert (await peer[0].received.get()).count(b"\r\n") == 6
    peer[0].answer(b"+1\r\n+")
    peer[0].answer(b"2\r\n")
    assert await asyncio.gather(*asked) == [b"1", b"2"]
    connection.abort()


async def test_further_takes_wait_for_the_replies_of_the_batches_before(peer: tuple[Peer, Path]) -> None:
    connection = await connect(peer)
    asked = []
    for number in range(MOST_BATCHES):
        asked.append(asyncio.ensure_future(connection.reply(f"FIRST{number}")))
        await peer[0].received.get()
    asked += [asyncio.ensure_future(connection.reply(f"LATER{number}")) for number in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert connection._tally.batches == MOST_BATCHES
    peer[0].answer(b"+OK\r\n")
    assert (await peer[0].received.get()).count(b"LATER") == 5
    peer[0].answer(b"+OK\r\n" * (MOST_BATCHES + 4))
    assert len(await asyncio.gather(*asked)) == MOST_BATCHES + 5
    connection.abort()


async def test_a_reply_too_late_finds_nobody_and_the_next_is_not_mixed_up(peer: tuple[Peer, Path]) -> None:
    connection = await connect(peer, 0.01)
    with pytest.raises(StoreError, match=r"within 0\.01 s"):
        await connection.reply("LATE")
    assert peer[0].seen == ["timed out"]
    connection.expect(30)
    second = asyncio.ensure_future(connection.reply("SECOND"))
    await asyncio.sleep(0)
    peer[0].answer(b"+late\r\n+second\r\n")
    assert await second == b"second"
    connection.abort()


async def test_what_a_connection_waits_for_later_is_not_what_it_waited_for_at_first(peer: tuple[Peer, Path]) -> None:
    connection = await connect(peer, 3600)
    first = asyncio.ensure_future(connection.reply("GREETING"))
    await peer[0].received.get()
    peer[0].answer(b"+OK\r\n")
    assert await first == b"OK"
    connection.expect(0.01)
    with pytest.raises(StoreError, match=r"within 0\.01 s"):
        await connection.reply("LATE")
    connection.abort()


@pytest.mark.parametrize("end", [b"", b"nonsense\r\n", b"+nobody asked\r\n" * 3], ids=repr)
async def test_a_connection_that_ends_tells_all_who_wait(peer: tuple[Peer, Path], end: bytes) -> None:
    connection = await connect(peer)
    asked = [asyncio.ensure_future(connection.reply("WAITS")) for _ in range(2)]
    await peer[0].received.get()
    peer[0].answer(end)
    assert peer[0].writer is not None
    peer[0].writer.close()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers[-1], StoreError) or end.startswith(b"+")
    with pytest.raises(StoreUnavailableError):
        await connection.reply("AFTER")
    assert peer[0].seen[-1] == "lost"


async def test_more_than_may_wait_fail_at_once(peer: tuple[Peer, Path]) -> None:
    connection = await connect(peer)
    answers: list[Any] = []
    for _ in range(MOST_WAITING + 1):
        connection.ask(b"PING\r\n", answers.append)
    assert [type(answer) for answer in answers] == [StoreUnavailableError]
    connection.abort()
    assert len(answers) == MOST_WAITING + 1


async def test_an_error_of_redis_is_an_error(peer: tuple[Peer, Path]) -> None:
    connection = await connect(peer)
    asked = asyncio.ensure_future(connection.reply("AUTH", "secret"))
    await peer[0].received.get()
    peer[0].answer(b"-WRONGPASS no\r\n")
    with pytest.raises(StoreError, match="refused 'AUTH': WRONGPASS no"):
        await asked
    connection.abort()
