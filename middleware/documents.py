"""Documents that the operator configured: files beside the configuration, or paths that the application serves."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from aupgate.errors import ServiceError

if TYPE_CHECKING:
    from aupgate.middleware.asgi import App, Scope

MAX_SIZE: Final = 16 * 1024 * 1024
"""Bytes of a document; a larger one is refused."""
OK: Final = 200


class AppDocuments:
    """Reads what begins with a slash from the application, in process and past the gateway, and others from disk."""

    def __init__(self, app: "App", base: Path) -> None:
        self._app = app
        self._base = base
        self._surroundings: dict[str, Any] = {}
        self._host = b"localhost"

    def learn(self, scope: "Scope") -> None:
        """Take from a scope that the server made what frameworks put into every scope, such as `app` and `state`."""
        self._surroundings = {key: scope[key] for key in ("app", "state", "asgi") if key in scope}
        host = next((text for name, text in scope.get("headers", ()) if name.lower() == b"host"), None)
        self._host = host or self._host

    async def fetch(self, location: str) -> bytes:
        """Return the document. Raises `ServiceError` when it cannot be had or is larger than 16 MiB."""
        if location.startswith("/"):
            return await self._from_app(location)
        try:
            return await to_thread.run_sync((self._base / location).read_bytes)
        except OSError as error:
            raise ServiceError(f"{location!r} cannot be read: {error}") from error

    async def _from_app(self, path: str) -> bytes:
        response = _Response()
        try:
            await self._app({**_scope(path, self._host), **self._surroundings}, response.receive, response.send)
        except ServiceError:
            raise
        except Exception as error:
            raise ServiceError(f"the application failed on GET {path}: {error!r}") from error
        if response.status != OK:
            raise ServiceError(f"the application answered GET {path} with status {response.status}, expected 200")
        return bytes(response.body)


class _Response:
    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self._asked = False
        self._ended = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            if len(self.body) > MAX_SIZE:
                raise ServiceError(f"the document is larger than {MAX_SIZE} bytes")
            if not message.get("more_body", False):
                self._ended.set()


def _scope(path: str, host: bytes) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", host), (b"accept", b"application/json"), (b"user-agent", b"aupgate")],
        "client": None,
        "server": None,
        "state": {},
    }
