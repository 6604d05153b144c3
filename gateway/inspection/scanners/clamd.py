"""A client of clamd, the daemon of ClamAV: its commands FILDES and INSTREAM, NUL-terminated (clamd(8), COMMANDS).

Over a unix socket a file on disk is handed over as a descriptor; anything else is streamed. Only `: OK` means clean,
and only ` FOUND` means that something was found; everything else, and no answer within the time limit, is an error.
"""

import asyncio
import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from aupgate.inspection.scanners.base import Answer, ScanResult
from aupgate.inspection.spool import Spool
from aupgate.inspection.threads import run

CONNECTIONS: Final = 8
"""Scans at the same time. clamd runs 10 threads unless configured otherwise, and other clients want some."""

_PIECE: Final = 256 * 1024
_MAX_REPLY: Final = 4096
_TOLD_APART: Final = (
    ("Heuristics.Encrypted.", Answer.ENCRYPTED),
    ("Heuristics.Limits.", Answer.LIMITS),
)
"""What clamd calls found although it only says that it could not look: with `AlertEncrypted` and `AlertExceedsMax`."""

_TOO_LONG: Final = "INSTREAM size limit exceeded"


class ClamdScanner:
    """Scans through the clamd at `address`, a unix socket's path or host and port, within `timeout` seconds each."""

    def __init__(self, name: str, address: str | tuple[str, int], timeout: float) -> None:
        self.name = name
        self._address = address
        self._timeout = timeout
        self._connections = asyncio.Semaphore(CONNECTIONS)
        self._threads = ThreadPoolExecutor(2, "aupgate-clamd")

    async def scan(self, content: Spool) -> ScanResult:
        """Scan `content`. The time limit counts from the moment that a connection is free."""
        async with self._connections:
            try:
                async with asyncio.timeout(self._timeout):
                    return self._result(await self._ask(content))
            except TimeoutError:
                return self._error(f"no answer within {self._timeout:g} seconds")
            except OSError as error:
                return self._error(str(error) or type(error).__name__)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False)

    async def _ask(self, content: Spool) -> bytes:
        with contextlib.closing(await self._connect()) as connection:
            if connection.family == socket.AF_UNIX and content.on_disk:
                await _hand_over(connection, content.fileno())
                return await _reply(connection)
            return await self._stream(connection, content)

    async def _connect(self) -> socket.socket:
        if isinstance(self._address, str):
            return await _connected(socket.AF_UNIX, self._address)
        found = await asyncio.get_running_loop().getaddrinfo(*self._address, type=socket.SOCK_STREAM)
        failure = OSError("the host has no address")
        for family, _, _, _, address in found:
            try:
                return await _connected(family, address)
            except OSError as error:
                failure = error
        raise failure

    async def _stream(self, connection: socket.socket, content: Spool) -> bytes:
        """Send `content` in pieces, each behind its length. When it is too long, clamd answers early and hangs up."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await loop.sock_sendall(connection, b"zINSTREAM\x00")
            for offset in range(0, content.size, _PIECE):
                piece = await self._read(content, offset)
                await loop.sock_sendall(connection, len(piece).to_bytes(4, "big") + piece)
            await loop.sock_sendall(connection, b"\x00\x00\x00\x00")
        return await _reply(connection)

    async def _read(self, content: Spool, offset: int) -> bytes:
        if not content.on_disk:
            return content.read(offset, _PIECE)
        return await run(self._threads, lambda: content.read(offset, _PIECE))

    def _result(self, reply: bytes) -> ScanResult:
        text = reply.decode("utf-8", "replace").rstrip("\x00\n")
        if text.endswith(": OK"):
            return ScanResult(self.name, Answer.CLEAN)
        if text.endswith(" FOUND"):
            signature = text.rpartition(": ")[2].removesuffix(" FOUND")
            return ScanResult(self.name, _answer(signature), signature)
        if _TOO_LONG in text:
            return self._error(f'{text!r}: raise StreamMaxLength in clamd.conf above "max_size"')
        return self._error(f"unexpected answer {text[:200]!r}")

    def _error(self, reason: str) -> ScanResult:
        return ScanResult(self.name, Answer.ERROR, reason=reason)


def _answer(signature: str) -> Answer:
    return next((answer for prefix, answer in _TOLD_APART if signature.startswith(prefix)), Answer.INFECTED)


async def _connected(family: int, address: str | tuple[Any, ...]) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection


async def _hand_over(connection: socket.socket, descriptor: int) -> None:
    """Send the command and the descriptor, which travels beside one byte that means nothing (unix(7), SCM_RIGHTS)."""
    await asyncio.get_running_loop().sock_sendall(connection, b"zFILDES\x00")
    # A few bytes behind a few bytes on a fresh connection: the socket's buffer takes them without waiting.
    socket.send_fds(connection, [b"\x00"], [descriptor])


async def _reply(connection: socket.socket) -> bytes:
    loop, reply = asyncio.get_running_loop(), b""
    while not reply.endswith(b"\x00") and len(reply) < _MAX_REPLY:
        piece = await loop.sock_recv(connection, _MAX_REPLY)
        if not piece:
            break
        reply += piece
    return reply
