"""The client's side of an exchange: its request body as it comes, and the news that it went away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

from aupgate.model import Header
from aupgate.proxy.errors import ClientGone

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

WATCH_AFTER: Final = 0.05
"""Seconds after which, at the latest twice that, an exchange is worth a task that watches its client.

Most end sooner.
"""

NO_BODY: Final = -1
"""In place of a length: there is no body."""

_OTHER_MESSAGES: Final = 1000
"""Messages other than `http.disconnect` that a watch takes before it ends, so that it never spins."""


def declared_length(headers: Sequence[Header], http_version: str) -> int | None:
    """Return the length of the request's body as its head declares it: `NO_BODY`, or None for one of unknown length.

    HTTP/2 and 3 frame their bodies themselves, so there a missing Content-Length says nothing.
    """
    for name, text in headers:
        if name == b"content-length":
            return int(text)
        if name == b"transfer-encoding":
            return None
    return NO_BODY if http_version in {"1.1", "1.0"} else None


class ClientSide:
    """Reads an exchange's request body, and then tells `on_gone`, once, if the client goes away before the end."""

    __slots__ = ("_receive", "_released", "_task", "_watch", "on_gone")

    def __init__(self, receive: Receive, watch: "Watch") -> None:
        self.on_gone: Callable[[Exception], None] | None = None
        self._receive = receive
        self._watch = watch
        self._released = False
        self._task: asyncio.Task[None] | None = None

    async def piece(self) -> tuple[bytes, bool]:
        """Return the next piece of the body and whether it is the last. Raises `ClientGone`."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client closed its connection before its request was complete")
        return message.get("body", b""), not message.get("more_body", False)

    async def pieces(self, first: bytes = b"", *, ended: bool = False) -> AsyncIterator[bytes]:
        """Yield the body piece by piece, `first` before the rest, and then watch. Raises `ClientGone`."""
        if first:
            yield first
        while not ended:
            piece, ended = await self.piece()
            yield piece
        self.body_ended()

    def body_ended(self) -> None:
        """Watch for the end of the client, if the exchange takes long enough."""
        if not self._released:
            self._watch.add(self)

    def start(self) -> None:
        """Begin to watch. Called by the watch."""
        self._task = asyncio.get_running_loop().create_task(self._await_end())

    def release(self) -> None:
        """Stop watching: the exchange is over."""
        self._released = True
        if self._task is not None:
            self._task.cancel()
            self._task = None
        else:
            self._watch.discard(self)

    async def _await_end(self) -> None:
        for _ in range(_OTHER_MESSAGES):
            if (await self._receive())["type"] == "http.disconnect":
                if self.on_gone is not None:
                    self.on_gone(ClientGone("the client closed its connection"))
                return


class Watch:
    """Starts to watch the clients of those exchanges that last.

    There is one timer for all of them, which runs while there are any; and one entry for each exchange under way.
    """

    def __init__(self) -> None:
        self._new: set[ClientSide] = set()
        self._due: set[ClientSide] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, client: ClientSide) -> None:
        """Watch `client` unless it is discarded soon."""
        self._new.add(client)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._on_tick)

    def discard(self, client: ClientSide) -> None:
        """Forget `client`, if it is here."""
        self._new.discard(client)
        self._due.discard(client)

    def _on_tick(self) -> None:
        due, self._due, self._new = self._due, self._new, set()
        for client in due:
            client.start()
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._on_tick) if self._due else None
