"""Work before and after requests: policies that must load something first, and logs that must be written out."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from aupgate.errors import ServiceError

if TYPE_CHECKING:
    from aupgate.gateway import Gateway
    from aupgate.middleware.asgi import App, Receive, Scope, Send
    from aupgate.middleware.documents import AppDocuments
    from aupgate.policy import Prepares

FIRST_RETRY: Final = 0.2
LAST_RETRY: Final = 15.0
"""Seconds between tries to prepare a policy: doubled from the first to the last."""
PATIENCE: Final = 5.0
"""Seconds that one try may take."""

_log = logging.getLogger("aupgate")


class Preparation:
    """Prepares policies in the background, from the first event of a lifespan or else from the first request."""

    def __init__(self, gateway: "Gateway", documents: "AppDocuments") -> None:
        self._gateway = gateway
        self._documents = documents
        self.waiting = gateway.preparing()
        """Policies that have not loaded what they need."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def ready(self) -> bool:
        """True when every policy has loaded what it needs."""
        return not self.waiting

    async def begin(self, scope: "Scope") -> None:
        """See to it that what must be prepared is being prepared, and wait for the first try if this began it.

        `scope` is one that the server made, for what an application expects to find in every scope.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # a server that starts anew in the same process; the old loop's tasks died with it
            self._loop = loop
            self._tasks.clear()
        if self._tasks:
            return
        self._documents.learn(scope)
        tried = [self._start(policy) for policy in self.waiting]
        if tried:
            await asyncio.wait([loop.create_task(each.wait()) for each in tried], timeout=PATIENCE)

    async def pass_through(self, app: "App", scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Run a scope that is not a request, unchanged; a lifespan starts and ends the background work."""
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return

        async def watch(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self.begin(scope)
            elif message["type"].startswith("lifespan.shutdown."):
                # Before the server hears of it: then it ends, and whatever is still under way is cut.
                await self._end()
            await send(message)

        await app(scope, receive, watch)

    async def _end(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._gateway.close_store()
        await asyncio.to_thread(self._gateway.flush)

    def _start(self, policy: "Prepares") -> asyncio.Event:
        """Prepare `policy` in the background; return what is set after the first try."""
        tried = asyncio.Event()
        task = asyncio.get_running_loop().create_task(self._keep_trying(policy, tried))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return tried

    async def _keep_trying(self, policy: "Prepares", tried: asyncio.Event) -> None:
        pause = FIRST_RETRY
        while not await self._try(policy, pause):
            tried.set()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_RETRY)
        tried.set()

    async def _try(self, policy: "Prepares", pause: float) -> bool:
        try:
            await asyncio.wait_for(policy.prepare(self._gateway.services), PATIENCE)
        except (ServiceError, TimeoutError) as error:
            _log.warning(
                "policy %s is not ready: %s; trying again in %.1f s",
                policy.name,
                error if str(error) else "no answer",
                pause,
            )
            return False
        self.waiting.remove(policy)
        return True
