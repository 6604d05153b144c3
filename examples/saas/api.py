"""The JSON interfaces: items, messages, and an echo that shows what the application was sent."""

from pathlib import Path
from typing import Final

from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from examples.saas.bodies import read_json, text, whole_number
from examples.saas.state import Item, Message, state_of

LARGEST_QUANTITY: Final = 1_000_000
OPENAPI: Final = (Path(__file__).parent / "openapi.json").read_bytes()


class Items(HTTPEndpoint):
    """`/api/items`: the collection. It cannot be deleted as a whole."""

    async def get(self, request: Request) -> Response:
        """List the items."""
        return JSONResponse([item.summary() for item in state_of(request).items.values()])

    async def post(self, request: Request) -> Response:
        """Create an item."""
        state = state_of(request)
        item = await _read_item(request, state.next_id())
        state.items.keep(item.id, item)
        return JSONResponse(item.summary(), 201, headers={"Location": f"/api/items/{item.id}"})


class OneItem(HTTPEndpoint):
    """`/api/items/{id}`: one item."""

    async def get(self, request: Request) -> Response:
        """Show it."""
        return JSONResponse(_find_item(request).summary())

    async def put(self, request: Request) -> Response:
        """Replace it."""
        item = await _read_item(request, _find_item(request).id)
        # Stored in its old place: a change does not make an item newer.
        state_of(request).items[item.id] = item
        return JSONResponse(item.summary())

    async def delete(self, request: Request) -> Response:
        """Remove it."""
        del state_of(request).items[_find_item(request).id]
        return Response(status_code=204)


class Messages(HTTPEndpoint):
    """`/messages`: what users wrote to each other."""

    async def get(self, request: Request) -> Response:
        """List them, oldest first."""
        return JSONResponse([message.summary() for message in state_of(request).messages.values()])

    async def post(self, request: Request) -> Response:
        """Send one."""
        state, fields = state_of(request), await read_json(request)
        to = text(fields, "to", 254)
        if "@" not in to:
            raise HTTPException(422, "field 'to' must be an e-mail address")
        message = Message(state.next_id(), to, text(fields, "subject", 200), text(fields, "body", 10_000))
        state.messages.keep(message.id, message)
        return JSONResponse(message.summary(), 201)


async def echo(request: Request) -> Response:
    """Return what arrived here: proof of what a gateway in front removed, rewrote and added."""
    scope = request.scope
    return JSONResponse(
        {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
            "client": scope["client"],
        }
    )


async def openapi(_: Request) -> Response:
    """Return the description of the public interfaces."""
    return Response(OPENAPI, media_type="application/json")


def _find_item(request: Request) -> Item:
    item = state_of(request).items.get(request.path_params["id"])
    if item is None:
        raise HTTPException(404, f"there is no item '{request.path_params['id']}'")
    return item


async def _read_item(request: Request, identity: str) -> Item:
    fields = await read_json(request)
    return Item(identity, text(fields, "name", 100), whole_number(fields, "quantity", LARGEST_QUANTITY))
