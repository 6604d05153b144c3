"""What the listener takes from clients, and how much of it."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from aupgate.proxy.admission import Admission
from aupgate.proxy.intake import IntakeLimits
from tests.gateway.proxy.servers import (
    GUARD,
    Receive,
    Scope,
    Send,
    ask,
    get,
    open_to,
    parts,
    serving,
    until,
    with_lifespan,
)


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


class Recorder:
    """An application that keeps the target, the fields and the body of what it is asked, and tells them."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, list[tuple[bytes, bytes]], bytes]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.app = with_lifespan(self._record)

    async def _record(self, scope: Scope, receive: Receive, send: Send) -> None:
        fields = scope["headers"]
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        self.seen.append((scope["method"], scope["raw_path"], list(fields), body))
        await self.go_on.wait()
        length = [(b"content-length", b"4")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b"done"})


CHUNKED = b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"


async def in_packets(address: str, *packets: bytes) -> bytes:
    """Send `packets` so that they are read one by one, and return everything that comes back."""
    async with asyncio.timeout(GUARD):
        reader, writer = await open_to(address)
        answer = asyncio.create_task(everything(reader))
        for packet in packets:
            if not answer.done():
                writer.write(packet)
                await asyncio.sleep(0.01)  # the listener runs in this loop
        try:
            return await answer
        finally:
            writer.close()


async def everything(reader: asyncio.StreamReader) -> bytes:
    """Return all that comes, also where the connection is reset after it."""
    answer = b""
    with suppress(ConnectionResetError):
        while piece := await reader.read(65536):
            answer += piece
    return answer


@pytest.mark.parametrize("apart", [True, False], ids=["in packets", "at once"])
async def test_trailers_never_become_fields(apart: bool) -> None:
    recorder = Recorder()
    packets = [CHUNKED, b"authorization: evil\r\nx: y\r\n\r\n", get("/b")]
    async with serving(recorder.app) as address:
        answer = await in_packets(address, *(packets if apart else [b"".join(packets)]))
    assert answer.count(b"HTTP/1.1 200 ") == 2
    names = [{name for name, _ in fields} for _, _, fields, _ in recorder.seen]
    assert names == [{b"host", b"transfer-encoding"}, {b"host", b"connection"}]


@pytest.mark.parametrize(
    "trailers",
    [
        pytest.param([b"a: %b\r\n" % (b"x" * 90)] * 20, id="many"),
        pytest.param([b"a: ", *[b"x" * 300] * 6], id="one that does not end"),
        pytest.param([b"a: %b\r\n\r\n" % (b"x" * 2000)], id="one large"),
    ],
)
async def test_trailers_have_a_bound(trailers: list[bytes]) -> None:
    async with limited(head_size=1000) as address:
        answer = await in_packets(address, CHUNKED, *trailers)
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_chunk_extension_has_a_bound() -> None:
    head = b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;"
    async with limited(head_size=1000) as address:
        assert (await in_packets(address, head, *[b"a" * 300] * 6)).startswith(b"HTTP/1.1 431 ")


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.mark.parametrize("apart", [True, False], ids=["in packets", "at once"])
@pytest.mark.parametrize("protocol", ["foo", "h2c", "websocket"])
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "with a length"])
async def test_a_body_after_an_offer_of_another_protocol_is_a_body(apart: bool, protocol: str, chunked: bool) -> None:
    framing = "transfer-encoding: chunked" if chunked else f"content-length: {len(SMUGGLED)}"
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED) if chunked else SMUGGLED
    head = get("/front", f"upgrade: {protocol}", framing, method="POST").replace(b": close", b": Upgrade")
    packets = [head, body, get("/next")]
    recorder = Recorder()
    async with serving(recorder.app) as address:
        answer = await in_packets(address, *(packets if apart else [b"".join(packets)]))
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert [(method, path, body) for method, path, _, body in recorder.seen] == [
        ("POST", b"/front", SMUGGLED),
        ("GET", b"/next", b""),
    ]


