"""Background work starts with the lifespan, or else with the first request, and ends with the lifespan."""

import asyncio
from typing import Any

import pytest

from aupgate.errors import ServiceError
from aupgate.middleware import AcceptableUse, lifespan
from tests.gateway.scripted import Judge
from tests.middleware.wrapped import App, Server, a_gateway, body_messages, http_scope


class Loads(Judge):
    """Prepares, failing the first times."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__("loads")
        self.failures = failures
        self.tries = 0

    async def prepare(self, services: Any) -> None:
        self.tries += 1
        if self.tries <= self.failures:
            raise ServiceError("not there yet")


async def with_lifespan(scope: Any, receive: Any, send: Any) -> None:
    """An application with a lifespan, that answers requests too."""
    if scope["type"] != "lifespan":
        await App()(scope, receive, send)
        return
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def without_lifespan(scope: Any, receive: Any, send: Any) -> None:
    """An application that knows no lifespan, and says so as most do."""
    assert scope["type"] == "http"
    await App()(scope, receive, send)


async def run_lifespan(wrapped: AcceptableUse, *during: Any) -> list[str]:
    """Run a lifespan, with `during` between its start and its end; return what the application sent."""
    sent: list[str] = []
    started = asyncio.Event()
    messages = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> Any:
        kind = next(messages)
        if kind == "lifespan.shutdown":
            await started.wait()
            for step in during:
                await step()
        return {"type": kind}

    async def send(message: Any) -> None:
        sent.append(message["type"])
        started.set()

    await wrapped({"type": "lifespan", "state": {}}, receive, send)
    return sent


async def request(wrapped: AcceptableUse) -> int:
    server = Server(body_messages(b""))
    await wrapped(http_scope(), server.receive, server.send)
    return server.status


async def test_the_applications_lifespan_runs_and_policies_are_prepared_before_it_is_complete() -> None:
    policy = Loads()
    wrapped = AcceptableUse(with_lifespan, a_gateway(policy))

    async def prepared() -> None:
        assert wrapped.preparation.ready

    assert await run_lifespan(wrapped, prepared) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert policy.tries == 1


async def test_without_a_lifespan_the_first_request_starts_it() -> None:
    policy = Loads()
    wrapped = AcceptableUse(without_lifespan, a_gateway(policy))
    with pytest.raises(AssertionError):  # the server takes this for "no lifespan"
        await run_lifespan(wrapped)
    assert [await request(wrapped) for _ in range(3)] == [200, 200, 200]
    assert policy.tries == 1


async def test_what_cannot_be_loaded_is_tried_again_until_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifespan, "FIRST_RETRY", 0.0)
    policy = Loads(failures=3)
    wrapped = AcceptableUse(with_lifespan, a_gateway(policy))

    async def ready() -> None:
        async with asyncio.timeout(5):
            while not wrapped.preparation.ready:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0)

    await run_lifespan(wrapped, ready)
    assert policy.tries == 4


async def test_a_first_request_that_is_cancelled_does_not_end_the_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifespan, "FIRST_RETRY", 0.0)
    policy = Loads(failures=3)
    wrapped = AcceptableUse(without_lifespan, a_gateway(policy))
    first = asyncio.create_task(request(wrapped))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    async with asyncio.timeout(5):
        while not wrapped.preparation.ready:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)


def test_a_second_event_loop_tries_anew() -> None:
    policy = Loads(failures=1)
    wrapped = AcceptableUse(without_lifespan, a_gateway(policy))
    assert [asyncio.run(request(wrapped)) for _ in range(2)] == [200, 200]
    assert wrapped.preparation.ready


async def test_the_end_of_the_lifespan_ends_the_trying() -> None:
    policy = Loads(failures=10**6)
    before = len(asyncio.all_tasks())
    await run_lifespan(AcceptableUse(with_lifespan, a_gateway(policy)))
    assert len(asyncio.all_tasks()) == before
