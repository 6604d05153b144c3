"""What does not end at once: events, a websocket, and downloads of any size."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket

from examples.saas.state import MIB

TICK: Final = 0.5
"""Seconds from one event to the next."""
MOST_TICKS: Final = 7200
"""An event stream ends after an hour; a browser then opens it again by itself."""
CHUNK: Final = bytes(range(256)) * 256
LARGEST_DOWNLOAD: Final = 2048

_MEBIBYTES: Final = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)


async def events(request: Request) -> Response:
    """Send a tick with a counter twice a second, as server-sent events, until the client leaves."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return _stream(request, _ticks(), "text/event-stream", headers)


async def download(request: Request) -> Response:
    """Send as many MiB as the path says, 64 KiB at a time and without a Content-Length."""
    given = request.path_params["mib"]
    if not _MEBIBYTES.fullmatch(given) or int(given) > LARGEST_DOWNLOAD:
        raise HTTPException(404, f"'{given}' is no size to download, ask for 1 to {LARGEST_DOWNLOAD} mebibytes")
    headers = {"Content-Disposition": f'attachment; filename="{given}-mib.bin"'}
    return _stream(request, _chunks(int(given)), "application/octet-stream", headers)


async def echo(socket: WebSocket) -> None:
    """Return every message as it came. The server in front of the application bounds the size of one."""
    await socket.accept()
    while (message := await socket.receive())["type"] == "websocket.receive":
        if message.get("text") is not None:
            await socket.send_text(message["text"])
        else:
            await socket.send_bytes(message["bytes"])


def _stream(request: Request, body: AsyncIterator[bytes], media_type: str, headers: dict[str, str]) -> Response:
    # HEAD asks for the fields alone; without this it would run the whole stream for nobody.
    wanted = _nothing() if request.method == "HEAD" else body
    return StreamingResponse(wanted, media_type=media_type, headers=headers)


async def _ticks() -> AsyncIterator[bytes]:
    for number in range(1, MOST_TICKS + 1):
        yield b'id: %d\nevent: tick\ndata: {"count": %d}\n\n' % (number, number)
        await asyncio.sleep(TICK)


async def _chunks(mebibytes: int) -> AsyncIterator[bytes]:
    for _ in range(mebibytes * MIB // len(CHUNK)):
        yield CHUNK


async def _nothing() -> AsyncIterator[bytes]:
    no_chunks: tuple[bytes, ...] = ()
    for chunk in no_chunks:
        yield chunk
