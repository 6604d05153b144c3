"""The listener: addresses, signals, and an end that cuts nobody off who may go on."""

import asyncio
import logging
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.client import connect

from aupgate.errors import ListenError
from aupgate.proxy.app import ReverseProxy
from aupgate.proxy.listener import Listener, StartupError, run
from aupgate.proxy.sockets import bind
from aupgate.proxy.upstream import Upstreams
from tests.gateway.proxy.servers import (
    GUARD,
    RawServer,
    Receive,
    Scope,
    Send,
    ask,
    get,
    open_to,
    parts,
    read_head,
    serving,
    until,
    with_lifespan,
)

PROGRAM = """
import asyncio, sys, uvloop
from aupgate.proxy.app import ReverseProxy
from aupgate.proxy.listener import serve
from aupgate.proxy.upstream import Upstreams

app = ReverseProxy(Upstreams.from_urls([sys.argv[1]]))
grace = float(sys.argv[2])
uvloop.run(serve(app, "127.0.0.1:0", shutdown_grace=grace, on_started=lambda address: print(address, flush=True)))
print("ended", flush=True)
"""


@with_lifespan
async def hello(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


class Download:
    """An upstream that sends half a response, and the rest when it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            await self.go_on.wait()
            writer.write(b"6\r\nsecond\r\n0\r\n\r\n")


@asynccontextmanager
async def process(upstream: str, grace: float) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run the gateway as a process of its own; yields it with its address."""
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, upstream, str(grace), stdout=pipe, stderr=pipe
    )
    try:
        assert running.stdout is not None
        async with asyncio.timeout(GUARD):
            yield running, (await running.stdout.readline()).decode().strip()
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def ended(running: asyncio.subprocess.Process) -> int:
    assert running.stdout is not None
    assert await running.stdout.read() == b"ended\n"
    return await running.wait()


def listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


async def begin_download(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await open_to(address)
    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    await reader.readuntil(b"first")
    return reader, writer


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGINT])
async def test_a_download_under_way_ends_before_the_process_does_with_0(tmp_path: Path, order: signal.Signals) -> None:
    download = Download()
    async with RawServer(tmp_path / "s", download) as server, process(server.url, 1000) as (running, address):
        reader, writer = await begin_download(address)
        running.send_signal(order)
        await until(lambda: not listens(address))
        assert running.returncode is None
        download.go_on.set()
        assert (await reader.read()).endswith(b"6\r\nsecond\r\n0\r\n\r\n")
        writer.close()
        assert await ended(running) == 0


async def test_a_stream_without_end_is_cut_when_the_grace_is_over_and_the_code_is_still_0(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "s", Download()) as server, process(server.url, 0.3) as (running, address):
        reader, writer = await begin_download(address)
        running.send_signal(signal.SIGTERM)
        assert not (await reader.read()).endswith(b"0\r\n\r\n")
        writer.close()
        assert await ended(running) == 0


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "s", Download()) as server, process(server.url, 1000) as (running, address):
        reader, writer = await begin_download(address)
        running.send_signal(signal.SIGTERM)
        await until(lambda: not listens(address))
        running.send_signal(signal.SIGTERM)
        assert not (await reader.read()).endswith(b"0\r\n\r\n")
        writer.close()
        assert await ended(running) == 0


async def test_connections_without_a_request_do_not_hold_the_end(tmp_path: Path) -> None:
    download = Download()
    download.go_on.set()
    async with RawServer(tmp_path / "s", download) as server, process(server.url, 1000) as (running, address):
        _, never_used = await open_to(address)
        reader, kept = await begin_download(address)
        await reader.readuntil(b"0\r\n\r\n")
        running.send_signal(signal.SIGTERM)
        assert await ended(running) == 0
        for writer in (never_used, kept):
            writer.close()


async def test_a_websocket_is_told_that_the_service_restarts() -> None:
    @with_lifespan
    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with asyncio.timeout(GUARD):
        async with serving(app, grace=1000) as address:
            client = await connect(f"ws://{address}/", proxy=None)
        await client.wait_closed()
        assert client.close_code == 1012


async def test_a_listener_that_outlives_goes_on_until_the_others_have_drained(tmp_path: Path) -> None:
    go_on, begun, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @with_lifespan
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await go_on.wait()
        await hello(scope, receive, send)

    addresses: list[str] = []
    listeners = [
        Listener(hello, "127.0.0.1:0", on_started=addresses.append, outlives=True),
        Listener(slow, f"unix:{tmp_path}/s", on_started=addresses.append),
    ]
    async with asyncio.timeout(GUARD):
        running = asyncio.create_task(run(listeners, shutdown_grace=1000, stop=stop))
        await until(lambda: len(addresses) == 2)
        asking = asyncio.create_task(ask(addresses[1], get("/")))
        await begun.wait()
        stop.set()
        await until(lambda: not (tmp_path / "s").exists())
        assert parts(await ask(addresses[0], get("/")))[0] == 200
        go_on.set()
        assert parts(await asking)[0] == 200
        await running
        assert not listens(addresses[0])


