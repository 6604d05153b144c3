"""Where upstreams are, and how they are connected to."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from aupgate.proxy.errors import UpstreamTimeout, UpstreamUnreachable
from aupgate.proxy.origin import Origin, UpstreamTls
from aupgate.proxy.upstream import Upstreams
from tests.gateway.proxy.servers import HOST, RawServer, saying

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize(
    ("url", "place", "authority"),
    [
        pytest.param("http://app:8000", ("app", 8000, ""), b"app:8000", id="http"),
        pytest.param("http://app", ("app", 80, ""), b"app:80", id="http without port"),
        pytest.param("https://app/", ("app", 443, ""), b"app:443", id="https without port"),
        pytest.param("http://[::1]:8000", ("::1", 8000, ""), b"[::1]:8000", id="IPv6"),
        pytest.param("unix:/run/app.sock", ("", 0, "/run/app.sock"), b"localhost", id="unix socket"),
    ],
)
def test_an_address_is_understood(url: str, place: tuple[str, int, str], authority: bytes) -> None:
    origin = Origin.from_url(url)
    assert (origin.host, origin.port, origin.path) == place
    assert origin.authority == authority
    assert (origin.context is not None) is url.startswith("https:")


@pytest.mark.parametrize(
    "url",
    [
        "", "app:8000", "ftp://app", "http://", "http://app:0", "http://app:99999", "http://user@app", "http://app/path",
        "http://app?q", "unix:relative", "unix:",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"no address|more than an address|[Pp]ort"):
        Origin.from_url(url)


def test_a_ca_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing\.pem"):
        Origin.from_url("https://app", UpstreamTls(ca_file=str(tmp_path / "missing.pem")))


@pytest.mark.parametrize(
    "made", [(), ("cert",), ("key",), ("cert", "key")], ids=lambda made: " and ".join(made) or "none"
)
def test_a_certificate_that_cannot_be_shown_is_named(tmp_path: Path, made: tuple[str, ...]) -> None:
    """A certificate goes with its own key; neither file, one of the two, or two that do not fit."""
    one, other = (trustme.CA().issue_cert("gateway") for _ in range(2))
    if "cert" in made:
        one.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    if "key" in made:
        other.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    tls = UpstreamTls(cert=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem"))
    with pytest.raises(ValueError, match=r'certificate ".*/cert\.pem" cannot be used'):
        tls.context()


@asynccontextmanager
async def tls_server(authority: trustme.CA, name: str) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await saying(HELLO)(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*tasks)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.mark.parametrize(
    ("host", "options"),
    [
        pytest.param("127.0.0.1", {"server_name": "app.test"}, id="a name to expect"),
        pytest.param("localhost", {"server_name": None, "verify": False}, id="no verification"),
    ],
)
async def test_a_tls_upstream_is_spoken_to(
    authority: trustme.CA, ca_file: str, host: str, options: dict[str, object]
) -> None:
    async with tls_server(authority, "app.test") as port:
        upstreams = Upstreams.from_urls([f"https://{host}:{port}"], tls=UpstreamTls(ca_file=ca_file, **options))  # type: ignore[arg-type]
        response = await upstreams.send(b"GET", b"/", HOST)
        assert b"".join([chunk async for chunk in response]) == b"hello"
        upstreams.close()


@pytest.mark.parametrize(
    ("name", "own_authority"),
    [
        pytest.param("other.test", True, id="another name"),
        pytest.param("app.test", False, id="an authority that is not known"),
    ],
)
async def test_a_certificate_that_does_not_hold_is_refused(
    authority: trustme.CA, ca_file: str, name: str, own_authority: bool
) -> None:
    async with tls_server(authority if own_authority else trustme.CA(), name) as port:
        tls = UpstreamTls(ca_file=ca_file, server_name="app.test")
        upstreams = Upstreams.from_urls([f"https://127.0.0.1:{port}"], tls=tls)
        with pytest.raises(UpstreamUnreachable, match=r"(?i)certificate"):
            await upstreams.send(b"GET", b"/", HOST)


async def test_a_tls_upstream_on_plain_ears_is_unreachable(tmp_path: Path) -> None:
    del tmp_path
    async with tls_server(trustme.CA(), "app.test") as port:
        upstreams = Upstreams.from_urls([f"http://127.0.0.1:{port}"])
        with pytest.raises(Exception, match=r"HTTP|ended"):
            await upstreams.send(b"GET", b"/", HOST)


async def test_a_connection_that_takes_too_long_is_given_up() -> None:
    # A socket that listens and whose queue is full answers nothing more.
    with socket.socket() as listening, socket.socket() as filling, socket.socket() as more:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for each in (filling, more):
            each.setblocking(False)
            each.connect_ex(listening.getsockname())
        origin = Origin.from_url(f"http://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(UpstreamTimeout, match=r"0\.1 s"):
            await origin.connect(asyncio.Protocol, 0.1)


async def test_where_nobody_listens_is_unreachable(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        for url in (f"http://127.0.0.1:{taken.getsockname()[1]}", f"unix:{tmp_path}/none"):
            with pytest.raises(UpstreamUnreachable):
                await Origin.from_url(url).connect(asyncio.Protocol, 5)


async def test_a_unix_socket_is_spoken_to(tmp_path: Path) -> None:
    async with RawServer(tmp_path / "s", saying(HELLO)) as server:
        upstreams = Upstreams.from_urls([server.url])
        assert (await upstreams.send(b"GET", b"/", [])).status == 200
        upstreams.close()
