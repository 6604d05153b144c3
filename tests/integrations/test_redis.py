"""Gateways that count in one Redis, as clients see them: by the direct lane, by ASGI, and while Redis is away."""

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client

from tests.gateway.proxy.both_ways import BOTH, HELLO, PLAIN, Recorder, site
from tests.gateway.proxy.servers import RawServer, ask, open_to, parts, until
from tests.services import Redis, redis_server

__all__ = ["redis_server"]

CLOSE = PLAIN.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")


@pytest.fixture(autouse=True)
def _empty(redis_server: Redis) -> None:
    with Client(unix_socket_path=str(redis_server.socket)) as client:
        client.flushall()


def counted_in(redis: Redis, rate: str = "3/day", **limit: Any) -> Mapping[str, Any]:
    """Return the configuration of a gateway with one limit, and room for one request at a time."""
    limits = {"limits": [{"name": "few", "rate": rate, **limit}], "concurrency": {"per_client": 1}}
    return {
        "store": {"url": redis.url, "timeout": "100ms"},
        "client": {"trusted_proxies": []},
        "log": {"audit": "off", "access": "off"},
        "policies": {"rate_limits": {"mode": "enforce", **limits}, "scrapers": {"mode": "off"}},
    }


@contextmanager
def stopped(redis: Redis) -> Iterator[None]:
    """Keep Redis from answering, without closing its connections."""
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(redis.pid, signal.SIGCONT)


@BOTH
async def test_two_gateways_admit_together_what_the_limit_says(
    tmp_path: Path, redis_server: Redis, direct: bool
) -> None:
    config = counted_in(redis_server)
    async with (
        RawServer(tmp_path / "up", Recorder(HELLO)) as server,
        site(server.url, config=config, direct=direct) as one,
        site(server.url, config=config, direct=direct) as other,
    ):
        answers = [parts(await ask(gateway.address, CLOSE)) for gateway in (one, other, one, other, one)]
        assert [status for status, _, _ in answers] == [200, 200, 200, 429, 429]
        assert answers[2][1][b"ratelimit"].startswith(b'"few";r=0')
        assert one.taken == (3 if direct else 0)


@BOTH
async def test_a_request_in_a_body_is_counted_there_too(tmp_path: Path, redis_server: Redis, direct: bool) -> None:
    post = b"POST / HTTP/1.1\r\nhost: example.test\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi"
    async with (
        RawServer(tmp_path / "up", Recorder(HELLO)) as server,
        site(server.url, config=counted_in(redis_server, "1/day"), direct=direct) as gateway,
    ):
        assert [parts(await ask(gateway.address, post))[0] for _ in range(2)] == [200, 429]


@BOTH
@pytest.mark.parametrize(
    ("on_failure", "statuses"),
    [("local", [200, 200, 200, 429]), ("allow", [200] * 4), ("refuse", [503] * 4)],
)
async def test_while_redis_does_not_answer_limits_do_as_they_are_told(
    tmp_path: Path, redis_server: Redis, direct: bool, on_failure: str, statuses: list[int]
) -> None:
    config = counted_in(redis_server, on_failure=on_failure)
    config["store"]["on_failure"] = on_failure
    rate_limits = config["policies"]["rate_limits"]
    rate_limits["concurrency"] = {"per_client": 100}  # whose leases nobody could end in the meantime
    async with (
        RawServer(tmp_path / "up", Recorder(HELLO)) as server,
        site(server.url, config=config, direct=direct) as gateway,
    ):
        with stopped(redis_server):
            assert [parts(await ask(gateway.address, CLOSE))[0] for _ in statuses] == statuses
        up, without = f'aupgate_store_up{{link="{redis_server.socket}"}}', "aupgate_store_fallbacks_total"
        await until(lambda: gateway.metric(up) == 1)
        before = gateway.metric(f'{without}{{on_failure="{on_failure}"}}')
        assert before > 0
        # What was asked while it stood still, and given up, may have been counted there all the same.
        assert parts(await ask(gateway.address, CLOSE))[0] in {200, 429}
        assert gateway.metric(f'{without}{{on_failure="{on_failure}"}}') == before


@BOTH
async def test_a_client_that_leaves_while_it_is_counted_holds_no_place(
    tmp_path: Path, redis_server: Redis, direct: bool
) -> None:
    async with (
        RawServer(tmp_path / "up", Recorder(HELLO)) as server,
        site(server.url, config=counted_in(redis_server, "100/day"), direct=direct) as gateway,
    ):
        assert parts(await ask(gateway.address, CLOSE))[0] == 200  # connected to Redis
        os.kill(redis_server.pid, signal.SIGSTOP)
        _, writer = await open_to(gateway.address)
        writer.write(PLAIN)
        await writer.drain()
        await until(lambda: gateway.metric("aupgate_requests_in_flight") == 1)
        writer.close()
        await asyncio.sleep(0.02)
        os.kill(redis_server.pid, signal.SIGCONT)
        await until(lambda: gateway.metric("aupgate_requests_in_flight") == 0)
        assert parts(await ask(gateway.address, CLOSE))[0] == 200
