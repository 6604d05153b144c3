"""Reading on from a refused client is bounded."""

import asyncio
from typing import Any

import pytest

from aupgate.middleware import bodies
from aupgate.middleware.bodies import drain


async def endless() -> Any:
    await asyncio.sleep(0)
    return {"type": "http.request", "body": b"x" * 1000, "more_body": True}


async def silent() -> Any:
    await asyncio.Event().wait()


async def test_a_client_that_sends_without_end_is_read_up_to_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LINGER_BYTES", 5000)
    received = 0

    async def counting() -> Any:
        nonlocal received
        received += 1
        return await endless()

    await drain(counting)
    assert received == 5


async def test_a_client_that_stops_sending_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LINGER", 0.01)
    await drain(silent)


@pytest.mark.parametrize(
    "last", [{"type": "http.disconnect"}, {"type": "http.request", "body": b"", "more_body": False}]
)
async def test_reading_on_ends_with_the_body_or_the_client(last: dict[str, Any]) -> None:
    messages = [last]

    async def receive() -> Any:
        return messages.pop()

    await drain(receive)
    assert messages == []