async def test_an_offer_without_a_body_is_served_as_a_request() -> None:
    offer = get("/a", "upgrade: h2c", "http2-settings: AAMAAABkAAQCAAAAAAIAAAAA", "x: y").replace(
        b": close", b": Upgrade, HTTP2-Settings"
    )
    recorder = Recorder()
    async with serving(recorder.app) as address:
        answer = await in_packets(address, offer * 2 + get("/b"))
    assert answer.count(b"HTTP/1.1 200 ") == 3
    assert [path for _, path, _, _ in recorder.seen] == [b"/a", b"/a", b"/b"]
    assert (b"x", b"y") in recorder.seen[0][2]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"GET /a\r\n\r\n", 505, id="0.9"),
        pytest.param(b"GET /a HTTP/0.9\r\n\r\n", 505, id="0.9 by name"),
        pytest.param(b"GET /a HTTP/2.0\r\nhost: a\r\n\r\n", 505, id="2.0"),
        pytest.param(b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\nGET / HTTP/1.1\r\n\r\n", 400, id="CONNECT"),
        pytest.param(get("/", "content-length: 1", "transfer-encoding: chunked"), 400, id="two framings"),
    ],
)
async def test_what_cannot_be_served_soundly_is_refused(request_: bytes, status: int) -> None:
    recorder = Recorder()
    async with serving(recorder.app) as address:
        assert parts(await ask(address, request_))[0] == status
    assert recorder.seen == []


HANDSHAKE = [
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==",
]


def handshake(*fields: str, target: str = "/") -> bytes:
    return get(target, *HANDSHAKE, *fields).replace(b": close", b": Upgrade")


@with_lifespan
async def accepts(scope: Scope, receive: Receive, send: Send) -> None:
    """Accepts every websocket, says what it was asked for and how large the cookie is, and closes."""
    await receive()
    cookie = dict(scope["headers"]).get(b"cookie", b"")
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": f"{scope['raw_path'].decode()} {len(cookie)}"})
    await send({"type": "websocket.close"})


async def answered(address: str, request: bytes, end: bytes) -> bytes:
    async with asyncio.timeout(GUARD):
        reader, writer = await open_to(address)
        writer.write(request)
        try:
            return await reader.readuntil(end)
        finally:
            writer.close()


async def test_a_websocket_opens_with_as_large_a_head_as_any_request() -> None:
    many = [f"x{number}: y" for number in range(200)]
    async with serving(accepts) as address:
        answer = await answered(address, handshake(f"cookie: {'c' * 16_000}", *many), b" 16000")
    assert answer.startswith(b"HTTP/1.1 101 ")


async def test_a_websocket_with_too_large_a_head_is_refused() -> None:
    async with serving(accepts, limits=IntakeLimits(head_size=1000)) as address:
        assert (await ask(address, handshake(f"cookie: {'c' * 2000}"))).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(handshake().replace(b"version: 13", b"version: 8"), 400, id="another version"),
        pytest.param(handshake().replace(b"MDEy", b"!"), 400, id="a bad key"),
        pytest.param(handshake(target="/\xe4"), 400, id="a target that is not ASCII"),
        pytest.param(handshake() + b"early", 400, id="data before the answer"),
    ],
)
async def test_a_bad_handshake_gets_an_answer(request_: bytes, status: int) -> None:
    async with serving(accepts) as address:
        assert parts(await ask(address, request_))[0] == status


