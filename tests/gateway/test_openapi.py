"""Reading OpenAPI descriptions."""

import json
from contextlib import suppress
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from aupgate.openapi import MAX_DOCUMENT, read, routes_of
from aupgate.operations import Operation

JSON_BODY: dict[str, Any] = {"content": {"application/json": {"schema": {}}}}


def described(paths: Any, **more: Any) -> dict[str, Any]:
    return {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": paths, **more}


def test_operations_have_the_paths_methods_and_media_types_that_are_described() -> None:
    document = described(
        {
            "/items": {
                "summary": "all of them",
                "parameters": [],
                "get": {"responses": {}},
                "post": {"requestBody": {"content": {"application/json": {}, "Text/CSV; charset=utf-8": {}}}},
            },
            "/items/{item-id}/parts/{part}.json": {"delete": {}},
            "x-internal": {"get": {}},
        }
    )
    assert routes_of(document) == (
        Operation("/items", ("GET",)),
        Operation("/items", ("POST",), ("application/json", "text/csv")),
        Operation("/items/{p0}/parts/{p1}.json", ("DELETE",)),
    )


@pytest.mark.parametrize(
    ("servers", "path"),
    [
        ([], "/items"),
        ([{"url": "/"}], "/items"),
        ([{"url": "/v1"}], "/v1/items"),
        ([{"url": "/v1/"}], "/v1/items"),
        ([{"url": "v1"}], "/v1/items"),
        ([{"url": "https://api.example.com"}], "/items"),
        ([{"url": "https://api.example.com/v1?x=1#y"}], "/v1/items"),
        ([{"url": "//api.example.com/v1"}], "/v1/items"),
        ([{"url": "https://{host}:{port}/v1", "variables": {"host": {"default": "a"}}}], "/v1/items"),
        ([{"url": "{scheme}://api.example.com/v1", "variables": {"scheme": {"default": "https"}}}], "/v1/items"),
        ([{"url": "{server}/v1", "variables": {"server": {"default": "https://a.example/x"}}}], "/x/v1/items"),
        ([{"url": "/{version}", "variables": {"version": {"default": "v2"}}}], "/{p0}/items"),
        ([{"url": "/{base}", "variables": {"base": {"default": "api/v2"}}}], "/api/v2/items"),
        ([{"url": "/{base}", "variables": {"base": {"default": ""}}}], "/items"),
        ([{}], "/items"),
    ],
)
def test_paths_are_below_the_servers_base_path(servers: Any, path: str) -> None:
    operations = routes_of(described({"/items": {"get": {}}}, servers=servers))
    assert [operation.path for operation in operations] == [path]


def test_servers_of_an_operation_count_before_those_of_path_and_document() -> None:
    document = described(
        {
            "/a": {"get": {}, "post": {"servers": [{"url": "/op"}]}, "servers": [{"url": "/item"}]},
            "/b": {"get": {}},
        },
        servers=[{"url": "/v1"}, {"url": "https://other.example/v1"}, {"url": "/v2"}],
    )
    assert [(each.methods[0], each.path) for each in routes_of(document)] == [
        ("GET", "/item/a"),
        ("POST", "/op/a"),
        ("GET", "/v1/b"),
        ("GET", "/v2/b"),
    ]


def test_references_within_the_document_are_followed() -> None:
    document = described(
        {"/a": {"$ref": "#/components/pathItems/a~1b"}},
        components={
            "pathItems": {"a/b": {"put": {"requestBody": {"$ref": "#/components/requestBodies/first"}}}},
            "requestBodies": {"first": {"$ref": "#/components/requestBodies/second"}, "second": JSON_BODY},
        },
    )
    assert routes_of(document) == (Operation("/a", ("PUT",), ("application/json",)),)


def test_the_description_of_a_real_application_is_read() -> None:
    class Item(BaseModel):
        name: str

    app = FastAPI(servers=[{"url": "/v1"}])

    @app.post("/items")
    async def create(item: Item) -> Item:
        return item

    @app.get("/items/{item_id}")
    async def show(item_id: int) -> int:
        return item_id

    assert read(json.dumps(app.openapi()).encode()) == (
        Operation("/v1/items", ("POST",), ("application/json",)),
        Operation("/v1/items/{p0}", ("GET",)),
    )


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"openapi: 3.0.0\npaths: {}\n", "it is not JSON, convert it if it is YAML"),
        (b"", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (b"{}", "its version is None, expected OpenAPI 3.0 or later"),
        (b'{"swagger": "2.0"}', "its version is None"),
        (b'{"openapi": "2.0"}', "its version is '2.0'"),
        (json.dumps(described([])).encode(), "its 'paths' is not an object"),
        (json.dumps(described({"/a": []})).encode(), "[] where an object belongs"),
        (json.dumps(described({"a": {"get": {}}})).encode(), "its path 'a' does not start with a slash"),
        (json.dumps(described({"/a": {"$ref": "a.json"}})).encode(), "'a.json', only references within the document"),
        (json.dumps(described({"/a": {"$ref": "#/nowhere"}})).encode(), "None where an object belongs"),
        (json.dumps(described({"/a": {"$ref": "#/paths/~1a"}})).encode(), "chain of more than 16 references"),
        (b" " * (MAX_DOCUMENT + 1), "more than the 10485760 that are read"),
    ],
)
def test_a_document_that_cannot_be_used_says_why(document: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match="it") as caught:
        read(document)
    assert reason in str(caught.value)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["get", "$ref", "servers", "url"]), inner),
    max_leaves=20,
)


@given(JSON_VALUES, JSON_VALUES)
def test_any_json_is_read_or_refused_with_value_error(paths: Any, servers: Any) -> None:
    with suppress(ValueError):
        read(json.dumps(described({"/a": paths}, servers=servers)).encode())
