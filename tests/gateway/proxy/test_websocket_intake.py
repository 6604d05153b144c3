"""What a client may do with a websocket, and where that ends."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from aupgate.proxy.admission import Admission
from aupgate.proxy.intake import IntakeLimits
from aupgate.proxy.websocket_intake import MAX_FRAGMENTS
from tests.gateway.proxy.servers import GUARD, Receive, Scope, Send, get, open_to, serving, until, with_lifespan

TEXT, CONTINUED, PING, PONG, CLOSE, FINAL = 0x1, 0x0, 0x9, 0xA, 0x8, 0x80

HANDSHAKE = get(
    "/", "upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg=="
).replace(b": close", b": Upgrade")


def frame(opcode: int, data: bytes = b"") -> bytes:
    """Return a short frame as clients send it; the mask is all zeros."""
    assert len(data) < 126
    return bytes([opcode, 0x80 | len(data)]) + bytes(4) + data


class Application:
    """Takes as many messages as it is told to, and writes what it is given."""

    def __init__(self, *writes: str) -> None:
        self.taken: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.over = asyncio.Event()
        self.queued = 0
        self.app = with_lifespan(self._run)
        self._writes = writes

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        with suppress(Exception):  # it ends when the client does
            for text in self._writes:
                await send({"type": "websocket.send", "text": text})
        while True:
            await self.go_on.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                break
            self.queued = max(self.queued, receive.__self__.queue.qsize())  # type: ignore[attr-defined]
            self.taken.append(message["text"])
        self.over.set()


@asynccontextmanager
async def opened(
    application: Application, **settings: Any
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a websocket."""
    async with serving(application.app, **settings) as address, asyncio.timeout(GUARD):
        reader, writer = await open_to(address)
        writer.write(HANDSHAKE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        try:
            yield reader, writer
        finally:
            writer.close()


async def test_thousands_of_messages_in_one_packet_are_taken_as_the_application_does() -> None:
    application = Application()
    count = 20_000
    async with opened(application) as (_, writer):
        writer.write(frame(TEXT | FINAL, b"x") * count)
        await until(lambda: len(application.taken) == count)
    assert 0 < application.queued < 2000


async def test_a_large_message_arrives_whole() -> None:
    application = Application()
    size = 300_000
    async with opened(application) as (_, writer):
        writer.write(bytes([TEXT | FINAL, 0xFF]) + struct.pack("!Q", size) + bytes(4) + b"x" * size)
        writer.write(frame(TEXT | FINAL, b"next"))
        await until(lambda: len(application.taken) == 2)
    assert application.taken == ["x" * size, "next"]


@pytest.mark.parametrize("text", [b"", b"y"], ids=["empty", "of one byte"])
async def test_a_message_has_so_many_fragments(text: bytes) -> None:
    application = Application()
    most = MAX_FRAGMENTS - 2
    whole = frame(TEXT, b"x") + frame(CONTINUED, text) * most + frame(CONTINUED | FINAL, b"z")
    async with opened(application) as (reader, writer):
        writer.write(whole)
        await until(lambda: len(application.taken) == 1)
        assert application.taken == [f"x{text.decode() * most}z"]
        writer.write(frame(TEXT, b"x") + frame(CONTINUED, text) * (most + 10))
        answer = await reader.read()
    assert answer[0] == CLOSE | FINAL
    assert struct.unpack("!H", answer[2:4]) == (1009,)


async def test_pings_are_answered() -> None:
    async with opened(Application()) as (reader, writer):
        writer.write(frame(PING | FINAL, b"1") + frame(PING | FINAL, b"2"))
        assert await reader.readexactly(6) == bytes([PONG | FINAL, 1]) + b"1" + bytes([PONG | FINAL, 1]) + b"2"


async def test_who_does_not_read_gets_the_answer_to_the_last_ping_alone() -> None:
    application = Application("x" * 8_000_000)
    application.go_on.clear()
    async with opened(application) as (reader, writer):
        await asyncio.sleep(0)
        writer.write(b"".join(frame(PING | FINAL, b"%d" % number) for number in range(10_000)))
        writer.write(frame(TEXT | FINAL, b"read"))
        application.go_on.set()
        await until(lambda: application.taken == ["read"])
        assert (await reader.readexactly(10 + 8_000_000))[10:] == b"x" * 8_000_000
        assert await reader.readexactly(6) == bytes([PONG | FINAL, 4]) + b"9999"


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not"])
async def test_a_client_that_reads_nothing_is_cut_off(reads: bool) -> None:
    application, admission = Application("x" * 8_000_000), Admission()
    limits = IntakeLimits(write_timeout=0.1)
    async with opened(application, limits=limits, admission=admission) as (reader, _):
        if reads:
            assert len(await reader.readexactly(10 + 8_000_000)) == 10 + 8_000_000
            assert admission.open == 1
        else:
            await application.over.wait()
            await until(lambda: admission.open == 0)
            assert list(admission.families())[2].samples == [(("response",), 1)]
