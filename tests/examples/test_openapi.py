"""The example's description of its interfaces is the truth, because the gateway refuses what it leaves out."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from examples.saas.app import API_ROUTES, create_app

XML = {"content-type": "application/xml"}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://stockroom.example") as client:
        yield client


def _served() -> set[tuple[str, str]]:
    routes = [route for route in API_ROUTES if isinstance(route, Route)]
    methods = ("get", "post", "put", "patch", "delete")
    return {
        (route.path_format, method)
        for route in routes
        for method in methods
        if method.upper() in (route.methods or ()) or hasattr(route.endpoint, method)
    }


async def _operations(client: httpx.AsyncClient) -> dict[tuple[str, str], Any]:
    paths = (await client.get("/openapi.json")).json()["paths"]
    return {
        (path, method): operation
        for path, item in paths.items()
        for method, operation in item.items()
        if method != "parameters"
    }


async def test_openapi_describes_exactly_the_public_interfaces(client: httpx.AsyncClient) -> None:
    assert set(await _operations(client)) == _served()


def test_every_route_is_public_a_page_or_internal() -> None:
    pages = {"/", "/login", "/logout", "/profile", "/events", "/ws", "/favicon.ico", "/assets"}
    described = {path for path, _ in _served()}
    others = {str(getattr(route, "path", "")) for route in create_app().routes} - described - pages
    assert others == {"/internal/users", "/internal/health", "/internal/received"}


async def test_openapi_names_the_media_types_that_are_taken(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    bodies = document["components"]["requestBodies"]
    for (path, method), operation in (await _operations(client)).items():
        if body := operation.get("requestBody"):
            types = list((bodies[body["$ref"].rpartition("/")[2]] if "$ref" in body else body)["content"])
            answer = await client.request(method, path.replace("{id}", "1"), content=b"<x/>", headers=XML)
            assert (answer.status_code == 415) == (types != ["*/*"])
            assert types == ["*/*"] or types[0] in answer.json()["error"]


async def test_every_reference_in_openapi_leads_somewhere(client: httpx.AsyncClient) -> None:
    answer = await client.get("/openapi.json")
    for reference in re.findall(r'"#/([^"]+)"', answer.text):
        target = answer.json()
        for step in reference.split("/"):
            target = target[step]
        assert target
