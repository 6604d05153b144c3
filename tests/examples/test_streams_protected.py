"""What does not end at once: large downloads and uploads, events, websockets, and the end of the gateway itself."""

import os
import re
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_websocket

from tests.examples.running import (
    CURL,
    FIREFOX,
    MIB,
    PERSON,
    Site,
    connect,
    new_address,
    new_key,
    request_head,
    run_site,
    until,
    visitor,
)

MAY_GROW = 32 * MIB


@pytest.fixture
def fresh() -> Iterator[Site]:
    """A gateway that nobody else uses."""
    with run_site() as running:
        yield running


def download(site: Site, mebibytes: int, fields: dict[str, str]) -> tuple[socket.socket, HTTPResponse]:
    """Ask for a download, and return the connection with the response whose head has come."""
    connection = connect(site)
    connection.sendall(request_head(f"/download/{mebibytes}", fields))
    response = HTTPResponse(connection)
    response.begin()
    assert response.status == 200
    return connection, response


def discard(response: HTTPResponse) -> int:
    """Read to the end and return how many bytes came; a response that was cut raises."""
    buffer, size = bytearray(MIB), 0
    while count := response.readinto(buffer):
        size += count
    return size


# --- memory -----------------------------------------------------------------------------------------------------------


def test_a_download_of_1_gib_and_uploads_of_20_mib_take_little_memory(fresh: Site) -> None:
    noise = os.urandom(20 * MIB)
    with visitor(fresh.url, CURL | new_key()) as client:
        assert client.get("/download/4").status_code == 200
        assert client.put("/uploads/small.bin", content=b"hello").status_code == 201
        fresh.gateway.forget_peak()
        before = fresh.gateway.memory("VmRSS")
        connection, response = download(fresh, 1024, PERSON)
        with connection:
            assert discard(response) == 1024 * MIB
        assert fresh.gateway.memory("VmHWM") - before < MAY_GROW, "a download"
        assert client.put("/uploads/data.bin", content=noise).json()["size"] == len(noise)
        assert fresh.gateway.memory("VmHWM") - before < MAY_GROW, "an upload"
        assert client.post("/uploads", files={"file": ("data.bin", noise)}).json()["size"] == len(noise)
        assert fresh.gateway.memory("VmHWM") - before < MAY_GROW, "an upload by a form"


# --- streams ----------------------------------------------------------------------------------------------------------


def test_events_arrive_one_by_one(browser: httpx.Client) -> None:
    with browser.stream("GET", "/events", headers={"Accept": "text/event-stream"}) as response:
        assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        arrived = response.iter_text()
        events = [next(arrived) for _ in range(3)]
    assert [re.findall(r'data: {"count": (\d+)}\n\n', event) for event in events] == [["1"], ["2"], ["3"]]


def websocket(site: Site, user_agent: str) -> ClientConnection:
    parts = urlsplit(site.url)
    raw = socket.create_connection((str(parts.hostname), int(parts.port or 0)), 10, (new_address(), 0))
    return open_websocket(f"ws://{parts.netloc}/ws", sock=raw, user_agent_header=user_agent, proxy=None)


def test_a_websocket_echoes_text_and_bytes(site: Site) -> None:
    with websocket(site, FIREFOX) as socket_:
        messages: list[str | bytes] = ["hello", "Ä 橡木", b"\x00\xff" * 40_000, ""]
        for message in messages:
            socket_.send(message)
            assert socket_.recv(10) == message


def test_a_robot_gets_no_websocket_and_is_told_by_which_clause(site: Site) -> None:
    with pytest.raises(InvalidStatus) as refused, websocket(site, CURL["User-Agent"]):
        pass
    assert refused.value.response.status_code == 403
    assert b"infince.network.crawling" in refused.value.response.body


def test_the_application_notices_that_a_download_was_abandoned(site: Site) -> None:
    connection, response = download(site, 2000, PERSON)
    request_id = response.headers["x-request-id"]
    connection.close()
    response.close()
    line = until(
        lambda: re.search(rf'.*"{request_id}".*', site.gateway.output.read_text("utf-8")), "a line in the access log"
    )
    assert '"aborted":true' in line[0]


# --- the end ----------------------------------------------------------------------------------------------------------


def refuses_connections(site: Site) -> bool:
    try:
        connect(site).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_download_ends_before_a_gateway_that_is_told_to_end(fresh: Site) -> None:
    connection, response = download(fresh, 64, PERSON)
    with connection:
        fresh.gateway.process.terminate()
        until(lambda: refuses_connections(fresh), "the end of listening")
        assert fresh.gateway.process.poll() is None
        assert discard(response) == 64 * MIB
    assert fresh.gateway.process.wait(20) == 0
    assert fresh.gateway.failures() == []
