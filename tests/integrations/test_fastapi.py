"""An application written with FastAPI."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Body, FastAPI, Request, UploadFile, WebSocket
from fastapi.responses import HTMLResponse, PlainTextResponse, StreamingResponse

from tests.integrations.behaviours import Behaviour, behaviours
from tests.integrations.site import Framework, Probe, Seen, Sites, seen_by_application, seen_with

router, part = APIRouter(), APIRouter()


class TeapotError(Exception):
    """Raised by a handler, answered by the application."""


@router.get("/", response_class=HTMLResponse)
async def page() -> str:
    return "<h1>hello</h1>"


@router.post("/items")
async def items(item: Annotated[Any, Body()]) -> Any:
    return item


@router.get("/seen")
@part.get("/seen")
async def seen(request: Request) -> dict[str, Any]:
    assert request.client is not None
    shown = seen_by_application(request)
    return {**shown, "remote": request.client.host, "root_path": request.scope["root_path"]}


@router.post("/upload")
async def upload(file: UploadFile) -> dict[str, Any]:
    content = await file.read()
    return {"name": file.filename, "size": len(content), "sha256": sha256(content).hexdigest()}


@router.get("/stream")
@router.post("/stream")
async def stream(request: Request) -> StreamingResponse:
    return StreamingResponse(seen_with(request).stream())


@router.post("/release")
async def release(request: Request) -> None:
    seen_with(request).released.set()


@router.get("/state", response_class=PlainTextResponse)
async def state(request: Request) -> str:
    return getattr(request.state, "left", "none")


@router.post("/later")
async def later(request: Request, background: BackgroundTasks) -> None:
    background.add_task(seen_with(request).worked.set)


@router.get("/limited", response_class=PlainTextResponse)
def limited() -> str:
    return "limited"  # on a thread, as FastAPI runs handlers that are no coroutine functions


@router.get("/internal/users", response_class=PlainTextResponse)
@part.get("/internal/users", response_class=PlainTextResponse)
async def internal() -> str:
    return "secret"


@router.post("/login")
async def login(request: Request) -> None:
    request.session["user_id"] = "ann"


@router.get("/boom")
async def boom() -> None:
    raise ZeroDivisionError("the application's own")


@router.get("/teapot")
async def teapot() -> None:
    raise TeapotError


@router.websocket("/echo")
@router.websocket("/internal/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


def saying(text: str, status: int) -> Any:
    async def answer(*_: Any) -> PlainTextResponse:
        return PlainTextResponse(text, status)

    return answer


def build(record: Seen) -> FastAPI:
    """Return the application."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, str]]:
        record.events.append("start")
        yield {"left": "ready"}
        record.events.append("end")

    handlers: dict[Any, Any] = {
        404: saying("our own 404", 404),
        500: saying("our own 500", 500),
        TeapotError: saying("our own 418", 418),
    }
    app = FastAPI(lifespan=lifespan, exception_handlers=handlers)
    app.include_router(router)
    mounted = FastAPI()
    mounted.include_router(part)
    app.mount("/part", mounted)
    app.add_middleware(Probe, seen=record)
    return app


FASTAPI = Framework("Starlette, FastAPI", build, cors=0, account=0)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with Sites(FASTAPI, tmp_path_factory.mktemp("fastapi")) as found:
        yield found


@pytest.mark.parametrize("behaviour", behaviours("background", "lifespan", "mount", "session", "websocket"))
def test_fastapi(behaviour: Behaviour, sites: Sites) -> None:
    behaviour(sites)
