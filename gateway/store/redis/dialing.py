"""Making connections: where the server is, who we are to it, and the script that it must know.

What sentinels say is redis-py's to ask; it is asked for every connection, so that a failover is followed.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from redis.asyncio import Sentinel
from redis.exceptions import RedisError

from aupgate.errors import StoreError
from aupgate.store.redis.commands import SCRIPT, SHA
from aupgate.store.redis.connection import Connection
from aupgate.store.redis.link import PROBE, Dial
from aupgate.store.redis.urls import Node, Target


def dial_target(target: Target) -> Dial:
    """Return what connects to the one server that `target` names, or that its sentinels name."""
    if target.topology == "sentinel":
        return lambda make: _dial_primary(target, make)
    return dial_node(target, None if target.path else target.nodes[0])


def dial_node(target: Target, node: Node | None) -> Dial:
    """Return what connects to `node`, or where there is none to the socket, as `target` says."""
    return lambda make: _dial(target, node, make)


def client_options(target: Target) -> dict[str, Any]:
    """Return what redis-py needs to connect as `target` says."""
    options: dict[str, Any] = {"username": target.username, "password": target.password}
    if target.tls:
        given = target.options
        options |= {
            "ssl": True,
            "ssl_ca_certs": given.get("ca_file"),
            "ssl_certfile": given.get("cert_file"),
            "ssl_keyfile": given.get("key_file"),
        }
    return {**options, "socket_timeout": PROBE, "socket_connect_timeout": PROBE}


async def _dial_primary(target: Target, make: Callable[[], Connection]) -> Connection:
    options = client_options(target)
    options |= {"username": target.options.get("sentinel_username")}
    options |= {"password": target.options.get("sentinel_password")}
    sentinel = Sentinel(target.nodes, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
    try:
        node = await sentinel.discover_master(target.service)
    except RedisError as error:
        raise StoreError(f"no sentinel at {target} knows where {target.service!r} is: {error}") from error
    finally:
        for client in sentinel.sentinels:
            await client.aclose()
    connection = await _dial(target, (str(node[0]), int(node[1])), make)
    role = await connection.reply("ROLE")
    if role[0] != b"master":
        connection.abort()
        raise StoreError(f"{node[0]}:{node[1]} is no primary yet, though sentinels say so")
    return connection


async def _dial(target: Target, node: Node | None, make: Callable[[], Connection]) -> Connection:
    loop = asyncio.get_running_loop()
    context = target.tls_context()
    if node is None:
        _, connection = await loop.create_unix_connection(make, target.path)
    else:
        _, connection = await loop.create_connection(make, *node, ssl=context)
    try:
        await _greet(target, connection)
    except BaseException:
        connection.abort()
        raise
    return connection


async def _greet(target: Target, connection: Connection) -> None:
    if target.password is not None:
        words = ("AUTH", target.password) if target.username is None else ("AUTH", target.username, target.password)
        await connection.reply(*words)
    if target.database:
        await connection.reply("SELECT", str(target.database))
    if await connection.reply("SCRIPT", "LOAD", SCRIPT) != SHA:
        raise StoreError("Redis knows the script by another name than we do: is it Redis?")
