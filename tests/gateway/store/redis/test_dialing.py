"""Connecting: with TLS, with a user's rights and no more, to a database, and to the primary that sentinels name."""

import socket
import time
from pathlib import Path

import pytest
import trustme

from aupgate.errors import StoreError
from aupgate.meters import Meter, MeterKind, Post, PostKind, Quota, Window
from aupgate.store.redis.store import RedisStore
from tests.services import accepts, find_server, run_redis, running, short_directory

RIGHTS = "~aup:* +evalsha +script|load +time +get +set +del +zadd +zrem +zrange +zscore +zcount +zrangebyscore"
RIGHTS += " +zremrangebyscore +pexpire +select +ping"
EVERY_KIND = [
    *(Meter(Quota("tests.dial", str(window), 5, 60.0, algorithm=window), "k") for window in Window),
    *(Meter(Quota("tests.dial", str(kind), 5, 60.0, kind), "k", 1, "v") for kind in MeterKind),
]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def admits(url: str) -> bool:
    store = RedisStore(url, timeout=5)
    try:
        readings = (await store.take([EVERY_KIND], time.time()))[0]
        store.post([Post(EVERY_KIND[0], PostKind.ADD, -1), Post(EVERY_KIND[5], PostKind.RELEASE)], time.time())
        await store.drain()
        assert store.posts_failed == 0
        return all(reading.admitted for reading in readings)
    finally:
        await store.close()


async def test_a_user_needs_few_rights() -> None:
    with run_redis(
        "--user", "default", "on", "nopass", "-@all", "--user", "gate", "on", ">secret", *RIGHTS.split()
    ) as redis:
        assert await admits(f"unix://gate:secret@{redis.socket}?db=3")
        for wrong in ("gate:wrong@", ""):
            with pytest.raises(StoreError) as caught:
                await admits(f"unix://{wrong}{redis.socket}")
            assert "secret" not in str(caught.value)


async def test_tls_verifies_the_server(tmp_path: Path) -> None:
    authority, port = trustme.CA(), free_port()
    server = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    server.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    server.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    options = ["--tls-port", str(port), "--tls-cert-file", f"{tmp_path}/cert.pem", "--tls-key-file"]
    options += [f"{tmp_path}/key.pem", "--tls-auth-clients", "no", "--bind", "127.0.0.1"]
    with run_redis(*options):
        assert await admits(f"rediss://127.0.0.1:{port}?ca_file={tmp_path}/ca.pem")
        with pytest.raises(StoreError, match="away"):
            await admits(f"rediss://127.0.0.1:{port}?ca_file={tmp_path}/other.pem")


async def test_sentinels_are_asked_where_the_primary_is() -> None:
    port, sentinel, program = free_port(), free_port(), find_server("redis-server", "redis-server")
    with run_redis("--port", str(port), "--bind", "127.0.0.1"), short_directory("sentinel") as directory:
        settings = directory / "sentinel.conf"
        settings.write_text(
            f"port {sentinel}\nbind 127.0.0.1\nunixsocket {directory}/s.sock\n"
            f"sentinel monitor main 127.0.0.1 {port} 1\n"
        )
        with running([program, str(settings), "--sentinel"], directory, lambda: accepts(directory / "s.sock")):
            assert await admits(f"redis+sentinel://127.0.0.1:{sentinel}/main")
            with pytest.raises(StoreError, match="'other'"):
                await admits(f"redis+sentinel://127.0.0.1:{sentinel}/other")
