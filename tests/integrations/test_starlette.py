"""An application written with Starlette."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from aupgate.middleware import AcceptableUse
from tests.integrations.behaviours import Behaviour, behaviours
from tests.integrations.site import Framework, Probe, Seen, Sites, documented_blocks, seen_by_application, seen_with


class TeapotError(Exception):
    """Raised by a handler, answered by the application."""


async def page(_: Request) -> Response:
    return HTMLResponse("<h1>hello</h1>")


async def items(request: Request) -> Response:
    return JSONResponse(await request.json())


async def seen(request: Request) -> Response:
    assert request.client is not None
    shown = seen_by_application(request)
    return JSONResponse({**shown, "remote": request.client.host, "root_path": request.scope["root_path"]})


async def upload(request: Request) -> Response:
    async with request.form() as form:
        file: Any = form["file"]
        content = await file.read()
        return JSONResponse({"name": file.filename, "size": len(content), "sha256": sha256(content).hexdigest()})


async def stream(request: Request) -> Response:
    return StreamingResponse(seen_with(request).stream())


async def release(request: Request) -> Response:
    seen_with(request).released.set()
    return Response()


async def state(request: Request) -> Response:
    return PlainTextResponse(getattr(request.state, "left", "none"))


async def later(request: Request) -> Response:
    return Response(background=BackgroundTask(seen_with(request).worked.set))


async def login(request: Request) -> Response:
    request.session["user_id"] = "ann"
    return Response()


async def boom(_: Request) -> Response:
    raise ZeroDivisionError("the application's own")


async def teapot(_: Request) -> Response:
    raise TeapotError


async def openapi(request: Request) -> Response:
    """Describe the application from its routes, as generators do."""
    operation = {"responses": {"200": {"description": "fine"}}}
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    paths = {route.path: {method.lower(): operation for method in route.methods or ()} for route in routes}
    return JSONResponse({"openapi": "3.1.0", "info": {"title": "app", "version": "1"}, "paths": paths})


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


def saying(text: str, status: int = 200) -> Any:
    async def answer(*_: Any) -> Response:
        return PlainTextResponse(text, status)

    return answer


def build(record: Seen) -> Starlette:
    """Return the application."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, str]]:
        record.events.append("start")
        yield {"left": "ready"}
        record.events.append("end")

    internal = Route("/internal/users", saying("secret"))
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/seen", seen),
            Route("/items", items, methods=["POST"]),
            Route("/upload", upload, methods=["POST"]),
            Route("/stream", stream, methods=["GET", "POST"]),
            Route("/release", release, methods=["POST"]),
            Route("/state", state),
            Route("/limited", saying("limited")),
            Route("/boom", boom),
            Route("/teapot", teapot),
            Route("/later", later, methods=["POST"]),
            Route("/login", login, methods=["POST"]),
            Route("/openapi.json", openapi),
            WebSocketRoute("/echo", echo),
            WebSocketRoute("/internal/echo", echo),
            internal,
            Mount("/part", Starlette(routes=[Route("/seen", seen), internal])),
        ],
        exception_handlers={
            404: saying("our own 404", 404),
            500: saying("our own 500", 500),
            TeapotError: saying("our own 418", 418),
        },
        lifespan=lifespan,
    )
    app.add_middleware(Probe, seen=record)
    return app


STARLETTE = Framework("Starlette, FastAPI", build, cors=0, account=0)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with Sites(STARLETTE, tmp_path_factory.mktemp("starlette")) as found:
        yield found


@pytest.mark.parametrize("behaviour", behaviours("background", "lifespan", "mount", "session", "websocket"))
def test_starlette(behaviour: Behaviour, sites: Sites) -> None:
    behaviour(sites)


# -- testing an application with it on ---------------------------------------------------------------------------------

CHECKOUT = Starlette(routes=[Route("/checkout", saying("thank you")), WebSocketRoute("/echo", echo)])


def documented_test() -> dict[str, Any]:
    """Return what the documentation's example of a test defines."""
    defined: dict[str, Any] = {"AcceptableUse": AcceptableUse}
    exec(documented_blocks("Testing an application with it on")[0], defined)
    return defined


async def test_the_documented_test_passes() -> None:
    await documented_test()["test_checkout_is_not_refused"](CHECKOUT)


async def test_the_documented_test_fails_where_customers_would_be_refused() -> None:
    defined = documented_test()
    defined["BROWSER"]["user-agent"] = "Scrapy/2.11"
    with pytest.raises(AssertionError):
        await defined["test_checkout_is_not_refused"](CHECKOUT)


@pytest.mark.filterwarnings("ignore:Using `httpx` with:starlette.exceptions.StarletteDeprecationWarning")
def test_starlettes_test_client_works_as_documented() -> None:
    from starlette.testclient import TestClient, WebSocketDenialResponse

    wrapped = AcceptableUse(CHECKOUT, {"policies": {"scrapers": {"mode": "enforce"}}, "log": {"audit": "off"}})
    robot = {"user-agent": "Scrapy/2.11"}
    with TestClient(wrapped, client=("198.51.100.1", 1), headers=documented_test()["BROWSER"]) as client:
        assert client.get("/checkout").status_code == 200
        assert client.get("/checkout", headers=robot).status_code == 403
        with client.websocket_connect("/echo") as socket:
            socket.send_text("hello")
            assert socket.receive_text() == "hello"
        with pytest.raises(WebSocketDenialResponse), client.websocket_connect("/echo", headers=robot):
            pytest.fail("the websocket was accepted")
        wrapped.gateway.observe(on=True)
        assert client.get("/checkout", headers=robot).status_code == 200
