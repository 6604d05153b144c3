"""Documents come from the application past the gateway, or from beside the configuration."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from aupgate.errors import ServiceError
from aupgate.middleware import documents
from aupgate.middleware.documents import AppDocuments


def answering(status: int = 200, *chunks: bytes) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (scope["method"], scope["path"]) == ("GET", "/openapi.json")
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        assert scope.get("app") in {None, "the framework's"}
        await send({"type": "http.response.start", "status": status, "headers": []})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


async def failing(scope: Any, receive: Any, send: Any) -> None:
    raise ZeroDivisionError("planted")


async def test_a_path_is_asked_of_the_application() -> None:
    assert await AppDocuments(answering(200, b"{", b"}"), Path()).fetch("/openapi.json") == b"{}"


async def test_the_application_is_asked_as_one_client_that_leaves_when_it_has_the_answer() -> None:
    """Some frameworks wait for the client to leave while they answer, and take a second body for an error."""
    left: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        leaving = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0)
        assert not leaving.done()
        await send({"type": "http.response.body", "body": b"{}"})
        left.append(await leaving)

    assert await AppDocuments(app, Path()).fetch("/openapi.json") == b"{}"
    assert left == [{"type": "http.disconnect"}]


async def test_the_application_finds_in_the_scope_what_its_framework_puts_there() -> None:
    documents = AppDocuments(answering(200, b"{}"), Path())
    documents.learn({"type": "lifespan", "app": "the framework's", "state": {}})
    assert await documents.fetch("/openapi.json") == b"{}"


async def test_a_file_is_read_from_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "api.json").write_bytes(b"{}")
    assert await AppDocuments(failing, tmp_path).fetch("api.json") == b"{}"


@pytest.mark.parametrize(
    ("app", "location", "message"),
    [
        (answering(404), "/openapi.json", "status 404, expected 200"),
        (failing, "/openapi.json", "ZeroDivisionError"),
        (failing, "missing.json", "cannot be read"),
    ],
)
async def test_a_document_that_cannot_be_had_says_why(app: Any, location: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=message):
        await AppDocuments(app, tmp_path).fetch(location)


async def test_a_document_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_SIZE", 10)
    with pytest.raises(ServiceError, match="larger than 10 bytes"):
        await AppDocuments(answering(200, b"x" * 8, b"x" * 8), Path()).fetch("/openapi.json")
