"""The reverse proxy end to end: a raw client, uvicorn with the proxy, and upstreams of every kind."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aupgate.proxy.app import ReverseProxy
from aupgate.proxy.connection import Timeouts
from aupgate.proxy.errors import UpstreamProtocolError
from aupgate.proxy.upstream import Upstreams
from tests.gateway.proxy.servers import (
    GUARD,
    RawServer,
    Receive,
    Scope,
    Send,
    ask,
    gateway,
    get,
    open_to,
    parts,
    read_head,
    saying,
    serving,
    until,
    with_lifespan,
)
from tests.services import Nginx

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@with_lifespan
async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it got, as JSON."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    seen = {
        "method": scope["method"],
        "target": (scope["raw_path"] + b"?" + scope["query_string"]).decode(),
        "headers": [[name.decode(), text.decode()] for name, text in scope["headers"]],
        "body": body.decode(),
    }
    answer = json.dumps(seen).encode()
    fields = [
        (b"content-length", b"%d" % len(answer)),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"server", b"mirror"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": answer})


async def through(tmp_path: Path, request: bytes) -> tuple[dict[str, Any], bytes]:
    """Return what a uvicorn upstream saw of `request`, and the raw answer."""
    async with serving(mirror, f"unix:{tmp_path}/up") as upstream, gateway(upstream) as address:
        answer = await ask(address, request)
    seen: dict[str, Any] = json.loads(parts(answer)[2])
    return seen, answer


async def test_the_upstream_sees_path_query_host_and_fields_as_sent_and_the_client_in_fresh_fields(
    tmp_path: Path,
) -> None:
    request = get(
        "/a%2Fb;c//../d?x=%20&y",
        "x-forwarded-for: 1.2.3.4",
        "X_Real_IP: 1.2.3.4",
        "cookie: a",
        "accept: b",
        "accept: c",
    )
    seen, answer = await through(tmp_path, request)
    assert seen["target"] == "/a%2Fb;c//../d?x=%20&y"
    assert seen["headers"] == [
        ["host", "example.test"],
        ["cookie", "a"],
        ["accept", "b"],
        ["accept", "c"],
        ["x-forwarded-for", "127.0.0.1"],
        ["x-real-ip", "127.0.0.1"],
        ["x-forwarded-proto", "http"],
        ["x-forwarded-host", "example.test"],
    ]
    assert answer.count(b"set-cookie: ") == 2
    assert answer.lower().count(b"server: ") == 1
    assert answer.lower().count(b"date: ") == 1


@pytest.mark.parametrize(
    ("method", "framing", "sent", "body", "forwarded"),
    [
        pytest.param("POST", "content-length: 5", b"hello", "hello", ["content-length", "5"], id="counted"),
        pytest.param("POST", "content-length: 0", b"", "", ["content-length", "0"], id="counted, empty"),
        pytest.param("DELETE", "a: b", b"", "", None, id="no body"),
        pytest.param(
            "POST", "transfer-encoding: chunked", b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nt: u\r\n\r\n", "hello",
            ["transfer-encoding", "chunked"], id="chunked",
        ),
        pytest.param("GET", "content-length: 5", b"hello", "hello", ["content-length", "5"], id="GET with a body"),
        pytest.param(
            "PUT", "content-length: 200000", b"x" * 200_000, "x" * 200_000, ["content-length", "200000"], id="large"
        ),
    ],
)  # fmt: skip
async def test_a_body_arrives_framed_as_it_was(
    tmp_path: Path, method: str, framing: str, sent: bytes, body: str, forwarded: list[str] | None
) -> None:
    seen, _ = await through(tmp_path, get("/", framing, method=method) + sent)
    assert (seen["method"], seen["body"]) == (method, body)
    assert [pair for pair in seen["headers"] if pair[0] in {"content-length", "transfer-encoding"}] == [
        forwarded
    ] * bool(forwarded)


async def test_expect_is_answered_by_the_gateway(tmp_path: Path) -> None:
    async with serving(mirror, f"unix:{tmp_path}/up") as upstream, gateway(upstream) as address:
        answer = await ask(address, get("/", "expect: 100-continue", "content-length: 5", method="POST") + b"hello")
    interim, _, final = answer.partition(b"\r\n\r\n")
    assert interim == b"HTTP/1.1 100 Continue"
    assert "expect" not in dict(json.loads(parts(final)[2])["headers"])


@pytest.mark.parametrize(
    ("method", "answer", "expected"),
    [
        pytest.param("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", (200, b"5", b""), id="HEAD"),
        pytest.param("GET", b"HTTP/1.1 204 No Content\r\n\r\n", (204, None, b""), id="204"),
        pytest.param("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", (304, None, b""), id="304"),
        pytest.param("GET", b"HTTP/1.1 103 Hint\r\nLink: </a>\r\n\r\n" + HELLO, (200, b"5", b"hello"), id="103"),
        pytest.param("GET", b"HTTP/1.1 418 Teapot\r\nContent-Length: 1\r\n\r\n!", (418, b"1", b"!"), id="any status"),
        pytest.param(
            "GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            (200, None, b"hello"), id="chunked",
        ),
    ],
)  # fmt: skip
async def test_a_response_arrives_with_the_body_it_has(
    tmp_path: Path, method: str, answer: bytes, expected: tuple[int, bytes | None, bytes]
) -> None:
    async with RawServer(tmp_path / "s", saying(answer)) as server, gateway(server.url) as address:
        status, fields, body = parts(await ask(address, get("/", method=method)))
    assert (status, fields.get(b"content-length"), body) == expected
    assert b"link" not in fields


async def test_requests_share_connections_to_the_upstream(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "s", saying(HELLO)) as server, gateway(server.url) as address:
        for _ in range(10):
            assert parts(await ask(address, get("/")))[2] == b"hello"
        assert server.connections == 1


async def test_events_arrive_one_by_one(tmp_path: Path) -> None:
    async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(3):
            writer.write(b"9\r\ndata: %d\n\n\r\n" % number)
            await arrived.wait()
            arrived.clear()
        writer.write(b"0\r\n\r\n")
        await reader.read()

    arrived = asyncio.Event()
    async with RawServer(tmp_path / "s", events) as server, gateway(server.url) as address, asyncio.timeout(GUARD):
        reader, writer = await open_to(address)
        writer.write(get("/"))
        for number in range(3):  # the upstream sends the next only after this one arrived
            await reader.readuntil(b"data: %d\n\n" % number)
            arrived.set()
        assert (await reader.read()).endswith(b"0\r\n\r\n")
        writer.close()


async def test_a_large_download_to_a_slow_client_does_not_pile_up_in_the_gateway(tmp_path: Path) -> None:
    size, sent = 64 * 1024 * 1024, 0

    async def download(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    async with RawServer(tmp_path / "s", download) as server, gateway(server.url) as address, asyncio.timeout(GUARD):
        reader, writer = await open_to(address)
        writer.write(get("/"))
        await read_head(reader)
        received = 0
        while received < size:
            piece = await reader.read(65536)
            received += len(piece)
            if received % (1 << 20) < 65536:  # the client pauses; everything between fills up
                before = -1
                while sent != before:
                    before = sent
                    for _ in range(50):
                        await asyncio.sleep(0)
                assert sent - received < 16 * 1024 * 1024  # sockets' buffers, mostly
        assert received == size
        writer.close()


async def test_a_large_upload_to_a_slow_upstream_does_not_pile_up_in_the_gateway(tmp_path: Path) -> None:
    size, sent = 64 * 1024 * 1024, 0
    start = asyncio.Event()

    async def upload(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await start.wait()
        for _ in range(size // 65536):
            await reader.readexactly(65536)
        writer.write(HELLO)
        await reader.read()

    async with RawServer(tmp_path / "s", upload) as server, gateway(server.url) as address, asyncio.timeout(GUARD):
        reader, writer = await open_to(address)

        async def send() -> None:
            nonlocal sent
            writer.write(get("/", f"content-length: {size}", method="POST"))
            for _ in range(size // 65536):
                writer.write(bytes(65536))
                await writer.drain()
                sent += 65536

        sending, before = asyncio.create_task(send()), -1
        while sent != before:
            before = sent
            for _ in range(200):
                await asyncio.sleep(0)
        assert sent < 16 * 1024 * 1024
        start.set()
        await sending
        assert (await reader.read()).endswith(b"hello")
        writer.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="before the response"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", id="during the response"),
    ],
)
async def test_when_the_client_goes_the_upstream_is_let_go_at_once(tmp_path: Path, answer: bytes) -> None:
    async with (
        RawServer(tmp_path / "s", saying(answer)) as server,
        gateway(server.url) as address,
        asyncio.timeout(GUARD),
    ):
        reader, writer = await open_to(address)
        writer.write(get("/"))
        await (reader.readuntil(b"he\r\n") if answer else until(lambda: server.connections == 1))
        writer.close()
        await server.lost.wait()


async def test_when_the_client_goes_during_its_upload_the_upstream_sees_no_end_of_the_body(tmp_path: Path) -> None:
    received = b""

    async def upload(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        nonlocal received
        received = await reader.read()
        done.set()

    done = asyncio.Event()
    async with RawServer(tmp_path / "s", upload) as server, gateway(server.url) as address, asyncio.timeout(GUARD):
        _, writer = await open_to(address)
        writer.write(get("/", "transfer-encoding: chunked", method="POST") + b"5\r\nhello\r\n")
        await until(lambda: server.connections == 1)
        writer.close()
        await done.wait()
    assert not received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "close", "timeouts", "status", "rule"),
    [
        pytest.param(b"nonsense\r\n\r\n", False, None, 502, "upstream.protocol", id="no HTTP"),
        pytest.param(b"", True, None, 502, "upstream.unreachable", id="hangs up"),
        pytest.param(b"", False, Timeouts(response=0.1), 504, "upstream.timeout", id="silent"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_an_upstream_without_a_usable_response_is_answered_for(
    tmp_path: Path, answer: bytes, close: bool, timeouts: Timeouts | None, status: int, rule: str, method: str
) -> None:
    async with (
        RawServer(tmp_path / "s", saying(answer, close=close)) as server,
        gateway(server.url, timeouts=timeouts) as address,
    ):
        got, fields, body = parts(await ask(address, get("/", method=method)))
    assert got == status
    assert fields[b"content-type"] == b"application/problem+json"
    if method == "HEAD":
        assert body == b""
    else:
        assert json.loads(body)["type"] == f"urn:aupgate:rule:{rule}"
        assert str(tmp_path).encode() not in body


async def test_an_upstream_that_is_not_there_is_answered_for_as_the_embedder_says(tmp_path: Path) -> None:
    def on_error(scope: Scope, status: int, rule: str, detail: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        return [
            (b"x-rule", rule.encode()),
            (b"content-length", b"4"),
        ], f"{scope['method']}!".encode() if detail else b""

    async with gateway(f"unix:{tmp_path}/none", on_error=on_error) as address:
        status, fields, body = parts(await ask(address, get("/")))
    assert (status, fields[b"x-rule"], body) == (502, b"upstream.unreachable", b"GET!")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", id="counted"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", id="chunked"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", id="bad chunk"),
    ],
)
async def test_a_response_that_breaks_off_never_looks_complete(tmp_path: Path, answer: bytes) -> None:
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        head, _, rest = answer.partition(b"hello")
        writer.write(head + b"hello")
        await go_on.wait()
        writer.write(rest)

    go_on = asyncio.Event()
    async with RawServer(tmp_path / "s", breaks) as server, gateway(server.url) as address, asyncio.timeout(GUARD):
        reader, writer = await open_to(address)
        writer.write(get("/"))
        answer_ = await reader.readuntil(b"hello")
        go_on.set()
        answer_ += await reader.read()
        writer.close()
    assert answer_.startswith(b"HTTP/1.1 200")
    head, _, body = answer_.partition(b"\r\n\r\n")
    if b"content-length: 10" in head:
        assert body == b"hello"
    else:
        assert b"transfer-encoding: chunked" in head
        assert body == b"5\r\nhello\r\n"


async def test_the_embedder_sees_a_broken_response_as_an_error(tmp_path: Path) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        go_on.set()

    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await go_on.wait()

    go_on = asyncio.Event()
    async with RawServer(tmp_path / "s", breaks) as server:
        proxy = ReverseProxy(Upstreams.from_urls([server.url]))
        scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "headers": []}
        with pytest.raises(UpstreamProtocolError):
            await proxy(scope, receive, send)
    assert sent[0]["type"] == "http.response.start"
    assert all(message.get("more_body", True) for message in sent)


async def test_a_scope_of_another_type_is_an_error() -> None:
    with pytest.raises(ValueError, match='"telnet"'):
        await ReverseProxy(Upstreams.from_urls(["http://localhost"]))({"type": "telnet"}, None, None)  # type: ignore[arg-type]


async def test_nginx_behind_the_gateway_serves_files_and_takes_uploads(
    tmp_path: Path, nginx: Callable[[str], Nginx]
) -> None:
    (tmp_path / "file").write_bytes(b"0123456789" * 100_000)
    server = nginx(f"location /file {{ root {tmp_path}; }} location /up {{ return 200 $content_length; }}")
    async with gateway(f"unix:{server.socket}") as address:
        status, fields, body = parts(await ask(address, get("/file")))
        assert (status, len(body)) == (200, 1_000_000)
        assert parts(await ask(address, get("/file", "range: bytes=10-14")))[::2] == (206, b"01234")
        assert parts(await ask(address, get("/file", f"if-none-match: {fields[b'etag'].decode()}")))[0] == 304
        assert parts(await ask(address, get("/file", method="HEAD")))[1][b"content-length"] == b"1000000"
        assert parts(await ask(address, get("/up", "content-length: 7", method="POST") + b"1234567"))[2] == b"7"


async def test_a_log_line_is_one_line_and_keeps_secrets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with gateway(f"unix:{tmp_path}/nobody") as address:
        await ask(address, get("/a%0aGET%20/forged?token=secret1"))
    (line,) = [record.getMessage() for record in caplog.records if record.name == "aupgate.proxy"]
    assert line.startswith("GET '/a%0aGET%20/forged?token=[redacted]': ")
