"""The example application does what its description says, with no gateway in front of it."""

import asyncio
import hashlib
import re
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import websockets

from examples.saas import uploads
from examples.saas.app import create_app
from examples.saas.state import SMALLEST_CHARGE, UPLOAD_BUDGET, Shelf, Upload, stocked

SAAS = Path(uploads.__file__).parent
CREDENTIALS = {"email": "demo@example.com", "password": "demo"}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://stockroom.example") as client:
        yield client


class AnnouncedServer(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@pytest.fixture
async def socket_path(tmp_path: Path) -> AsyncIterator[str]:
    path = str(tmp_path / "app.sock")
    server = AnnouncedServer(
        uvicorn.Config(create_app(), uds=path, ws="websockets-sansio", lifespan="off", log_config=None)
    )
    running = asyncio.create_task(server.serve())
    await asyncio.wait_for(server.listening.wait(), 10)
    yield path
    server.should_exit = True
    await running


# --- items and messages -----------------------------------------------------------------------------------------------


async def test_a_created_item_can_be_shown_replaced_and_removed(client: httpx.AsyncClient) -> None:
    created = await client.post("/api/items", json={"name": " Oak peg ", "quantity": 5})
    assert (created.status_code, created.json()["name"]) == (201, "Oak peg")
    where = created.headers["location"]
    assert created.json() in (await client.get("/api/items")).json()
    replaced = await client.put(where, json={"name": "Ash peg", "quantity": 0})
    assert (await client.get(where)).json() == replaced.json() == {**created.json(), "name": "Ash peg", "quantity": 0}
    assert (await client.delete(where)).status_code == 204
    assert (await client.get(where)).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        pytest.param(b"{", 400, "not valid json", id="no json"),
        pytest.param(b"[" * 60_000, 400, "not valid json", id="nested beyond reason"),
        pytest.param(b"\xff", 400, "not valid json", id="no text"),
        pytest.param(b"[]", 400, "json object", id="a list"),
        pytest.param(b'{"quantity": 1}', 422, "'name'", id="name missing"),
        pytest.param(b'{"name": " ", "quantity": 1}', 422, "'name'", id="name blank"),
        pytest.param(b'{"name": "\\ud800", "quantity": 1}', 422, "'name'", id="half a surrogate pair"),
        pytest.param(b'{"name": "peg", "quantity": true}', 422, "'quantity'", id="quantity no number"),
        pytest.param(b'{"name": "peg", "quantity": -1}', 422, "'quantity'", id="quantity negative"),
        pytest.param(b'{"name": "peg", "quantity": 1000001}', 422, "'quantity'", id="quantity too large"),
        pytest.param(b" " * 65_537, 413, "65536 bytes", id="too long"),
    ],
)
async def test_an_item_that_is_not_one_is_told_why(
    client: httpx.AsyncClient, body: bytes, status: int, told: str
) -> None:
    before = (await client.get("/api/items")).json()
    answer = await client.post("/api/items", content=body, headers={"content-type": "application/json; charset=utf-8"})
    assert (answer.status_code, told in answer.json()["error"]) == (status, True)
    assert (await client.get("/api/items")).json() == before


