"""The upstream leg with real servers: nginx over TCP, TLS and a unix socket, and uvicorn."""

import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme

from aupgate.proxy.app import ReverseProxy
from aupgate.proxy.origin import UpstreamTls
from aupgate.proxy.upstream import Upstreams
from tests.gateway.proxy.servers import HOST, Receive, Scope, Send, ask, get, parts, serving, with_lifespan
from tests.services import Nginx


async def test_nginx_is_understood(tmp_path: Path, nginx: Callable[[str], Nginx]) -> None:
    (tmp_path / "large").write_bytes(b"0123456789" * 500_000)
    server = nginx(
        f"location /large {{ root {tmp_path}; }}"
        'location /small { return 200 "hello"; } location /none { return 204; } location /moved { return 301 /small; }'
    )
    upstreams = Upstreams.from_urls([f"unix:{server.socket}"])
    for method, path, status, size in (
        (b"GET", b"/small", 200, 5),
        (b"HEAD", b"/small", 200, 0),
        (b"GET", b"/none", 204, 0),
        (b"GET", b"/large", 200, 5_000_000),
        (b"HEAD", b"/large", 200, 0),
        (b"GET", b"/moved", 301, 169),
        (b"GET", b"/absent", 404, None),
    ):
        response = await upstreams.send(method, path, HOST)
        body = b"".join([chunk async for chunk in response])
        assert response.status == status
        assert size is None or len(body) == size
    assert upstreams.choose().busy == 0
    assert upstreams.choose().idle == 1
    upstreams.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class TlsFiles:
    """An authority, a server's certificate for `app.test`, and a client's."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.folder = folder
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        for name, certificate in (("server", authority.issue_cert("app.test")), ("client", authority.issue_cert("g"))):
            certificate.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
            certificate.private_key_pem.write_to_path(str(folder / f"{name}-key.pem"))

    def upstream(self, *, client: bool = False) -> UpstreamTls:
        own = (str(self.folder / "client.pem"), str(self.folder / "client-key.pem")) if client else (None, None)
        return UpstreamTls(True, str(self.folder / "ca.pem"), "app.test", *own)

    def listen(self, port: int) -> str:
        return (
            f"listen 127.0.0.1:{port} ssl; ssl_certificate {self.folder}/server.pem;"
            f"ssl_certificate_key {self.folder}/server-key.pem; ssl_client_certificate {self.folder}/ca.pem;"
        )


async def body_of(upstreams: Upstreams, target: bytes) -> tuple[int, bytes]:
    response = await upstreams.send(b"GET", target, HOST)
    return response.status, b"".join([chunk async for chunk in response])


async def megabytes(count: int) -> AsyncIterator[bytes]:
    for _ in range(count * 16):
        yield b"x" * 65536


async def drained(receive: Receive) -> int:
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    return size


@with_lifespan
async def counting(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers early where the target says so, or with the size of the body; nothing for 204."""
    if scope["path"] == "/early":
        await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"no"})
        return
    answer = b"%d" % await drained(receive)
    status = 204 if scope["path"] == "/none" else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    for piece in (answer, b"!") if status == 200 else ():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "unix:"])
async def test_uvicorn_takes_bodies_of_either_framing_and_its_connection_is_kept(tmp_path: Path, listen: str) -> None:
    async with serving(counting, f"unix:{tmp_path}/up" if listen == "unix:" else listen) as address:
        url = address if listen == "unix:" else f"http://{address}"
        upstreams = Upstreams.from_urls([url])
        for body, length, seen in (
            (None, None, b"0!"),
            (b"hello", None, b"5!"),
            (megabytes(2), 2 * 2**20, b"2097152!"),
            (megabytes(2), None, b"2097152!"),
        ):
            response = await upstreams.send(b"PUT", b"/", HOST, body, length)
            assert (response.status, b"".join([chunk async for chunk in response])) == (200, seen)
            assert upstreams.choose().idle == 1
        for method, target, status, kept in ((b"GET", b"/none", 204, 1), (b"HEAD", b"/", 200, None)):
            response = await upstreams.send(method, target, HOST)
            assert (response.status, [chunk async for chunk in response]) == (status, [])
            assert kept in {upstreams.choose().idle, None}
        upstreams.close()


@pytest.mark.parametrize("length", [pytest.param(32 * 2**20, id="counted"), pytest.param(None, id="chunked")])
async def test_uvicorn_may_answer_before_the_body_was_sent(length: int | None) -> None:
    async with serving(counting) as address:
        upstreams = Upstreams.from_urls([f"http://{address}"])
        response = await upstreams.send(b"POST", b"/early", HOST, megabytes(32), length)
        assert (response.status, b"".join([chunk async for chunk in response])) == (403, b"no")
        assert upstreams.choose().idle == 0
        upstreams.close()


