"""The admin listener."""

import httpx
import pytest

from aupgate.admin import admin
from aupgate.metrics import Metrics


async def ask(path: str, *waiting: str) -> httpx.Response:
    app = admin(Metrics(), lambda: list(waiting))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://admin") as client:
        return await client.get(path)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/metrics", 200, "aupgate_requests_in_flight"),
        ("/healthz", 200, "ok"),
        ("/readyz", 200, "ready"),
        ("/", 404, "Not Found"),
    ],
)
async def test_operators_can_ask_how_the_gateway_does(path: str, status: int, text: str) -> None:
    response = await ask(path)
    assert response.status_code == status
    assert text in response.text


async def test_a_gateway_that_waits_for_a_document_is_not_ready_and_says_for_what() -> None:
    response = await ask("/readyz", "interfaces")
    assert response.status_code == 503
    assert response.json() == {"status": "not ready", "waiting": ["interfaces"]}