async def test_a_response_cut_off_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
        await go_on.wait()

    go_on = asyncio.Event()
    async with RawServer(tmp_path / "s", breaks) as server:
        proxy = ReverseProxy(Upstreams.from_urls([server.url]))
        with caplog.at_level(logging.ERROR):
            async with serving(proxy) as address:
                reader, writer = await open_to(address)
                writer.write(get("/"))
                await reader.readuntil(b"hello")
                go_on.set()
                await reader.read()
                writer.close()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["response cut off"]
    assert caplog.records[0].exc_info is None


async def test_any_other_fault_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    @with_lifespan
    async def faulty(_: Scope, __: Receive, ___: Send) -> None:
        raise LookupError("a fault")

    async with serving(faulty) as address:
        assert parts(await ask(address, get("/")))[0] == 500
    assert any(record.exc_info for record in caplog.records)


async def test_tls_is_spoken_where_a_context_is_given() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    @with_lifespan
    async def tell(scope: Scope, _: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["scheme"].encode()})

    async with serving(tell, tls=context) as address, asyncio.timeout(GUARD):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]), ssl=trusting)
        writer.write(get("/"))
        assert parts(await reader.read())[2] == b"https"
        writer.close()


async def test_the_server_adds_a_date_and_does_not_name_itself() -> None:
    async with serving(hello) as address:
        assert set(parts(await ask(address, get("/")))[1]) == {b"content-length", b"connection", b"date"}


async def test_the_peer_stays_the_client_whatever_it_says() -> None:
    @with_lifespan
    async def tell(scope: Scope, _: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{scope['client'][0]} {scope['scheme']}".encode()})

    async with serving(tell) as address:
        request = get("/", "x-forwarded-for: 1.2.3.4", "x-forwarded-proto: https")
        assert parts(await ask(address, request))[2] == b"127.0.0.1 http"


@pytest.mark.parametrize(
    ("listen", "told"), [("127.0.0.1:0", "127.0.0.1:"), ("[::1]:0", "[::1]:"), ("localhost:0", "")]
)
async def test_the_address_is_told_with_its_port(listen: str, told: str) -> None:
    async with serving(hello, listen) as address:
        assert address.startswith(told)
        assert int(address.rpartition(":")[2]) > 0


async def test_a_unix_socket_is_served_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(hello, f"unix:{path}") as address:
        assert address == f"unix:{path}"
        assert parts(await ask(address, get("/")))[2] == b"hello"
    assert not path.exists()


async def test_an_abandoned_unix_socket_is_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(tmp_path / "s"))
    async with serving(hello, f"unix:{tmp_path}/s") as address:
        assert parts(await ask(address, get("/")))[2] == b"hello"


async def test_the_socket_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(hello, f"unix:{path}"):
        path.unlink()
        successor = bind(f"unix:{path}")
    assert path.is_socket()
    successor.close()


async def test_when_one_address_cannot_be_had_nothing_is_served(tmp_path: Path) -> None:
    with pytest.raises(ListenError):
        await run([Listener(hello, f"unix:{tmp_path}/s"), Listener(hello, "unix:/none/s")], shutdown_grace=0)
    assert not (tmp_path / "s").exists()


async def test_an_application_that_does_not_start_ends_the_others(tmp_path: Path) -> None:
    ended: list[str] = []

    async def first(_: Scope, receive: Receive, send: Send) -> None:
        for event in ("startup", "shutdown"):
            await receive()
            ended.append(event)
            await send({"type": f"lifespan.{event}.complete"})

    async def fails(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    def started(_: Any) -> None:
        pytest.fail("nothing is up")

    listeners = [Listener(first, f"unix:{tmp_path}/a", on_started=started), Listener(fails, f"unix:{tmp_path}/b")]
    with pytest.raises(StartupError, match="did not start"):
        await run(listeners, shutdown_grace=1000)
    assert ended == ["startup", "shutdown"]
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


async def test_the_lifespan_ends_after_the_last_exchange() -> None:
    order: list[str] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                order.append(event)
                await send({"type": f"lifespan.{event}.complete"})
            return
        begun.set()
        await go_on.wait()
        await hello(scope, receive, send)
        order.append("exchange")

    async with asyncio.timeout(GUARD):
        async with serving(app, grace=1000) as address:
            asking = asyncio.create_task(ask(address, get("/")))
            await begun.wait()
            asyncio.get_running_loop().call_soon(go_on.set)
        await asking
    assert order == ["startup", "exchange", "shutdown"]
