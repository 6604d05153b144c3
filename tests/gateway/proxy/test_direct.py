"""Exchanges of the direct lane: what the client gets, and what is let go of, however they end."""

import asyncio
import gc
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from aupgate.engine import Exchange
from aupgate.gateway import Gateway
from aupgate.meters import Outcome
from aupgate.proxy.connection import Connection, Timeouts
from aupgate.proxy.direct import DirectExchange
from aupgate.proxy.pool import Pool
from tests.gateway.proxy.both_ways import (
    BOTH,
    CHUNKS,
    HELLO,
    PLAIN,
    Recorder,
    asked,
    one_by_one,
    site,
)
from tests.gateway.proxy.servers import (
    GUARD,
    Loop,
    RawServer,
    ask,
    get,
    open_to,
    parts,
    read_head,
    run_on,
    saying,
    until,
)
from tests.services import Nginx

# --- responses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("byte_by_byte", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(
    ("answer", "close"),
    [
        pytest.param(HELLO, False, id="counted"),
        pytest.param(CHUNKS + b"2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nA: b\r\n\r\n", False, id="chunked"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nhello", True, id="until the end of the connection"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nhello", True, id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", False, id="204"),
        pytest.param(b"HTTP/1.1 304 N\r\nContent-Length: 5\r\nETag: a\r\n\r\n", False, id="304"),
        pytest.param(b"HTTP/1.1 204 No\r\n\r\nhello", False, id="204 with a body"),
        pytest.param(b"HTTP/1.1 103 Hint\r\nLink: </a>\r\n\r\n" + HELLO, False, id="103"),
        pytest.param(b"HTTP/1.1 599 What\r\nContent-Length: 0\r\n\r\n", False, id="599"),
        pytest.param(b"HTTP/1.1 200 OK\r\nDate: then\r\nServer: a\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
                     b"Connection: X-A\r\nX-A: b\r\nX-Request-Id: theirs\r\nContent-Length: 0\r\n\r\n",
                     False, id="fields"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", True, id="asks to close"),
        pytest.param(HELLO + b"HTTP/1.1 200 OK\r\n", False, id="more follows"),
        pytest.param(HELLO.replace(b"5", b"5\r\nContent-Length: 6"), False, id="two lengths"),
        pytest.param(HELLO.replace(b"5", b"5\r\nTransfer-Encoding: chunked"), False, id="length and coding"),
        pytest.param(CHUNKS + b"zz\r\nhi\r\n0\r\n\r\n", False, id="a bad chunk"),
        pytest.param(HELLO.replace(b"5", b"9"), True, id="ends inside the body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", True, id="ends inside the head"),
        pytest.param(b"", True, id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", False, id="no HTTP"),
        pytest.param(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nx", False, id="101"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n", False, id="NUL in a field"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_client_cannot_tell_which_way_a_response_came(
    tmp_path: Path, answer: bytes, close: bool, byte_by_byte: bool, method: str
) -> None:
    options: dict[str, Any] = {"answer": answer, "close": close, "byte_by_byte": byte_by_byte}
    heads, answer_, taken = await asked(tmp_path, True, get("/", method=method), **options)
    heads_by_asgi, answer_by_asgi, _ = await asked(tmp_path, False, get("/", method=method), **options)
    assert taken == 1
    assert heads == heads_by_asgi
    assert _content(answer_) == _content(answer_by_asgi)  # pieces may fall into other chunks


def _content(answer: bytes) -> tuple[bytes, bytes, bool]:
    """Return head, content and whether the body was complete, however it was cut into chunks."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head:
        return head, body, True
    content, rest = b"", body
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        content, rest = content + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return head, content, body.endswith(b"0\r\n\r\n")


@BOTH
async def test_nginx_behind_the_gateway_serves_files(
    tmp_path: Path, nginx: Callable[[str], Nginx], direct: bool
) -> None:
    (tmp_path / "file").write_bytes(b"0123456789" * 100_000)
    server = nginx(f"location /file {{ root {tmp_path}; }}")
    async with site(f"unix:{server.socket}", direct=direct) as gateway:
        status, fields, body = parts(await ask(gateway.address, get("/file")))
        assert (status, len(body)) == (200, 1_000_000)
        assert parts(await ask(gateway.address, get("/file", "range: bytes=10-14")))[::2] == (206, b"01234")
        etag = fields[b"etag"].decode()
        assert parts(await ask(gateway.address, get("/file", f"if-none-match: {etag}")))[0] == 304
        assert parts(await ask(gateway.address, get("/file", method="HEAD")))[1][b"content-length"] == b"1000000"
        assert gateway.taken == (4 if direct else 0)


async def test_a_response_whole_in_one_packet_leaves_in_one(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "up", saying(HELLO)) as server, site(server.url) as gateway:
        reader, writer = await open_to(gateway.address)
        writer.write(PLAIN)
        assert (await reader.read(65536)).endswith(b"\r\n\r\nhello")
        writer.close()


async def test_events_arrive_one_by_one(tmp_path: Path) -> None:
    async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(CHUNKS)
        for number in range(3):
            writer.write(b"1\r\n%d\r\n" % number)
            await arrived.wait()
            arrived.clear()
        writer.write(b"0\r\n\r\n")
        await reader.read()

    arrived = asyncio.Event()
    async with RawServer(tmp_path / "up", events) as server, site(server.url) as gateway, asyncio.timeout(GUARD):
        reader, writer = await open_to(gateway.address)
        writer.write(PLAIN)
        await read_head(reader)
        for number in range(3):
            await reader.readuntil(b"1\r\n%d\r\n" % number)
            arrived.set()
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()


# --- upstreams --------------------------------------------------------------------------------------------------------


class Dying:
    """An upstream whose connections answer once and then die at the next request."""

    def __init__(self, *, before: bytes = b"") -> None:
        self.before = before
        self.requests = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        self.requests += 1
        writer.write(HELLO)
        await read_head(reader)
        self.requests += 1
        writer.write(self.before)


@BOTH
async def test_a_request_that_a_kept_connection_lost_is_sent_once_more(tmp_path: Path, direct: bool) -> None:
    upstream = Dying()
    async with RawServer(tmp_path / "up", upstream) as server, site(server.url, direct=direct) as gateway:
        for _ in range(2):
            assert (await ask(gateway.address, get("/"))).endswith(b"hello")
        assert (upstream.requests, server.connections) == (3, 2)
        assert gateway.metric("aupgate_requests_in_flight") == 0


@BOTH
async def test_a_request_that_was_begun_to_be_answered_is_not_sent_again(tmp_path: Path, direct: bool) -> None:
    upstream = Dying(before=b"HTTP/1.1 200")
    async with RawServer(tmp_path / "up", upstream) as server, site(server.url, direct=direct) as gateway:
        statuses = [parts(await ask(gateway.address, get("/")))[0] for _ in range(2)]
        assert (statuses, upstream.requests, server.connections) == ([200, 502], 2, 1)


@BOTH
async def test_the_next_upstream_is_tried_when_one_is_not_there(tmp_path: Path, direct: bool) -> None:
    async with RawServer(tmp_path / "up", saying(HELLO)) as server:
        urls = [f"unix:{tmp_path}/nobody", server.url]
        async with site(*urls, direct=direct) as gateway:
            for _ in range(3):
                assert (await ask(gateway.address, get("/"))).endswith(b"hello")


@BOTH
async def test_an_upstream_that_fails_and_answers_again_is_known_for_it(tmp_path: Path, direct: bool) -> None:
    async def first_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"nonsense\r\n\r\n" if server.connections == 1 else HELLO)
        await reader.read()

    async with RawServer(tmp_path / "up", first_nonsense) as server, site(server.url, direct=direct) as gateway:
        (pool,) = gateway.proxy._upstreams.pools
        assert parts(await ask(gateway.address, get("/")))[0] == 502
        assert pool.health.failing
        assert parts(await ask(gateway.address, get("/")))[0] == 200
        assert not pool.health.failing


@BOTH
async def test_a_response_that_breaks_off_is_cut_and_is_one_line_in_the_log(
    tmp_path: Path, direct: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(CHUNKS + b"5\r\nhello\r\n")
        await go_on.wait()
        writer.write(b"3\r\nyou\r\nzz\r\n")

    go_on = asyncio.Event()
    async with (
        RawServer(tmp_path / "up", breaks) as server,
        site(server.url, direct=direct) as gateway,
        asyncio.timeout(GUARD),
    ):
        reader, writer = await open_to(gateway.address)
        writer.write(get("/"))
        await reader.readuntil(b"hello\r\n")
        go_on.set()
        assert await reader.read() == b"3\r\nyou\r\n"
        writer.close()
        await until(lambda: gateway.metric('aupgate_requests_total{outcome="aborted",status="2xx"}') == 1)
    (line,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert line.getMessage().startswith("response cut off: ")
    assert line.exc_info is None


@pytest.mark.parametrize(
    "answer",
    [pytest.param(b"", id="before the response"), pytest.param(CHUNKS + b"2\r\nhe\r\n", id="during the response")],
)
async def test_when_the_client_goes_the_upstream_is_let_go_at_once(tmp_path: Path, answer: bytes) -> None:
    async with (
        RawServer(tmp_path / "up", saying(answer)) as server,
        site(server.url) as gateway,
        asyncio.timeout(GUARD),
    ):
        reader, writer = await open_to(gateway.address)
        writer.write(PLAIN)
        await (reader.readuntil(b"he\r\n") if answer else until(lambda: server.connections == 1))
        writer.close()
        await server.lost.wait()
        assert gateway.metric("aupgate_requests_in_flight") == 0
        outcome = "2xx" if answer else "none"
        assert gateway.metric(f'aupgate_requests_total{{outcome="aborted",status="{outcome}"}}') == 1


async def test_a_client_that_goes_while_the_upstream_is_connected_to_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = Recorder(HELLO)
    async with RawServer(tmp_path / "up", upstream) as server, site(server.url) as gateway:
        (pool,) = gateway.proxy._upstreams.pools
        connect, hold = Pool.connect, asyncio.Event()

        async def slowly(pool: Pool) -> Connection:
            await hold.wait()
            return await connect(pool)

        monkeypatch.setattr(Pool, "connect", slowly)
        _, writer = await open_to(gateway.address)
        writer.write(PLAIN)
        await until(lambda: gateway.taken == 1)
        writer.close()
        await until(lambda: gateway.metric("aupgate_requests_in_flight") == 0)
        hold.set()
        assert gateway.lane is not None
        await until(lambda: not gateway.lane.way.connecting)  # type: ignore[union-attr]
        await until(lambda: not pool.busy)
    assert upstream.heads == []


# --- flow -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loop", [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]
)
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "counted"])
def test_a_large_download_to_a_slow_client_does_not_pile_up_in_the_gateway(
    tmp_path: Path, loop: Loop, chunked: bool
) -> None:
    size, sent = 32 * 1024 * 1024, 0

    async def download(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_head(reader)
        writer.write(CHUNKS if chunked else b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            writer.write(b"10000\r\n%b\r\n" % bytes(65536) if chunked else bytes(65536))
            await writer.drain()
            sent += 65536
        writer.write(b"0\r\n\r\n" if chunked else b"")
        await reader.read()

    async def work() -> None:
        async with RawServer(tmp_path / "up", download) as server, site(server.url) as gateway:
            reader, writer = await open_to(gateway.address)
            writer.write(get("/"))
            await read_head(reader)
            before = -1
            while sent != before:
                before = sent
                for _ in range(200):
                    await asyncio.sleep(0)
            assert sent < 16 * 1024 * 1024  # sockets' buffers, mostly
            received = 0
            while piece := await reader.read(65536):
                received += len(piece)
            assert received >= size
            assert gateway.metric('aupgate_requests_total{outcome="passed",status="2xx"}') == 1
            assert gateway.metric('aupgate_bytes_total{direction="out"}') == size
            writer.close()

    run_on(loop, work())


async def test_answers_that_a_client_does_not_read_do_not_pile_up(tmp_path: Path) -> None:
    size = 100_000
    upstream = Recorder(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
    async with (
        RawServer(tmp_path / "up", upstream) as server,
        site(server.url, listen=f"unix:{tmp_path}/gateway") as gateway,
        asyncio.timeout(GUARD),
    ):
        reader, writer = await open_to(gateway.address)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        before = -1
        while len(upstream.heads) != before:  # ask again until no more is answered
            before = len(upstream.heads)
            writer.write(PLAIN)
            for _ in range(100):
                await asyncio.sleep(0)
        assert len(upstream.heads) < 100
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        writer.write(get("/"))
        answer = await reader.read()
        assert answer.count(b"HTTP/1.1 200 OK") == len(upstream.heads)
        writer.close()


@BOTH
async def test_a_pause_of_the_client_is_no_fault_of_the_upstream(tmp_path: Path, direct: bool) -> None:
    size = 8 * 1024 * 1024

    async def download(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        writer.write(bytes(size))
        await reader.read()

    timeouts = Timeouts(response=0.1, pause=0.1)
    async with (
        RawServer(tmp_path / "up", download) as server,
        site(server.url, direct=direct, timeouts=timeouts, listen=f"unix:{tmp_path}/gateway") as gateway,
        asyncio.timeout(GUARD),
    ):
        reader, writer = await open_to(gateway.address)
        writer.write(get("/"))
        await read_head(reader)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.4)  # beyond both timeouts
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await reader.readexactly(size)) == size
        writer.close()


@BOTH
async def test_a_pause_of_the_upstream_within_a_response_cuts_it(tmp_path: Path, direct: bool) -> None:
    async with (
        RawServer(tmp_path / "up", saying(CHUNKS + b"2\r\nhe\r\n")) as server,
        site(server.url, direct=direct, timeouts=Timeouts(pause=0.1)) as gateway,
    ):
        assert (await ask(gateway.address, get("/"))).endswith(b"2\r\nhe\r\n")


# --- the end of the process -------------------------------------------------------------------------------------------


class Download:
    """An upstream that sends half a response, and the rest when it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(CHUNKS + b"5\r\nfirst\r\n")
        await self.go_on.wait()
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")
        await reader.read()


async def test_what_is_under_way_ends_before_the_listener_does(tmp_path: Path) -> None:
    download = Download()
    async with RawServer(tmp_path / "up", download) as server, asyncio.timeout(GUARD):
        async with site(server.url, grace=1000) as gateway:
            reader, writer = await open_to(gateway.address)
            writer.write(PLAIN)
            await reader.readuntil(b"first\r\n")
            asyncio.get_running_loop().call_later(0.2, download.go_on.set)
        assert await reader.read() == b"6\r\nsecond\r\n0\r\n\r\n"  # and then it is closed, though kept alive before
        writer.close()


async def test_what_does_not_end_within_the_grace_is_cut_and_settled(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "up", Download()) as server, asyncio.timeout(GUARD):
        async with site(server.url, grace=0.1) as gateway:
            reader, writer = await open_to(gateway.address)
            writer.write(PLAIN)
            await reader.readuntil(b"first\r\n")
        assert await reader.read() == b""
        assert gateway.metric("aupgate_requests_in_flight") == 0
        assert gateway.metric('aupgate_requests_total{outcome="aborted",status="2xx"}') == 1
        writer.close()


async def test_what_was_not_answered_within_the_grace_gets_500(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "up", saying(b"")) as server, asyncio.timeout(GUARD):
        async with site(server.url, grace=0.1) as gateway:
            reader, writer = await open_to(gateway.address)
            writer.write(PLAIN)
            await until(lambda: server.connections == 1)
        assert parts(await reader.read())[0] == 500
        assert gateway.metric("aupgate_requests_in_flight") == 0
        writer.close()


async def test_an_answer_during_the_end_says_that_the_connection_closes(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await go_on.wait()
        writer.write(HELLO)
        await reader.read()

    async with RawServer(tmp_path / "up", slow) as server, asyncio.timeout(GUARD):
        async with site(server.url, grace=1000) as gateway:
            reader, writer = await open_to(gateway.address)
            writer.write(PLAIN)
            await until(lambda: server.connections == 1)
            asyncio.get_running_loop().call_later(0.2, go_on.set)
        assert b"connection: close" in await reader.read()
        writer.close()


async def test_an_exchange_is_settled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[Outcome] = []
    close = Gateway.close

    def note(gateway: Gateway, exchange: Exchange, outcome: Outcome) -> None:
        outcomes.append(outcome)
        close(gateway, exchange, outcome)

    monkeypatch.setattr(Gateway, "close", note)
    async with RawServer(tmp_path / "up", saying(HELLO)) as server, site(server.url) as gateway:
        await ask(gateway.address, get("/"))
    (outcome,) = outcomes
    assert (outcome.status, outcome.bytes_in, outcome.bytes_out, outcome.aborted, outcome.refused) == (
        200, 0, 5, False, False,
    )  # fmt: skip
    assert outcome.duration > 0


async def test_nothing_of_an_exchange_is_kept_after_it(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "up", saying(HELLO)) as server, site(server.url) as gateway:
        await one_by_one(gateway, PLAIN * 20 + get("/"))
        gc.collect()
        assert sum(type(each) is DirectExchange for each in gc.get_objects()) <= 1
