"""What the listener takes from clients, and how much of it."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from aupgate.proxy.intake import IntakeLimits
from tests.gateway.proxy.servers import GUARD, Receive, Scope, Send, ask, get, open_to, parts, serving, with_lifespan


@with_lifespan
async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the request's body; 200 without content when the client broke off."""
    assert scope["type"] == "http"
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    fields = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})


def limited(**limits: Any) -> Any:
    return serving(echo, limits=IntakeLimits(**limits))


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(get("/", f"a: {'x' * 2000}"), id="one long field"),
        pytest.param(get("/", *[f"a{number}: b" for number in range(300)]), id="many fields"),
        pytest.param(get("/" + "x" * 2000), id="a long target"),
        pytest.param(get("/", f"a: {'x' * 2000}")[:-4], id="a head that does not end"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" + get("/", f"a: {'x' * 2000}"), id="the second request"),
    ],
)
async def test_a_head_that_is_too_large_is_refused_with_431(request_: bytes) -> None:
    async with limited(head_size=1000) as address:
        answer = await ask(address, request_)
    status, fields, body = parts(answer[answer.rindex(b"HTTP/1.1") :])
    assert status == 431
    assert fields[b"content-type"] == b"application/problem+json"
    assert b"protocol.header_size" in body


async def test_a_large_body_is_no_large_head() -> None:
    async with limited(head_size=1000) as address:
        body = b"x" * 200_000
        request = get("/", f"content-length: {len(body)}", method="POST")
        assert parts(await ask(address, request + body))[2] == body


async def test_requests_on_one_connection_are_counted_apart() -> None:
    async with limited(head_size=1000) as address:
        once = b"GET / HTTP/1.1\r\nhost: a\r\na: %b\r\n\r\n" % (b"x" * 800)
        answers = await ask(address, once * 3 + get("/"))
        assert answers.count(b"HTTP/1.1 200 OK") == 4


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HTTP/1.1\r\nhost:", id="half a head"),
        pytest.param(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab", id="half a body"),
    ],
)
async def test_a_client_that_falls_silent_is_cut_off(begun: bytes) -> None:
    async with limited(head_timeout=0.1, body_timeout=0.1) as address, asyncio.timeout(GUARD):
        reader, writer = await open_to(address)
        writer.write(begun)
        with suppress(ConnectionResetError):  # cut off is cut off
            assert await reader.read() == b""
        writer.close()


async def test_a_second_head_that_does_not_end_is_cut_off() -> None:
    async with limited(head_timeout=0.1) as address, asyncio.timeout(GUARD):
        reader, writer = await open_to(address)
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HT")
        with suppress(ConnectionResetError):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.read() == b""
        writer.close()


async def test_a_client_between_two_requests_and_one_that_waits_for_its_answer_are_left_alone() -> None:
    go_on = asyncio.Event()

    @with_lifespan
    async def slow(_: Scope, __: Receive, send: Send) -> None:
        await go_on.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with (
        serving(slow, limits=IntakeLimits(head_timeout=0.1, body_timeout=0.1)) as address,
        asyncio.timeout(GUARD),
    ):
        reader, writer = await open_to(address)
        for _ in range(2):
            go_on.clear()
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            await asyncio.sleep(0.2)  # beyond both limits
            go_on.set()
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
            await asyncio.sleep(0.2)
        writer.close()


async def test_what_is_no_http_is_refused_with_400() -> None:
    async with limited() as address:
        assert (await ask(address, b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400")