async def test_a_websocket_cannot_begin_within_an_answer() -> None:
    recorder = Recorder()
    recorder.go_on.clear()
    async with serving(recorder.app) as address:
        asking = asyncio.create_task(ask(address, b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n" + handshake()))
        await until(lambda: bool(recorder.seen))
        recorder.go_on.set()
        answer = await asking
    first, _, rest = answer.partition(b"done")
    assert (parts(first)[0], parts(rest)[0]) == (200, 400)


async def test_a_part_of_the_next_head_behind_a_body_is_not_counted_with_it() -> None:
    async with limited(head_size=1000) as address:
        body = b"x" * 5000
        head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n"
        answer = await in_packets(address, head + body[:100], body[100:] + get("/b")[:20], get("/b")[20:])
    assert answer.count(b"HTTP/1.1 200 ") == 2


async def test_many_small_requests_at_once_are_no_large_head() -> None:
    async with limited(head_size=1000) as address:
        one = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
        answer = await in_packets(address, one[:5], one[5:] + one * 60 + get("/")[:20], get("/")[20:])
    assert answer.count(b"HTTP/1.1 200 ") == 62


@pytest.mark.parametrize(
    ("second", "status"),
    [pytest.param(b"nonsense\r\n\r\n", 400, id="400"), pytest.param(get("/", "a: " + "x" * 2000), 431, id="431")],
)
async def test_a_refusal_comes_after_the_answers_before_it(second: bytes, status: int) -> None:
    recorder = Recorder()
    recorder.go_on.clear()
    async with serving(recorder.app, limits=IntakeLimits(head_size=1000)) as address:
        asking = asyncio.create_task(ask(address, b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n" * 2 + second))
        await until(lambda: bool(recorder.seen))
        recorder.go_on.set()
        answer = await asking
    first, _, rest = answer.partition(b"done")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert parts(rest.partition(b"done")[2])[0] == status


async def test_a_body_that_cannot_be_read_cuts_a_response_and_writes_nothing_into_it() -> None:
    @with_lifespan
    async def eager(_: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"he", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.body", "body": b"llo"})

    async with serving(eager) as address:
        answer = await in_packets(address, CHUNKED[:-3], b"nonsense\r\n")
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.endswith(b"\r\n\r\nhe")


async def test_a_head_that_waits_cuts_no_running_answer_and_has_its_time_afterwards() -> None:
    recorder = Recorder()
    recorder.go_on.clear()
    async with (
        serving(recorder.app, limits=IntakeLimits(head_timeout=0.1)) as address,
        asyncio.timeout(GUARD),
    ):
        reader, writer = await open_to(address)
        writer.write(b"GET /a HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP")
        await asyncio.sleep(0.3)  # beyond the limit
        recorder.go_on.set()
        assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()


async def test_empty_lines_keep_no_connection_open() -> None:
    async with serving(echo, idle=1) as address, asyncio.timeout(GUARD):
        reader, writer = await open_to(address)
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\r\n")
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("target", ["http://127.0.0.1/a%2Fb?c=%20", "HTTP://127.0.0.1/a%2Fb?c=%20"])
async def test_the_absolute_form_is_told_byte_for_byte(target: str) -> None:
    recorder = Recorder()
    async with serving(recorder.app) as address:
        await ask(address, get(target))
    assert recorder.seen[0][1] == target.partition("?")[0].encode()


@with_lifespan
async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with as many bytes as the path says, at once."""
    assert scope["type"] == "http"
    await receive()
    size = int(scope["path"].removeprefix("/"))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
    await send({"type": "http.response.body", "body": b"x" * size})


def cut(admission: Admission) -> dict[str, float]:
    """Return how many clients were cut off, by why."""
    return {labels[0]: count for labels, count in list(admission.families())[2].samples}


HALF = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n"


@pytest.mark.parametrize("piece", [b"", b"a"], ids=["that stops", "that trickles"])
async def test_a_body_that_comes_too_slowly_is_refused_with_408(piece: bytes) -> None:
    admission = Admission()
    limits = IntakeLimits(body_timeout=0.1, min_rate=100_000)
    async with serving(echo, limits=limits, admission=admission) as address, asyncio.timeout(GUARD):
        reader, writer = await open_to(address)
        writer.write(HALF)
        answer = asyncio.create_task(everything(reader))
        while not answer.done():
            writer.write(piece)
            await asyncio.sleep(0.005)
        assert parts(await answer)[0] == 408
        writer.close()
        await until(lambda: admission.open == 0)
        assert cut(admission) == {"body": 1}


async def test_a_body_that_comes_fast_enough_is_taken_however_long_it_takes() -> None:
    limits = IntakeLimits(body_timeout=0.3, min_rate=10)
    async with serving(echo, limits=limits) as address, asyncio.timeout(GUARD):
        reader, writer = await open_to(address)
        writer.write(HALF)
        for _ in range(40):  # twice as long as a body may pause
            writer.write(b"x" * 25)
            await asyncio.sleep(0.015)
        assert (await reader.readuntil(b"x" * 1000)).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_a_body_that_the_application_does_not_read_is_not_slow() -> None:
    go_on = asyncio.Event()
    size = 1_000_000

    @with_lifespan
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()
        await echo(scope, receive, send)

    limits = IntakeLimits(body_timeout=0.05, min_rate=10)
    async with serving(late, limits=limits) as address:
        asking = asyncio.create_task(ask(address, get("/", f"content-length: {size}", method="POST") + b"x" * size))
        await asyncio.sleep(0.2)  # beyond the time
        go_on.set()
        assert parts(await asking)[2] == b"x" * size


async def test_a_body_that_nobody_waits_for_any_more_is_not_waited_for_either() -> None:
    @with_lifespan
    async def early(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async with serving(early, limits=IntakeLimits(body_timeout=0.1)) as address, asyncio.timeout(GUARD):
        reader, writer = await open_to(address)
        writer.write(HALF)
        answer = await everything(reader)
        writer.close()
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("end", ["close", "keep-alive"])
@pytest.mark.parametrize("size", [20_000_000, 6_000_000])
async def test_a_client_that_does_not_take_its_answer_is_cut_off(end: str, size: int) -> None:
    admission = Admission()
    async with (
        serving(large, limits=IntakeLimits(write_timeout=0.1), admission=admission) as address,
        asyncio.timeout(GUARD),
    ):
        reader, writer = await open_to(address)
        writer.write(f"GET /{size} HTTP/1.1\r\nhost: a\r\nconnection: {end}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: admission.open == 0)
        assert cut(admission) == {"response": 1}
        writer.close()


async def test_a_client_that_takes_its_answer_slowly_and_steadily_gets_all_of_it() -> None:
    admission, size = Admission(), 8_000_000
    limits = IntakeLimits(write_timeout=0.3, min_rate=1000)
    async with serving(large, limits=limits, admission=admission) as address, asyncio.timeout(GUARD):
        reader, writer = await open_to(address)
        writer.write(get(f"/{size}"))
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(80):
            await reader.readexactly(size // 80)
            await asyncio.sleep(0.005)
        assert await reader.read() == b""
        writer.close()
    assert cut(admission) == {}


async def test_a_head_has_so_many_fields() -> None:
    async with limited(fields=300) as address:
        assert parts(await ask(address, get("/", *["a:"] * 298)))[0] == 200
        assert parts(await ask(address, get("/", *["a:"] * 299)))[0] == 431
        assert parts(await ask(address, get("/", *["a:"] * 399)[:-4]))[0] == 431


async def test_so_many_requests_may_wait_for_the_answer_to_an_earlier_one() -> None:
    one = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
    async with limited(pipeline=10) as address:
        answer = await ask(address, one * 10 + get("/"))
        assert answer.count(b"HTTP/1.1 200 ") == 11
        answer = await ask(address, one * 100)
        assert answer.count(b"HTTP/1.1 200 ") == 11
        assert answer.count(b"HTTP/1.1 ") == 12
        assert parts(answer[answer.rindex(b"HTTP/1.1") :])[0] == 429
