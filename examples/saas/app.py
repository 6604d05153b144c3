"""Stockroom, the application behind the gateway: `python -m uvicorn examples.saas.app:app`.

It knows nothing of the gateway and does what applications do. What the gateway keeps from it, it never sees; `/echo`
and `/internal/received` show what it did see.
"""

from dataclasses import asdict
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from examples.saas import api, live, pages, uploads
from examples.saas.received import CountReceived
from examples.saas.state import state_of, stocked

ASSETS: Final = pages.FOLDER / "assets"
USERS: Final = (
    {"id": 1, "email": pages.DEMO_EMAIL, "role": "owner"},
    {"id": 2, "email": "ops@example.com", "role": "staff"},
)


async def favicon(_: Request) -> Response:
    """Serve the icon where browsers look for one unasked."""
    return FileResponse(ASSETS / "favicon.svg")


async def users(_: Request) -> Response:
    """List the users. Only for machines behind the gateway, which must never let a request through to it."""
    return JSONResponse(USERS)


async def health(_: Request) -> Response:
    """Say that the application runs."""
    return JSONResponse({"status": "ok"})


async def received(request: Request) -> Response:
    """Tell how many request bodies, and how many bytes of them, reached the application."""
    return JSONResponse(asdict(state_of(request).received))


API_ROUTES: Final[tuple[BaseRoute, ...]] = (
    Route("/api/items", api.Items),
    Route("/api/items/{id}", api.OneItem),
    Route("/messages", api.Messages),
    Route("/uploads", uploads.Uploads),
    Route("/uploads/{id}", uploads.OneUpload),
    Route("/download/{mib}", live.download),
    Route("/echo", api.echo),
    Route("/openapi.json", api.openapi),
)
"""What `openapi.json` describes: all of it, and nothing else."""

PAGE_ROUTES: Final[tuple[BaseRoute, ...]] = (
    Route("/", pages.home),
    Route("/login", pages.Login),
    Route("/logout", pages.logout, methods=["POST"]),
    Route("/profile", pages.EditProfile),
    Route("/events", live.events),
    WebSocketRoute("/ws", live.echo),
    Route("/favicon.ico", favicon),
    Mount("/assets", StaticFiles(directory=ASSETS)),
)

INTERNAL_ROUTES: Final[tuple[BaseRoute, ...]] = (
    Route("/internal/users", users),
    Route("/internal/health", health),
    Route("/internal/received", received),
)


def create_app() -> Starlette:
    """Return a fresh application with a state of its own."""
    state = stocked()
    app = Starlette(
        routes=[*API_ROUTES, *PAGE_ROUTES, *INTERNAL_ROUTES],
        middleware=[Middleware(CountReceived, received=state.received)],
        exception_handlers={HTTPException: pages.refused, ClientDisconnect: pages.abandoned},
    )
    app.state.stockroom = state
    return app


app: Final = create_app()
