"""An application written with Quart."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from quart import Blueprint, Quart, current_app, request, websocket

from tests.integrations.behaviours import Behaviour, behaviours
from tests.integrations.site import Framework, Probe, Seen, Sites, seen_by_application, seen_with

routes = Blueprint("routes", __name__)


class TeapotError(Exception):
    """Raised by a handler, answered by the application."""


@routes.get("/")
async def page() -> str:
    return "<h1>hello</h1>"


@routes.post("/items")
async def items() -> Any:
    return await request.get_json()


@routes.get("/seen")
async def seen() -> dict[str, Any]:
    return {**seen_by_application(request), "remote": request.remote_addr}


@routes.post("/upload")
async def upload() -> dict[str, Any]:
    file = (await request.files)["file"]
    content = file.read()
    return {"name": file.filename, "size": len(content), "sha256": sha256(content).hexdigest()}


@routes.route("/stream", methods=["GET", "POST"])
async def stream() -> Any:
    return seen_with(request).stream()


@routes.post("/release")
async def release() -> str:
    seen_with(request).released.set()
    return ""


@routes.get("/state")
async def state() -> str:
    return str(current_app.config.get("left", "none"))


@routes.post("/later")
async def later() -> str:
    current_app.add_background_task(seen_with(request).worked.set)
    return ""


@routes.get("/limited")
async def limited() -> str:
    return "limited"


@routes.get("/internal/users")
async def internal() -> str:
    return "secret"


@routes.get("/boom")
async def boom() -> str:
    raise ZeroDivisionError("the application's own")


@routes.get("/teapot")
async def teapot() -> str:
    raise TeapotError


@routes.get("/openapi.json")
async def openapi() -> dict[str, Any]:
    paths = {"/": {"get": {"responses": {"200": {"description": "a page"}}}}}
    return {"openapi": "3.1.0", "info": {"title": "app", "version": "1"}, "paths": paths}


@routes.websocket("/echo")
@routes.websocket("/internal/echo")
async def echo() -> None:
    while True:
        await websocket.send(await websocket.receive())


def saying(text: str, status: int) -> Any:
    async def answer(_: Exception) -> tuple[str, int]:
        return text, status

    return answer


def build(record: Seen) -> Any:
    """Return the application."""
    app = Quart(__name__)
    app.register_blueprint(routes)
    for error, text, status in (
        (404, "our own 404", 404),
        (500, "our own 500", 500),
        (TeapotError, "our own 418", 418),
    ):
        app.register_error_handler(error, saying(text, status))

    @app.before_serving
    async def start() -> None:
        record.events.append("start")
        app.config["left"] = "ready"

    @app.after_serving
    async def end() -> None:
        record.events.append("end")

    app.asgi_app = Probe(app.asgi_app, record)  # type: ignore[method-assign]
    return app


QUART = Framework("Quart", build)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with Sites(QUART, tmp_path_factory.mktemp("quart")) as found:
        yield found


@pytest.mark.parametrize("behaviour", behaviours("background", "lifespan", "websocket"))
def test_quart(behaviour: Behaviour, sites: Sites) -> None:
    behaviour(sites)
