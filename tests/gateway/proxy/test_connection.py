"""One connection to an upstream, against raw servers: what it takes, what it refuses, and when it is used again."""

import asyncio
import math
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop

from aupgate.proxy.connection import HEAD_LIMIT, Timeouts
from aupgate.proxy.errors import ConnectionDied, UpstreamError, UpstreamProtocolError, UpstreamTimeout
from aupgate.proxy.upstream import Upstreams
from tests.gateway.proxy.hostile import CHUNKED, HOSTILE, OK
from tests.gateway.proxy.servers import GUARD, HOST, Loop, RawServer, read_head, run_on, saying, until

both_loops = pytest.mark.parametrize(
    "loop", [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]
)
whole_and_byte_by_byte = pytest.mark.parametrize(
    "byte_by_byte", [pytest.param(False, id="whole"), pytest.param(True, id="byte by byte")]
)


async def fetch(upstreams: Upstreams, method: bytes = b"GET") -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    response = await upstreams.send(method, b"/", HOST)
    try:
        body = b"".join([chunk async for chunk in response])
    finally:
        response.close()
    return response.status, response.headers, body


@both_loops
@whole_and_byte_by_byte
@pytest.mark.parametrize(("answer", "close"), HOSTILE)
def test_an_ambiguous_or_broken_response_is_refused_and_its_connection_never_used_again(
    tmp_path: Path, loop: Loop, byte_by_byte: bool, answer: bytes, close: bool
) -> None:
    async def work() -> None:
        async with RawServer(tmp_path / "s", saying(answer, close=close, byte_by_byte=byte_by_byte)) as server:
            upstreams = Upstreams.from_urls([server.url])
            for round_ in (1, 2):
                with pytest.raises(UpstreamProtocolError):
                    await fetch(upstreams)
                assert server.connections == round_
            upstreams.close()

    run_on(loop, work())


@both_loops
def test_a_response_that_would_end_with_its_connection_is_not_whole_when_we_cut_it(tmp_path: Path, loop: Loop) -> None:
    async def work() -> None:
        async with RawServer(tmp_path / "s", saying(OK + b"\r\nhello")) as server:
            upstreams = Upstreams.from_urls([server.url])
            response = await upstreams.send(b"GET", b"/", HOST)
            assert await response.next_chunk() == b"hello"
            upstreams.close()
            with pytest.raises(UpstreamProtocolError, match="ended inside a response"):
                await response.next_chunk()
            response.close()

    run_on(loop, work())


