"""How connections arrive: who is let in, who is turned away, and what may come before HTTP."""

import asyncio
import errno
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
import trustme
import uvloop
from websockets.asyncio.client import connect

from aupgate.proxy.admission import Admission
from aupgate.proxy.arrivals import Acceptor, Manner
from aupgate.proxy.intake import IntakeLimits
from tests.gateway.proxy.servers import (
    GUARD,
    Loop,
    Receive,
    Scope,
    Send,
    ask,
    get,
    open_to,
    parts,
    run_on,
    serving,
    until,
    with_lifespan,
)

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])

LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
BLOCK = (
    SIGNATURE + b"\x21\x11\x00\x0c" + bytes([192, 0, 2, 7]) + bytes([198, 51, 100, 1]) + struct.pack("!HH", 56324, 443)
)
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


@with_lifespan
async def who(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells who asks, and over what."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": f"{scope['client']}"})
        await send({"type": "websocket.close"})
        return
    body = f"{scope['client'] and scope['client'][0]} {scope['scheme']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def refused(admission: Admission) -> dict[str, float]:
    """Return how many connections were turned away, by why."""
    return {labels[0]: count for labels, count in list(admission.families())[1].samples}


async def end_of(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the connection ends, however it does."""
    answer = b""
    with suppress(ConnectionError):
        while piece := await reader.read(4096):
            answer += piece
    return answer


async def told(address: str, *pieces: bytes) -> bytes:
    """Send `pieces` one after the other, and return the answer."""
    reader, writer = await open_to(address)
    try:
        with suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
        return await end_of(reader)
    finally:
        writer.close()


@asynccontextmanager
async def holding(address: str, count: int) -> AsyncIterator[None]:
    """Hold `count` connections open."""
    held = [(await open_to(address))[1] for _ in range(count)]
    try:
        yield
    finally:
        for writer in held:
            writer.close()


@LOOPS
@pytest.mark.parametrize(("bounds", "status"), [((2, 9), 503), ((9, 2), 429)], ids=["of all", "of one client"])
def test_a_connection_beyond_the_bound_is_answered_early_and_one_within_it_is_served(
    loop: Loop, bounds: tuple[int, int], status: int
) -> None:
    async def work() -> None:
        admission = Admission(*bounds)
        async with serving(who, admission=admission) as address:
            async with holding(address, 2):
                await until(lambda: admission.open == 2)
                answer = parts(await told(address))  # before a request
                assert (answer[0], answer[1][b"retry-after"]) == (status, b"5")
            await until(lambda: admission.open == 0)
            assert parts(await ask(address, get("/")))[0] == 200
            await until(lambda: admission.open == 0)

    run_on(loop, work())


async def test_a_unix_socket_counts_towards_the_total_alone(tmp_path: Path) -> None:
    admission = Admission(total=3, per_client=1)
    async with serving(who, f"unix:{tmp_path}/s", admission=admission) as address, holding(address, 2):
        await until(lambda: admission.open == 2)
        assert parts(await ask(address, get("/")))[0] == 200
        await until(lambda: admission.open == 2)
        async with holding(address, 1):
            await until(lambda: admission.open == 3)
            assert parts(await told(address))[0] == 503


async def test_the_place_of_a_websocket_is_free_when_it_ends() -> None:
    admission = Admission()
    async with serving(who, admission=admission) as address:
        async with connect(f"ws://{address}/") as websocket:
            assert "127.0.0.1" in str(await websocket.recv())
            assert admission.open == 1
        await until(lambda: admission.open == 0)


# -- the PROXY protocol ------------------------------------------------------------------------------------------------


def proxied(trusted: str = "127.0.0.1/32", **settings: Any) -> Any:
    admission = settings.pop("admission", None) or Admission(trusted=[trusted])
    return serving(who, admission=admission, proxied=True, **settings)


@LOOPS
@pytest.mark.parametrize(
    ("preamble", "client"),
    [
        pytest.param(LINE, b"192.0.2.7", id="version 1"),
        pytest.param(BLOCK, b"192.0.2.7", id="version 2"),
        pytest.param(LOCAL, b"127.0.0.1", id="LOCAL"),
        pytest.param(b"PROXY UNKNOWN\r\n", b"127.0.0.1", id="UNKNOWN"),
    ],
)
@pytest.mark.parametrize("step", [1, 1000], ids=["byte by byte", "at once"])
def test_the_preamble_of_a_trusted_proxy_names_the_client(
    loop: Loop, preamble: bytes, client: bytes, step: int
) -> None:
    async def work() -> None:
        async with proxied() as address:
            request = preamble + get("/")
            answer = await told(address, *(request[at : at + step] for at in range(0, len(request), step)))
            assert parts(answer)[2] == client + b" http"

    run_on(loop, work())


async def test_a_websocket_is_the_clients_too() -> None:
    fields = ["upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg=="]
    async with proxied() as address, asyncio.timeout(GUARD):
        reader, writer = await open_to(address)
        writer.write(LINE + get("/", *fields).replace(b": close", b": Upgrade"))
        assert b"('192.0.2.7'" in await reader.readuntil(b", 56324)")
        writer.close()


async def test_a_unix_socket_is_a_trusted_proxys(tmp_path: Path) -> None:
    async with proxied(listen=f"unix:{tmp_path}/s") as address:
        assert parts(await told(address, LINE + get("/")))[2] == b"192.0.2.7 http"


@LOOPS
@pytest.mark.parametrize(
    ("sent", "trusted", "reason"),
    [
        pytest.param(LINE + get("/"), "10.0.0.0/8", "untrusted", id="an untrusted peer"),
        pytest.param(get("/"), "127.0.0.1", "preamble", id="no preamble"),
        pytest.param(b"", "127.0.0.1", "preamble", id="silence"),
        pytest.param(LINE[:20], "127.0.0.1", "preamble", id="half a preamble"),
        pytest.param(LINE.replace(b"192.0.2.7", b"x"), "127.0.0.1", "preamble", id="a malformed preamble"),
    ],
)
def test_who_does_not_come_by_the_proxy_protocol_is_closed_without_an_answer(
    loop: Loop, sent: bytes, trusted: str, reason: str
) -> None:
    async def work() -> None:
        admission = Admission(trusted=[trusted])
        async with proxied(admission=admission, limits=IntakeLimits(head_timeout=0.1)) as address:
            assert await told(address, sent) == b""
            await until(lambda: admission.open == 0)
            assert refused(admission) == {reason: 1}

    run_on(loop, work())


async def test_a_check_of_the_port_is_no_refusal() -> None:
    admission = Admission(trusted=["127.0.0.1"])
    async with proxied(admission=admission) as address:
        _, writer = await open_to(address)
        await until(lambda: admission.open == 1)
        writer.close()
        await until(lambda: admission.open == 0)
        assert refused(admission) == {}


async def test_connections_of_a_proxy_count_for_the_clients_it_names() -> None:
    admission = Admission(per_client=1, trusted=["127.0.0.1"])
    async with proxied(admission=admission) as address:
        reader, writer = await open_to(address)
        writer.write(LINE + b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await reader.readuntil(b"http")).startswith(b"HTTP/1.1 200 ")
        assert parts(await told(address, BLOCK + get("/")))[0] == 429
        assert parts(await told(address, LINE.replace(b"192.0.2.7", b"192.0.2.8") + get("/")))[0] == 200
        writer.close()
        await until(lambda: admission.open == 0)
        assert parts(await told(address, BLOCK + get("/")))[0] == 200


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return those of the server and of a client."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("app.test").configure_cert(server)
    authority.configure_trust(client)
    return server, client


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@LOOPS
def test_a_preamble_precedes_tls_in_the_same_packet(loop: Loop, contexts: Contexts) -> None:
    async def work() -> None:
        async with proxied(tls=contexts[0]) as address:
            answer = await asyncio.to_thread(_over_tls, address, contexts[1], LINE)
            assert parts(answer)[2] == b"192.0.2.7 https"

    run_on(loop, work())


def _over_tls(address: str, context: ssl.SSLContext, preamble: bytes) -> bytes:
    """Ask over TLS; the preamble goes out in one packet with the first record."""
    host, _, port = address.rpartition(":")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="app.test")
    with socket.create_connection((host, int(port)), timeout=GUARD) as connection:

        def shake_hands() -> bool:
            tls.do_handshake()
            return True

        def step(action: Any) -> Any:
            nonlocal preamble
            while True:
                try:
                    done = action()
                except ssl.SSLWantReadError:
                    done = None
                if written := outgoing.read():
                    connection.sendall(preamble + written)
                    preamble = b""
                if done is not None:
                    return done
                incoming.write(connection.recv(65536))

        step(shake_hands)
        step(lambda: tls.write(get("/")))
        return bytes(step(lambda: tls.read(65536)))


@LOOPS
@pytest.mark.parametrize(
    ("sent", "counted"),
    [
        pytest.param(get("/"), {"handshake": 1}, id="no TLS"),
        pytest.param(b"", {"handshake": 1}, id="silence"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01", {"handshake": 1}, id="half a hello"),
    ],
)
def test_a_handshake_that_fails_leaves_no_connection_behind(
    loop: Loop, contexts: Contexts, sent: bytes, counted: dict[str, float]
) -> None:
    async def work() -> None:
        admission = Admission()
        limits = IntakeLimits(head_timeout=0.1)
        async with serving(who, tls=contexts[0], admission=admission, limits=limits) as address:
            assert b"HTTP" not in await told(address, sent)
            await until(lambda: admission.open == 0)
            assert refused(admission) == counted

    run_on(loop, work())


@LOOPS
def test_a_client_that_leaves_within_the_handshake_leaves_no_connection_behind(loop: Loop, contexts: Contexts) -> None:
    async def work() -> None:
        admission = Admission()
        async with serving(who, tls=contexts[0], admission=admission) as address:
            _, writer = await open_to(address)
            await until(lambda: admission.open == 1)
            writer.close()
            await until(lambda: admission.open == 0)
            assert refused(admission) == {}

    run_on(loop, work())


@LOOPS
def test_beyond_the_bound_there_is_no_handshake_and_within_it_there_is(loop: Loop, contexts: Contexts) -> None:
    async def work() -> None:
        admission = Admission(total=1)
        async with serving(who, tls=contexts[0], admission=admission) as address:
            async with holding(address, 1):
                await until(lambda: admission.open == 1)
                assert await told(address) == b""
                assert refused(admission) == {"total": 1}
            await until(lambda: admission.open == 0)
            answer = await asyncio.to_thread(_over_tls, address, contexts[1], b"")
            assert parts(answer)[2] == b"127.0.0.1 https"
            await until(lambda: admission.open == 0)

    run_on(loop, work())


async def test_a_handshake_under_way_ends_with_the_listener(contexts: Contexts) -> None:
    admission = Admission()
    async with serving(who, tls=contexts[0], admission=admission) as address:
        reader, writer = await open_to(address)
        await until(lambda: admission.open == 1)
    assert await end_of(reader) == b""
    writer.close()
    assert admission.open == 0


# -- descriptors -------------------------------------------------------------------------------------------------------


class Exhausted(socket.socket):
    """A socket that cannot accept while there are no descriptors."""

    tries = 0
    exhausted = True

    def accept(self) -> Any:
        self.tries += 1
        if self.exhausted:
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


@LOOPS
def test_without_descriptors_the_listener_rests_and_goes_on(loop: Loop) -> None:
    class Hello(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport = cast("asyncio.Transport", transport)
            transport.write(b"hello")
            transport.close()

    async def work() -> None:
        with Exhausted() as listening:
            listening.bind(("127.0.0.1", 0))
            manner = Manner(None, proxied=False, patience=1)
            acceptor = Acceptor(listening, Admission(), lambda place, peer: Hello(), manner)
            acceptor.start(8)
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            await until(lambda: listening.tries == 1)
            for _ in range(50):  # it stays readable all the while
                await asyncio.sleep(0)
            assert listening.tries == 1
            listening.exhausted = False
            assert await reader.read() == b"hello"
            writer.close()
            acceptor.close()

    run_on(loop, work())
