"""An application with a lifespan, with AcceptableUse around it and no configuration at all: what one line gives."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from aupgate.middleware import AcceptableUse
from examples.saas.app import create_app


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, str]]:
    """Start and stop as applications do, and say so."""
    print("lifespan started", flush=True)  # noqa: T201 - the test reads it
    yield {"opened": "a pool of connections"}
    print("lifespan stopped", flush=True)  # noqa: T201 - as above


async def opened(request: Request) -> Response:
    """Show what the lifespan opened, and what the gateway says of the request."""
    context = request.scope["aupgate"]
    return JSONResponse({"opened": request.state.opened, "client": context.client.address, "id": context.request_id})


app = Starlette(routes=[Route("/opened", opened), Mount("/", create_app())], lifespan=lifespan)
app.add_middleware(AcceptableUse)