@both_loops
@whole_and_byte_by_byte
@pytest.mark.parametrize(
    ("method", "answer", "close", "expected", "used_again"),
    [
        pytest.param(b"GET", OK + b"Content-Length: 5\r\n\r\nhello", False, (200, b"hello"), True, id="counted"),
        pytest.param(b"GET", OK + b"Content-Length: 0\r\n\r\n", False, (200, b""), True, id="empty"),
        pytest.param(
            b"GET",
            CHUNKED + b"2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nA: b\r\n\r\n",
            False,
            (200, b"hello"),
            True,
            id="chunked",
        ),
        pytest.param(b"GET", OK + b"\r\nhello", True, (200, b"hello"), False, id="until the end of the connection"),
        pytest.param(b"GET", b"HTTP/1.0 200 OK\r\n\r\nhello", True, (200, b"hello"), False, id="HTTP/1.0"),
        pytest.param(
            b"GET",
            b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            False,
            (200, b"hello"),
            False,
            id="HTTP/1.0 counted",
        ),
        pytest.param(
            b"GET",
            OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
            False,
            (200, b"hello"),
            False,
            id="asks to close",
        ),
        pytest.param(b"HEAD", OK + b"Content-Length: 5\r\n\r\n", False, (200, b""), True, id="HEAD"),
        pytest.param(b"HEAD", OK + b"Transfer-Encoding: chunked\r\n\r\n", False, (200, b""), True, id="HEAD chunked"),
        pytest.param(b"HEAD", OK + b"Content-Length: 5\r\n\r\nhello", False, (200, b""), False, id="HEAD with a body"),
        pytest.param(b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", False, (204, b""), True, id="204"),
        pytest.param(
            b"GET", b"HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n", False, (304, b""), True, id="304 with a length"
        ),
        pytest.param(b"GET", b"HTTP/1.1 204 No\r\n\r\nhello", False, (204, b""), False, id="204 with a body"),
        pytest.param(
            b"GET", b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", False, (204, b""), False, id="204 with a length"
        ),
        pytest.param(
            b"GET", b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", False, (204, b""), False, id="204 chunked"
        ),
        pytest.param(
            b"GET",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
            + OK
            + b"Content-Length: 2\r\n\r\nhi",
            False,
            (200, b"hi"),
            True,
            id="interim responses are dropped",
        ),
        pytest.param(
            b"GET",
            OK + b"Content-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n",
            False,
            (200, b"hi"),
            False,
            id="more follows",
        ),
        pytest.param(
            b"GET", OK + b"Content-Length: 2\r\n\r\nhi!", False, (200, b"hi"), False, id="longer than it says"
        ),
    ],
)
def test_a_sound_response_is_taken_and_its_connection_used_again_only_without_doubt(
    tmp_path: Path, loop: Loop, byte_by_byte: bool, method: bytes, answer: bytes, close: bool,
    expected: tuple[int, bytes], used_again: bool,
) -> None:  # fmt: skip
    async def work() -> None:
        done = asyncio.Event()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await saying(answer, close=close, byte_by_byte=byte_by_byte)(reader, writer)
            finally:
                done.set()

        async with RawServer(tmp_path / "s", handler) as server:
            upstreams = Upstreams.from_urls([server.url])
            status, headers, body = await fetch(upstreams, method)
            assert (status, body) == expected
            assert (b"link", b"</a>") not in headers
            if not used_again:  # the surplus may still be on its way
                await done.wait()
            await fetch(upstreams, method)
            assert server.connections == (1 if used_again else 2)
            upstreams.close()

    run_on(loop, work())


async def test_header_fields_come_in_order_with_duplicates_and_without_outer_whitespace(tmp_path: Path) -> None:
    answer = OK + b"Set-Cookie: a=1\r\nX-Empty:\r\nSet-Cookie:  b=2 \t\r\nContent-Length: 0\r\n\r\n"
    async with RawServer(tmp_path / "s", saying(answer)) as server:
        upstreams = Upstreams.from_urls([server.url])
        _, headers, _ = await fetch(upstreams)
        upstreams.close()
    assert headers == [(b"set-cookie", b"a=1"), (b"x-empty", b""), (b"set-cookie", b"b=2"), (b"content-length", b"0")]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK + b"A: %b\r\nContent-Length: 0\r\n\r\n" % (b"x" * HEAD_LIMIT), id="one long field"),
        pytest.param(OK + b"A: b\r\n" * (HEAD_LIMIT // 6 + 1) + b"Content-Length: 0\r\n\r\n", id="many fields"),
        pytest.param(OK + b"A: b\r\n" * (HEAD_LIMIT // 6 + 1), id="a head that does not end"),
        pytest.param(b"HTTP/1.1 102 Processing\r\n\r\n" * (HEAD_LIMIT // 27 + 1), id="interim responses without end"),
        pytest.param(CHUNKED + b"1\r\nx\r\n1;%b\r\n" % (b"x" * 16 * HEAD_LIMIT), id="a chunk extension without end"),
        pytest.param(CHUNKED + b"0\r\n" + b"A: b\r\n" * (HEAD_LIMIT // 3), id="trailers without end"),
    ],
)
async def test_what_is_no_body_is_bounded(tmp_path: Path, answer: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        for at in range(0, len(answer), 4096):
            writer.write(answer[at : at + 4096])
            await writer.drain()
        await reader.read()

    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url])
        with pytest.raises(UpstreamProtocolError, match=str(HEAD_LIMIT)):
            await fetch(upstreams)
        upstreams.close()


async def test_a_head_of_almost_the_limit_passes_with_its_body(tmp_path: Path) -> None:
    answer = OK + b"A: %b\r\nContent-Length: 100000\r\n\r\n" % (b"x" * (HEAD_LIMIT - 100)) + b"y" * 100_000
    async with RawServer(tmp_path / "s", saying(answer)) as server:
        upstreams = Upstreams.from_urls([server.url])
        assert (await fetch(upstreams))[2] == b"y" * 100_000
        upstreams.close()


async def numbers(count: int, waiting: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    for number in range(count):
        yield b"%d," % number
    if waiting is not None:
        await waiting.wait()


@pytest.mark.parametrize(
    ("length", "framing"),
    [
        pytest.param(6, b"content-length: 6\r\n\r\n0,1,2,", id="counted"),
        pytest.param(
            None, b"transfer-encoding: chunked\r\n\r\n2\r\n0,\r\n2\r\n1,\r\n2\r\n2,\r\n0\r\n\r\n", id="chunked"
        ),
    ],
)
async def test_a_streamed_body_is_sent_as_it_comes(tmp_path: Path, length: int | None, framing: bytes) -> None:
    sent = b""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while not sent.endswith(framing):
            sent += await reader.read(1)
        writer.write(OK + b"Content-Length: 0\r\n\r\n")
        await reader.read()

    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url])
        response = await upstreams.send(b"POST", b"/", HOST, numbers(3), length)
        assert response.status == 200
        upstreams.close()


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
async def test_a_body_in_bytes_is_sent_whole(tmp_path: Path, size: int) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"content-length: %d\r\n" % size in await read_head(reader)
        await reader.readexactly(size)
        writer.write(OK + b"Content-Length: 0\r\n\r\n")
        await reader.read()

    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url])
        assert (await upstreams.send(b"POST", b"/", HOST, bytes(size))).status == 200
        upstreams.close()


@pytest.mark.parametrize("length", [pytest.param(5, id="too long"), pytest.param(7, id="too short")])
async def test_a_body_of_another_length_than_declared_closes_the_connection(tmp_path: Path, length: int) -> None:
    received = b""

    async def handler(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        nonlocal received
        received = await reader.read()

    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url])
        with pytest.raises(ValueError, match="content-length"):
            await upstreams.send(b"POST", b"/", HOST, numbers(3), length)
        await until(lambda: received != b"")
    assert len(received.partition(b"\r\n\r\n")[2]) != length


async def test_a_response_that_comes_early_is_delivered_and_the_rest_of_the_request_not_sent(tmp_path: Path) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nstop")
        await reader.read()
        ended.set()

    ended, never = asyncio.Event(), asyncio.Event()
    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url])
        response = await upstreams.send(b"POST", b"/", HOST, numbers(3, never), 1_000_000)
        assert (response.status, b"".join([chunk async for chunk in response])) == (413, b"stop")
        async with asyncio.timeout(GUARD):
            await ended.wait()
        upstreams.close()


