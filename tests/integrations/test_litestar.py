"""An application written with Litestar."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import pytest
from litestar import Litestar, MediaType, Request, Response, WebSocket, asgi, get, post, route, websocket
from litestar.background_tasks import BackgroundTask
from litestar.response import Stream
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from tests.integrations.behaviours import Behaviour, behaviours
from tests.integrations.site import Framework, Probe, Seen, Sites, seen_by_application, seen_with


class TeapotError(Exception):
    """Raised by a handler, answered by the application."""


@get("/", media_type=MediaType.HTML)
async def page() -> str:
    return "<h1>hello</h1>"


@post("/items", status_code=200)
async def items(request: Request[Any, Any, Any]) -> Any:
    return await request.json()


@get("/seen")
async def seen(request: Request[Any, Any, Any]) -> dict[str, Any]:
    assert request.client is not None
    return {**seen_by_application(request), "remote": request.client.host}


@post("/upload", status_code=200)
async def upload(request: Request[Any, Any, Any]) -> dict[str, Any]:
    file: Any = (await request.form())["file"]
    content = await file.read()
    return {"name": file.filename, "size": len(content), "sha256": sha256(content).hexdigest()}


@route("/stream", http_method=["GET", "POST"], status_code=200)
async def stream(request: Request[Any, Any, Any]) -> Stream:
    return Stream(seen_with(request).stream())


@post("/release", status_code=200)
async def release(request: Request[Any, Any, Any]) -> None:
    seen_with(request).released.set()


@get("/state")
async def state(request: Request[Any, Any, Any]) -> str:
    return str(request.app.state.get("left", "none"))


@post("/later")
async def later(request: Request[Any, Any, Any]) -> Response[None]:
    return Response(None, background=BackgroundTask(seen_with(request).worked.set))


@get("/limited")
async def limited() -> str:
    return "limited"


@get("/internal/users")
async def internal() -> str:
    return "secret"


@get("/boom")
async def boom() -> None:
    raise ZeroDivisionError("the application's own")


@get("/teapot")
async def teapot() -> None:
    raise TeapotError


@websocket(["/echo", "/internal/echo"])
async def echo(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    async for text in socket.iter_data(mode="text"):
        await socket.send_text(text)


async def seen_in_part(request: StarletteRequest) -> JSONResponse:
    return JSONResponse({**seen_by_application(request), "root_path": "/part"})


async def internal_in_part(_: StarletteRequest) -> PlainTextResponse:
    return PlainTextResponse("secret")


PART = Starlette(routes=[Route("/seen", seen_in_part), Route("/internal/users", internal_in_part)])


@asgi("/part", is_mount=True, copy_scope=True)
async def part(scope: Any, receive: Any, send: Any) -> None:
    await PART({**scope, "path": scope["path"].rstrip("/")}, receive, send)


def saying(text: str, status: int) -> Any:
    return lambda *_: Response(text, status_code=status, media_type=MediaType.TEXT)


def build(record: Seen) -> Any:
    """Return the application."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        record.events.append("start")
        app.state.left = "ready"
        yield
        record.events.append("end")

    handlers = [page, items, seen, upload, stream, release, state, later, limited, internal, boom, teapot, echo, part]
    app = Litestar(
        handlers,
        exception_handlers={
            404: saying("our own 404", 404),
            500: saying("our own 500", 500),
            TeapotError: saying("our own 418", 418),
        },
        lifespan=[lifespan],
        logging_config=None,
    )
    return Probe(app, record)


LITESTAR = Framework("Litestar", build, openapi="/schema/openapi.json")


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with Sites(LITESTAR, tmp_path_factory.mktemp("litestar")) as found:
        yield found


@pytest.mark.parametrize("behaviour", behaviours("background", "lifespan", "mount", "websocket"))
def test_litestar(behaviour: Behaviour, sites: Sites) -> None:
    behaviour(sites)
