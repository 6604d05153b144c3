"""The client's side of an exchange."""

import asyncio
from typing import Any

import pytest

from aupgate.proxy.client import NO_BODY, ClientSide, Watch, declared_length
from aupgate.proxy.errors import ClientGone
from tests.gateway.proxy.servers import GUARD, until


class Messages:
    """Gives the messages one after the other, and then nothing more."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages)
        self.asked = asyncio.Event()

    async def __call__(self) -> dict[str, Any]:
        if not self.messages:
            self.asked.set()
            await asyncio.Event().wait()
        return self.messages.pop(0)


def piece(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


@pytest.mark.parametrize(
    ("headers", "version", "expected"),
    [
        pytest.param([], "1.1", NO_BODY, id="no body"),
        pytest.param([(b"content-length", b"0")], "1.1", 0, id="an empty body"),
        pytest.param([(b"content-length", b"12")], "1.1", 12, id="counted"),
        pytest.param([(b"transfer-encoding", b"chunked")], "1.1", None, id="chunked"),
        pytest.param([], "2", None, id="HTTP/2 need not say"),
        pytest.param([(b"content-length", b"12")], "2", 12, id="HTTP/2 may say"),
    ],
)
def test_the_head_declares_the_body(headers: list[tuple[bytes, bytes]], version: str, expected: int | None) -> None:
    assert declared_length(headers, version) == expected


async def test_the_body_comes_piece_by_piece() -> None:
    client = ClientSide(Messages(piece(b"b"), piece(b""), piece(b"c", more=False)), Watch())
    assert [each async for each in client.pieces(b"a")] == [b"a", b"b", b"", b"c"]
    client.release()


async def test_a_client_that_goes_before_its_body_ended_is_gone() -> None:
    client = ClientSide(Messages(piece(b"a"), GONE), Watch())
    with pytest.raises(ClientGone):
        [each async for each in client.pieces()]


async def test_a_client_that_goes_later_is_told_of_once() -> None:
    told: asyncio.Queue[Exception] = asyncio.Queue()
    client = ClientSide(Messages(piece(b"", more=False), GONE, GONE), Watch())
    client.on_gone = told.put_nowait
    client.body_ended()
    async with asyncio.timeout(GUARD):
        assert isinstance(await told.get(), ClientGone)
    client.release()
    assert told.empty()


async def test_a_client_that_stays_is_not_told_of_and_its_watch_ends_with_the_exchange() -> None:
    receive, watch = Messages(), Watch()
    client = ClientSide(receive, watch)
    client.on_gone = lambda error: pytest.fail(str(error))
    client.body_ended()
    async with asyncio.timeout(GUARD):
        await receive.asked.wait()
    task = client._task
    client.release()
    assert task is not None
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_quick_exchange_costs_no_task_and_the_timer_ends() -> None:
    receive, watch = Messages(GONE), Watch()
    client = ClientSide(receive, watch)
    client.body_ended()
    client.release()
    await until(lambda: watch._timer is None)
    assert receive.messages == [GONE]


async def test_a_released_client_is_not_watched_again() -> None:
    client = ClientSide(Messages(), watch := Watch())
    client.release()
    client.body_ended()
    assert watch._timer is None


async def test_a_server_that_repeats_itself_does_not_make_the_watch_spin() -> None:
    asked = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return piece(b"", more=False)

    client = ClientSide(receive, Watch())
    client.start()
    assert client._task is not None
    await client._task
    assert asked == 1000