@both_loops
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nstop", b"stop", id="an answer"),
        pytest.param(b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\nstop", None, id="half an answer"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_what_an_upstream_said_before_it_hung_up_on_a_body_is_read(
    loop: Loop, said: bytes, expected: bytes | None
) -> None:
    def answer_and_hang_up(listening: socket.socket) -> None:
        # Without a turn of the loop in between, so that the next write fails before anything was read.
        upstream, _ = listening.accept()
        with upstream:
            upstream.recv(10)
            upstream.sendall(said)

    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:

            async def body() -> AsyncIterator[bytes]:
                yield b"begun"
                answer_and_hang_up(listening)
                for _ in range(100):
                    yield bytes(65536)

            upstreams = Upstreams.from_urls([f"http://127.0.0.1:{listening.getsockname()[1]}"])
            try:
                response = await upstreams.send(b"POST", b"/", HOST, body())
                assert await response.next_chunk() == expected
            except UpstreamError:
                assert expected is None
            upstreams.close()
            await asyncio.sleep(0)

    run_on(loop, work())


async def test_an_upstream_may_answer_while_it_still_reads(tmp_path: Path) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK + b"Content-Length: 6\r\n\r\n")
        for _ in range(3):
            writer.write(await reader.readexactly(2))
        await reader.read()

    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url])
        response = await upstreams.send(b"POST", b"/", HOST, numbers(3), 6)
        assert b"".join([chunk async for chunk in response]) == b"0,1,2,"
        upstreams.close()


