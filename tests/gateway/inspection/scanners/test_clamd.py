"""clamd: a real one answers, and everything that is no answer is an error."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aupgate.inspection.scanners.base import Answer, ScanResult
from aupgate.inspection.scanners.clamd import CONNECTIONS, ClamdScanner
from aupgate.inspection.spool import SpoolFactory
from tests.gateway.inspection.files import noise, spooled, zipped
from tests.services import EICAR, MARKER, Clamd, run_clamd


async def scan(
    address: str | tuple[str, int], data: bytes, *, memory: int = 64 * 1024, within: float = 30.0
) -> ScanResult:
    scanner = ClamdScanner("clamd", address, within)
    try:
        with spooled(data, memory) as content:
            return await scanner.scan(content)
    finally:
        scanner.close()


MEMORY = pytest.mark.parametrize("memory", [10**8, 0], ids=["streamed", "as a descriptor"])

ANSWERS = {
    "EICAR": (EICAR, Answer.INFECTED),
    "EICAR in a ZIP": (zipped({"a": noise(100), "b": EICAR}), Answer.INFECTED),
    "something only this clamd knows": (noise(300_000) + MARKER, Answer.INFECTED),
    "text": (b"hello", Answer.CLEAN),
    "a large file": (noise(1_000_000), Answer.CLEAN),
}


@MEMORY
@pytest.mark.parametrize(("data", "answer"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_a_real_clamd_answers(clamd: Clamd, data: bytes, answer: Answer, memory: int) -> None:
    result = await scan(str(clamd.socket), data, memory=memory)
    assert (result.answer, result.reason) == (answer, "")
    assert ("Aupgate.Test." in result.signature) == (answer is Answer.INFECTED)


async def test_more_scans_than_connections_wait_for_their_turn(clamd: Clamd) -> None:
    scanner = ClamdScanner("clamd", str(clamd.socket), 30.0)
    contents = [spooled(EICAR if number % 2 else b"fine") for number in range(3 * CONNECTIONS)]
    results = await asyncio.gather(*map(scanner.scan, contents))
    scanner.close()
    assert [result.answer for result in results] == [Answer.CLEAN, Answer.INFECTED] * (len(contents) // 2)


async def test_limits_and_encryption_are_told_from_infection_and_a_long_stream_is_an_error() -> None:
    encrypted = zipped({"secret.txt": b"x" * 50})
    flags = (b"PK\x03\x04\x14\x00", b"PK\x01\x02\x14\x03\x14\x00")
    for mark in flags:
        encrypted = encrypted.replace(mark + b"\x00\x00", mark + b"\x01\x00")
    with run_clamd("AlertEncrypted yes\nMaxFileSize 100K\nStreamMaxLength 200K\n") as server:
        address = str(server.socket)
        limits = await scan(address, noise(150_000), memory=10**8)
        assert (limits.answer, limits.signature[:18]) == (Answer.LIMITS, "Heuristics.Limits.")
        locked = await scan(address, encrypted)
        assert (locked.answer, locked.signature[:21]) == (Answer.ENCRYPTED, "Heuristics.Encrypted.")
        long = await scan(address, noise(3_000_000), memory=10**8)
        assert long.answer is Answer.ERROR
        assert "raise StreamMaxLength" in long.reason


@asynccontextmanager
async def answering(path: Path, answer: bytes | None) -> AsyncIterator[str]:
    """A server that says `answer` whatever it is asked; None: nothing at all."""
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        if answer is None:
            await release.wait()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield str(path)
    finally:
        release.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"stream: OK but\0",
        b"OK\0",
        b"UNKNOWN COMMAND\0",
        b"stream: lstat() failed. ERROR\0",
        b"FOUND\0",
        b"stream: FOUNDATION\0",
        b"x" * 10_000,
        b"\xff\xfe\0",
    ],
    ids=lambda answer: repr(answer[:12]),
)
async def test_an_answer_that_is_none_is_an_error(tmp_path: Path, answer: bytes) -> None:
    async with answering(tmp_path / "s", answer) as address:
        assert (await scan(address, b"x")).answer is Answer.ERROR


async def test_a_clamd_that_says_nothing_is_an_error_after_the_time_limit(tmp_path: Path) -> None:
    async with answering(tmp_path / "s", None) as address:
        result = await scan(address, b"x", within=0.05)
    assert result == ScanResult("clamd", Answer.ERROR, reason="no answer within 0.05 seconds")


async def test_a_clamd_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert (await scan(str(tmp_path / "none"), b"x")).answer is Answer.ERROR
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert (await scan(("127.0.0.1", port), b"x")).answer is Answer.ERROR


@pytest.mark.parametrize("size", [5, 700_000])
async def test_over_tcp_the_content_is_streamed(size: int) -> None:
    """The other end takes the pieces apart as clamd's manual says."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readexactly(10))
        while length := int.from_bytes(await reader.readexactly(4), "big"):
            received.append(await reader.readexactly(length))
        writer.write(b"stream: Test.Found FOUND\0")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    scanner = ClamdScanner("clamd", ("localhost", server.sockets[0].getsockname()[1]), 30.0)
    with SpoolFactory().open() as content:
        content.write(noise(size))
        result = await scanner.scan(content)
    scanner.close()
    server.close()
    await server.wait_closed()
    assert (result.answer, result.signature) == (Answer.INFECTED, "Test.Found")
    assert received[0] == b"zINSTREAM\0"
    assert b"".join(received[1:]) == noise(size)