@pytest.mark.parametrize("scheme", ["https", "http", "unix"])
async def test_nginx_keeps_connections_closes_them_and_refuses_bodies_early(
    tmp_path: Path, nginx: Callable[[str], Nginx], scheme: str
) -> None:
    files, port = TlsFiles(tmp_path), free_port()
    listen = {"https": files.listen(port), "http": f"listen 127.0.0.1:{port};", "unix": ""}[scheme]
    server = nginx(
        f'{listen} client_max_body_size 1m; location / {{ return 200 "$ssl_server_name $connection_requests"; }}'
        "location /bye { keepalive_timeout 0; return 200 bye; } location /up { proxy_pass http://127.0.0.1:9; }"
    )
    url = f"unix:{server.socket}" if scheme == "unix" else f"{scheme}://127.0.0.1:{port}"
    name = b"app.test" if scheme == "https" else b""
    upstreams = Upstreams.from_urls([url], tls=files.upstream())
    for count in (1, 2, 3):
        assert await body_of(upstreams, b"/") == (200, name + b" %d" % count)
    assert await body_of(upstreams, b"/bye") == (200, b"bye")
    assert upstreams.choose().idle == 0
    assert await body_of(upstreams, b"/") == (200, name + b" 1")
    for length in (8 * 2**20, None):
        response = await upstreams.send(b"POST", b"/up", HOST, megabytes(8), length)
        assert (response.status, [chunk async for chunk in response] != []) == (413, True)
    upstreams.close()


@pytest.mark.parametrize("shown", [True, False])
async def test_an_upstream_that_asks_for_a_certificate_is_shown_the_gateways(
    tmp_path: Path, nginx: Callable[[str], Nginx], shown: bool
) -> None:
    files, port = TlsFiles(tmp_path), free_port()
    nginx(f"{files.listen(port)} ssl_verify_client on; location / {{ return 200 $ssl_client_verify; }}")
    upstreams = Upstreams.from_urls([f"https://127.0.0.1:{port}"], tls=files.upstream(client=shown))
    status, body = await body_of(upstreams, b"/")
    assert (status, body == b"SUCCESS") == ((200, True) if shown else (400, False))
    upstreams.close()


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        pytest.param(None, "local issuer certificate; name its authority (ca_file)", id="verified by default"),
        pytest.param(
            UpstreamTls(server_name="other.test"),
            "local issuer certificate; name its authority (ca_file)",
            id="whatever its name",
        ),
        pytest.param(UpstreamTls(verify=False), None, id="told not to verify"),
    ],
)
async def test_a_certificate_that_nobody_vouches_for_is_a_502_and_the_log_says_why(
    tmp_path: Path,
    nginx: Callable[[str], Nginx],
    caplog: pytest.LogCaptureFixture,
    tls: UpstreamTls | None,
    said: str | None,
) -> None:
    files, port = TlsFiles(tmp_path), free_port()
    nginx(f"{files.listen(port)} location / {{ return 200 hello; }}")
    upstreams = Upstreams.from_urls([f"https://127.0.0.1:{port}"], tls=tls)
    async with serving(ReverseProxy(upstreams)) as address:
        status, _, body = parts(await ask(address, get("/")))
    if said is None:
        assert (status, body) == (200, b"hello")
        return
    assert (status, json.loads(body)["type"]) == (502, "urn:aupgate:rule:upstream.unreachable")
    assert f"https://127.0.0.1:{port}" not in body.decode()
    assert any(f'no connection to "https://127.0.0.1:{port}"' in line and said in line for line in caplog.messages)


async def test_a_certificate_for_another_name_is_a_502_and_the_log_says_why(
    tmp_path: Path, nginx: Callable[[str], Nginx], caplog: pytest.LogCaptureFixture
) -> None:
    files, port = TlsFiles(tmp_path), free_port()
    nginx(f"{files.listen(port)} location / {{ return 200 hello; }}")
    tls = UpstreamTls(ca_file=str(tmp_path / "ca.pem"))
    async with serving(ReverseProxy(Upstreams.from_urls([f"https://localhost:{port}"], tls=tls))) as address:
        assert parts(await ask(address, get("/")))[0] == 502
    assert any("Hostname mismatch" in line and "localhost" in line for line in caplog.messages)
