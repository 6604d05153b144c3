"""What a response gets on its way to the client."""

import pytest

from aupgate.proxy.listener import App
from tests.gateway.proxy.servers import Receive, Scope, Send, ask, parts, serving, with_lifespan

REQUEST = b"GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n"


def saying(*fields: tuple[bytes, bytes]) -> App:
    @with_lifespan
    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        for piece in (b"hel", b"", b"lo"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    return app


async def test_a_response_of_unknown_length_ends_with_the_connection_for_http_1_0() -> None:
    async with serving(saying()) as address:
        answer = await ask(address, REQUEST)
    assert b"transfer-encoding" not in answer
    assert b"connection: close" in answer
    assert parts(answer)[2] == b"hello"


async def test_a_response_of_known_length_keeps_it_for_http_1_0() -> None:
    async with serving(saying((b"Content-Length", b"5"))) as address:
        _, fields, body = parts(await ask(address, REQUEST))
    assert (fields[b"content-length"], body) == (b"5", b"hello")


async def test_http_1_1_gets_chunks() -> None:
    async with serving(saying()) as address:
        answer = await ask(address, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    assert parts(answer)[1][b"transfer-encoding"] == b"chunked"
    assert parts(answer)[2] == b"hello"


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_response_without_a_date_gets_one(method: bytes) -> None:
    async with serving(saying()) as address:
        assert parts(await ask(address, REQUEST.replace(b"GET", method)))[1][b"date"].endswith(b" GMT")


async def test_a_date_stays_what_it_is() -> None:
    async with serving(saying((b"Date", b"then"))) as address:
        answer = await ask(address, REQUEST)
    assert answer.lower().count(b"date: ") == 1
    assert parts(answer)[1][b"date"] == b"then"