async def test_what_the_body_raises_is_raised_to_who_waits_and_the_upstream_sees_no_end(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise LookupError("no more")

    received = b""

    async def handler(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        nonlocal received
        received = await reader.read()

    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url])
        with pytest.raises(LookupError, match="no more"):
            await upstreams.send(b"POST", b"/", HOST, broken())
        await until(lambda: received != b"")
    assert not received.endswith(b"0\r\n\r\n")


async def test_a_body_waits_for_an_upstream_that_does_not_read(tmp_path: Path) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 65536
            yield bytes(65536)

    async def handler(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await asyncio.Event().wait()

    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url], Timeouts(pause=0.2))
        with pytest.raises(UpstreamTimeout, match="took nothing"):
            await upstreams.send(b"POST", b"/", HOST, endless())
    assert taken < 4 * 1024 * 1024


@pytest.mark.parametrize(
    ("answer", "timeouts", "message"),
    [
        pytest.param(b"", Timeouts(response=0.1), "no response", id="no head"),
        pytest.param(b"HTTP/1.1 200", Timeouts(response=0.1), "no response", id="half a head"),
        pytest.param(OK + b"Content-Length: 9\r\n\r\nhello", Timeouts(pause=0.1), "paused", id="half a body"),
    ],
)
async def test_an_upstream_that_falls_silent_times_out(
    tmp_path: Path, answer: bytes, timeouts: Timeouts, message: str
) -> None:
    async with RawServer(tmp_path / "s", saying(answer)) as server:
        upstreams = Upstreams.from_urls([server.url], timeouts)
        with pytest.raises(UpstreamTimeout, match=message):
            await fetch(upstreams)
        upstreams.close()


async def test_a_client_that_sends_slowly_does_not_use_up_the_upstreams_time(tmp_path: Path) -> None:
    deadlines: list[float] = []

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0)
            deadlines.extend(connection.deadline for connection in upstreams._pools[0]._open)
            yield b"x"

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await reader.readexactly(3)
        writer.write(OK + b"Content-Length: 0\r\n\r\n")
        await reader.read()

    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url])
        assert (await upstreams.send(b"POST", b"/", HOST, slow(), 3)).status == 200
        upstreams.close()
    assert deadlines == [math.inf] * 3


async def test_a_connection_that_ends_before_any_byte_is_told_apart_from_a_broken_response(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "s", saying(b"", close=True)) as server:
        upstreams = Upstreams.from_urls([server.url])
        with pytest.raises(ConnectionDied) as caught:
            await fetch(upstreams)
        assert isinstance(caught.value, UpstreamError)
        upstreams.close()


async def test_a_farewell_on_an_idle_connection_is_no_answer_to_the_next_request(tmp_path: Path) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK + b"Content-Length: 2\r\n\r\nhi")
        await asked.wait()
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        ended.set()

    asked, ended = asyncio.Event(), asyncio.Event()
    async with RawServer(tmp_path / "s", handler) as server:
        upstreams = Upstreams.from_urls([server.url])
        await fetch(upstreams)
        asked.set()
        async with asyncio.timeout(GUARD):
            await ended.wait()
        assert (await fetch(upstreams))[0] == 200
        upstreams.close()
