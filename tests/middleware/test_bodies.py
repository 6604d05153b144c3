"""Bodies that are held are replayed whole, and reading on from a refused client is bounded."""

import asyncio
from typing import Any

import pytest

from aupgate.enforcement import Enforcement
from aupgate.middleware import bodies
from aupgate.middleware.bodies import drain
from aupgate.model import Mode
from tests.gateway.scripted import Inspect
from tests.middleware.wrapped import a_gateway, body_messages, call, http_scope


class Reader:
    """An application that keeps what it receives, up to the end of the body."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while not self.seen or self.seen[-1].get("more_body", False):
            self.seen.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


PLACES = {"in memory": "64 KiB", "on disk": "0 B"}


@pytest.mark.parametrize("memory", PLACES.values(), ids=PLACES.keys())
async def test_a_body_that_came_in_one_message_is_replayed_as_that_message(memory: str) -> None:
    app, message = Reader(), {"type": "http.request", "body": b"abcd"}
    gateway = a_gateway(Inspect("i"), spool={"memory": memory})
    await call(app, gateway, http_scope(method="POST"), [message])
    assert app.seen == [message]
    assert gateway.spools.budget.used == 0


@pytest.mark.parametrize("memory", PLACES.values(), ids=PLACES.keys())
async def test_a_body_that_came_in_many_messages_is_replayed_in_few(memory: str) -> None:
    app, chunks = Reader(), [bytes([number]) * 1000 for number in range(150)]
    gateway = a_gateway(Inspect("i", max_size=10**6), spool={"memory": memory})
    await call(app, gateway, http_scope(method="POST"), body_messages(*chunks))
    assert b"".join(message["body"] for message in app.seen) == b"".join(chunks)
    assert len(app.seen) == 3


async def test_a_body_that_ends_with_an_empty_message_is_replayed_whole() -> None:
    app = Reader()
    await call(app, a_gateway(Inspect("i")), http_scope(method="POST"), body_messages(b"ab", b""))
    assert app.seen == [{"type": "http.request", "body": b"ab", "more_body": False}]


async def test_a_last_message_that_leaves_out_what_is_usual_loses_nothing_of_an_excess_that_is_observed() -> None:
    app, policy = Reader(), Inspect("i", max_size=3)
    gateway = a_gateway(Enforcement(policy, rules={"too_large": Mode.OBSERVE}))
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "body": b"cd"},
    ]
    await call(app, gateway, http_scope(method="POST"), messages)
    assert b"".join(message["body"] for message in app.seen) == b"abcd"


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