async def test_the_collection_of_items_cannot_be_deleted(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/api/items")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_an_unknown_item_is_a_page_for_browsers_and_json_for_programs(client: httpx.AsyncClient) -> None:
    unknown = "/api/items/<9>"
    program = await client.get(unknown)
    browser = await client.get(unknown, headers={"accept": "text/html,*/*;q=0.8"})
    assert program.status_code == browser.status_code == 404
    assert program.json() == {"error": "there is no item '<9>'"}
    assert "&lt;9&gt;" in browser.text


async def test_a_message_is_sent_and_listed(client: httpx.AsyncClient) -> None:
    message = {"to": "ops@example.com", "subject": "Hinges", "body": "We are short.\nPlease order."}
    sent = await client.post("/messages", json=message)
    assert (sent.status_code, sent.json()) == (201, {**message, "id": sent.json()["id"]})
    assert (await client.get("/messages")).json() == [sent.json()]


@pytest.mark.parametrize("field", ["to", "subject", "body"])
async def test_a_message_without_one_of_its_fields_is_not_sent(client: httpx.AsyncClient, field: str) -> None:
    message = {"to": "ops@example.com", "subject": "Hinges", "body": "We are short."}
    answer = await client.post("/messages", json={**message, field: "" if field != "to" else "ops"})
    assert (answer.status_code, f"'{field}'" in answer.json()["error"]) == (422, True)
    assert (await client.get("/messages")).json() == []


# --- pages ------------------------------------------------------------------------------------------------------------


async def test_the_home_page_loads_only_from_its_own_site(client: httpx.AsyncClient) -> None:
    home = await client.get("/")
    assert home.headers["content-type"].startswith("text/html")
    assets = re.findall(r'(?:src|href)="([^"#]+)"', home.text)
    assert {Path(asset).suffix for asset in assets} >= {".css", ".js", ".svg"}
    for asset in assets:
        assert asset.startswith("/")
        assert (await client.get(asset, follow_redirects=True)).status_code == 200


async def test_an_icon_is_where_browsers_look_unasked(client: httpx.AsyncClient) -> None:
    assert (await client.get("/favicon.ico")).headers["content-type"] == "image/svg+xml"


async def test_a_session_lasts_from_sign_in_to_sign_out(client: httpx.AsyncClient) -> None:
    assert "Password" in (await client.get("/login")).text
    signed_in = await client.post("/login", data=CREDENTIALS)
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/profile")
    cookie = signed_in.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert (await client.get("/profile")).status_code == 200
    session = dict(client.cookies)
    assert (await client.post("/logout")).status_code == 303
    client.cookies.update(session)
    assert (await client.get("/profile")).headers["location"] == "/login"


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param({**CREDENTIALS, "password": "guess"}, id="wrong password"),
        pytest.param({**CREDENTIALS, "email": "nobody@example.com"}, id="unknown user"),
        pytest.param({}, id="nothing"),
        pytest.param({**CREDENTIALS, "password": "\N{SNOWMAN}"}, id="beyond ascii"),
    ],
)
async def test_wrong_credentials_start_no_session(client: httpx.AsyncClient, credentials: dict[str, str]) -> None:
    answer = await client.post(
        "/login", data=credentials, headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
    assert "do not match" in answer.text


@pytest.mark.parametrize(
    "body",
    [pytest.param("&".join("a=1" for _ in range(21)), id="many fields"), pytest.param(b"a=\xff", id="no ascii")],
)
async def test_a_form_that_is_not_one_is_told_so(client: httpx.AsyncClient, body: str | bytes) -> None:
    answer = await client.post("/login", content=body, headers={"content-type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 400


async def test_a_profile_shows_what_was_saved_as_text(client: httpx.AsyncClient) -> None:
    await client.post("/login", data=CREDENTIALS)
    saved = await client.post("/profile", data={"display_name": '"><script>', "about": ""}, follow_redirects=True)
    assert "&quot;&gt;&lt;script&gt;" in saved.text
    assert "<script>" not in saved.text


async def test_a_profile_is_changed_only_by_who_is_signed_in(client: httpx.AsyncClient) -> None:
    assert (await client.post("/profile", data={"display_name": "x", "about": ""})).status_code == 401


# --- uploads ----------------------------------------------------------------------------------------------------------


async def test_a_file_sent_by_a_form_comes_back_as_it_was(client: httpx.AsyncClient) -> None:
    content = bytes(range(256)) * 1000
    form = {"file": ("Zeichnung \N{LATIN SMALL LETTER U WITH DIAERESIS}.png", content, "image/png")}
    stored = await client.post("/uploads", files=form, data={"note": "ignored"})
    upload = stored.json()
    assert stored.status_code == 201
    digest = hashlib.sha256(content).hexdigest()
    assert upload == {
        "id": upload["id"], "name": form["file"][0], "size": 256_000, "sha256": digest, "type": "image/png"
    }  # fmt: skip
    download = await client.get(stored.headers["location"])
    assert (download.content, download.headers["content-type"]) == (content, "image/png")
    assert download.headers["content-disposition"] == "attachment; filename*=UTF-8''Zeichnung%20%C3%BC.png"


async def test_a_raw_upload_keeps_its_chosen_name_and_can_be_replaced(client: httpx.AsyncClient) -> None:
    assert (await client.put("/uploads/plan.txt", content=b"one")).status_code == 201
    assert (
        await client.put("/uploads/plan.txt", content=b"two", headers={"content-type": "text/plain"})
    ).status_code == 200
    assert (await client.get("/uploads/plan.txt")).text == "two"
    head = await client.head("/uploads/plan.txt")
    assert (head.headers["content-length"], head.content) == ("3", b"")


def _form(*parts: str, end: str = "--cut--\r\n") -> str:
    return "".join(f"--cut\r\nContent-Disposition: form-data; {part}\r\n\r\nabc\r\n" for part in parts) + end


FILE_PART = 'name="file"; filename="a.txt"'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(_form(FILE_PART), 201, id="one file"),
        pytest.param(_form(FILE_PART, 'name="note"'), 201, id="a file and a field"),
        pytest.param(_form('name="note"'), 422, id="no file"),
        pytest.param(_form('name="file"'), 422, id="a field that is called file"),
        pytest.param(_form(FILE_PART, FILE_PART), 422, id="two files"),
        pytest.param(_form(FILE_PART, end=""), 400, id="no end"),
        pytest.param("", 400, id="empty"),
        pytest.param(_form(*[FILE_PART.replace("file", "other")] * 17), 413, id="many parts"),
    ],
)
async def test_a_form_carries_one_file_or_is_told_why_not(client: httpx.AsyncClient, body: str, status: int) -> None:
    answer = await client.post("/uploads", content=body, headers={"content-type": "multipart/form-data; boundary=cut"})
    assert answer.status_code == status


async def test_a_form_without_a_boundary_is_no_form(client: httpx.AsyncClient) -> None:
    answer = await client.post("/uploads", content=_form(FILE_PART), headers={"content-type": "multipart/form-data"})
    assert answer.status_code == 400


async def test_a_file_over_the_limit_is_not_stored(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LARGEST_UPLOAD", 1000)
    assert (await client.put("/uploads/fits", content=bytes(1000))).status_code == 201
    assert (await client.put("/uploads/large", content=bytes(1001))).status_code == 413
    assert (await client.post("/uploads", files={"file": ("large", bytes(1001))})).status_code == 413
    assert (await client.get("/uploads/large")).status_code == 404


async def test_a_name_that_could_mislead_is_no_name_for_an_upload(client: httpx.AsyncClient) -> None:
    assert (await client.put("/uploads/.profile", content=b"x")).status_code == 422
    assert (await client.put("/uploads/a%0d%0ab", content=b"x")).status_code == 422


async def test_a_type_that_is_none_is_stored_as_unknown(client: httpx.AsyncClient) -> None:
    stored = await client.put("/uploads/a", content=b"x", headers={"content-type": "text/<b>"})
    assert stored.json()["type"] == "application/octet-stream"


async def test_an_upload_that_breaks_off_is_not_stored() -> None:
    app = create_app()
    pieces: Iterator[dict[str, Any]] = iter(
        [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]
    )
    scope = {"type": "http", "method": "PUT", "path": "/uploads/half", "headers": [], "query_string": b""}

    async def receive() -> dict[str, Any]:
        return next(pieces)

    async def send(_: object) -> None:
        return

    await app(scope, receive, send)
    assert not app.state.stockroom.uploads


# --- what goes on for longer ------------------------------------------------------------------------------------------


async def test_a_download_has_the_size_asked_for_and_announces_none(client: httpx.AsyncClient) -> None:
    answer = await client.get("/download/2")
    assert (len(answer.content), "content-length" in answer.headers) == (2 * 1024 * 1024, False)


@pytest.mark.parametrize("size", ["0", "2049", "-1", "1.5", "x", "9" * 5000, "\N{ARABIC-INDIC DIGIT ONE}"])
async def test_a_size_beyond_the_bounds_is_not_found(client: httpx.AsyncClient, size: str) -> None:
    assert (await client.get(f"/download/{size}")).status_code == 404


@pytest.mark.parametrize("path", ["/download/2048", "/events"])
async def test_head_of_a_stream_ends_at_once(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


async def test_events_arrive_one_by_one(socket_path: str) -> None:
    transport = httpx.AsyncHTTPTransport(uds=socket_path)
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://stockroom.example") as client,
        client.stream("GET", "/events") as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        first = [await anext(lines) for _ in range(4)]
        second = [await anext(lines) for _ in range(4)]
    assert first == ["id: 1", "event: tick", 'data: {"count": 1}', ""]
    assert second == ["id: 2", "event: tick", 'data: {"count": 2}', ""]


async def test_the_websocket_returns_text_and_bytes(socket_path: str) -> None:
    async with websockets.unix_connect(socket_path, "ws://stockroom.example/ws") as socket:
        for message in ("hello", "", b"\x00\xff"):
            await socket.send(message)
            assert await socket.recv() == message


# --- what shows the gateway's work ------------------------------------------------------------------------------------


async def test_echo_shows_the_request_with_every_field_in_order(client: httpx.AsyncClient) -> None:
    headers = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "192.0.2.2"), ("x_remote_user", "root")]
    shown = (await client.get("/echo?a=%20b", headers=headers)).json()
    assert [pair for pair in shown["headers"] if pair[0].startswith("x")] == [list(pair) for pair in headers]
    assert (shown["method"], shown["path"], shown["query"]) == ("GET", "/echo", "a=%20b")
    assert shown["client"] == ["127.0.0.1", 123]


async def test_internal_interfaces_answer_who_reaches_the_application_directly(client: httpx.AsyncClient) -> None:
    assert [user["role"] for user in (await client.get("/internal/users")).json()] == ["owner", "staff"]
    assert (await client.get("/internal/health")).json() == {"status": "ok"}


async def test_received_counts_every_announced_body_and_its_bytes(client: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"1234"
        yield b"56"

    assert (await client.get("/internal/received")).json() == {"requests": 0, "bytes": 0}
    await client.put("/uploads/whole", content=b"abc")
    await client.put("/uploads/chunked", content=pieces())
    await client.post("/no/such/path", content=b"unread")
    assert (await client.get("/internal/received")).json() == {"requests": 3, "bytes": 9}


def test_the_demo_key_is_in_the_key_file_by_its_hash_alone() -> None:
    keys = tomllib.loads((SAAS / "keys.toml").read_text())["keys"]
    assert keys == [{"id": "demo", "sha256": hashlib.sha256(b"demo").hexdigest(), "plan": "pro"}]


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_a_full_shelf_drops_its_oldest_values() -> None:
    shelf: Shelf[int, str] = Shelf(6, len)
    for key, value in enumerate(["one", "two", "four"]):
        shelf.keep(key, value)
    assert dict(shelf) == {2: "four"}
    shelf.keep(3, "too heavy for it")
    assert not shelf


def test_empty_uploads_are_bounded_in_number() -> None:
    state = stocked()
    for number in range(UPLOAD_BUDGET // SMALLEST_CHARGE + 1):
        state.uploads.keep(str(number), Upload(str(number), "a", "text/plain", "", b""))
    assert len(state.uploads) == UPLOAD_BUDGET // SMALLEST_CHARGE
    assert "0" not in state.uploads
