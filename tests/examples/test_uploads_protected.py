"""Uploads through the gateway: of what is dangerous no byte reaches the application, the rest arrives whole."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from http.client import HTTPResponse

import httpx
import pytest

from tests.examples.running import CURL, MIB, SAAS, Site, connect, new_key, request_head
from tests.services import EICAR

PICTURE = (SAAS / "assets" / "picture.png").read_bytes()
PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00\x01\x00\x00\x00" + bytes(4096)
TOO_LARGE = 26 * MIB


def zipped(name: str, content: bytes, times: int = 1) -> bytes:
    """Return a zip that holds the file, inside `times` - 1 further zips."""
    for _ in range(times):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        name, content = "packed.zip", packed.getvalue()
    return content


def put(client: httpx.Client, content: bytes, name: str = "notes.txt", type_: str = "text/plain") -> httpx.Response:
    return client.put(f"/uploads/{name}", content=content, headers={"Content-Type": type_})


def post(client: httpx.Client, content: bytes, name: str = "notes.txt", type_: str = "text/plain") -> httpx.Response:
    return client.post("/uploads", data={"comment": "a plain field"}, files={"file": (name, content, type_)})


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("send", [put, post], ids=["alone", "as a part of a form"])
@pytest.mark.parametrize(
    ("content", "name", "type_", "rule", "clause"),
    [
        pytest.param(EICAR, "eicar.txt", "text/plain", "infected", "infince.content.harmful", id="eicar"),
        pytest.param(
            zipped("eicar.txt", EICAR), "a.zip", "application/zip", "infected", "cimcon.content.malicious", id="zip"
        ),
        pytest.param(
            zipped("eicar.txt", EICAR, 2),
            "a.zip",
            "application/zip",
            "infected",
            "infince.security.corrupt_files",
            id="zip in zip",
        ),
        pytest.param(
            PROGRAM,
            "cat.png",
            "image/png",
            "mismatched_type",
            "infince.security.corrupt_files",
            id="program as picture",
        ),
        pytest.param(
            PICTURE[:-2000], "cat.png", "image/png", "corrupt", "infince.security.corrupt_files", id="half a picture"
        ),
    ],
)
def test_a_dangerous_file_is_refused_and_the_application_receives_no_byte(
    site: Site,
    customer: httpx.Client,
    send: Callable[[httpx.Client, bytes, str, str], httpx.Response],
    content: bytes,
    name: str,
    type_: str,
    rule: str,
    clause: str,
) -> None:
    before = site.received()
    refused = send(customer, content, name, type_)
    assert (refused.status_code, refused.json()["type"]) == (422, f"urn:aupgate:rule:uploads.{rule}")
    assert clause in {cited["id"] for cited in refused.json()["clauses"]}
    assert name in refused.json()["detail"]
    assert site.received() == before


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("/api/items", "application/json"),
        ("/messages", "application/json"),
        ("/login", "application/x-www-form-urlencoded"),
    ],
)
def test_a_virus_is_refused_where_no_file_is_expected(site: Site, browser: httpx.Client, path: str, type_: str) -> None:
    before = site.received()
    fields = {"Content-Type": type_, "Accept": "application/json"}
    refused = browser.post(path, content=EICAR, headers=fields)
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:aupgate:rule:uploads.infected")
    assert site.received() == before


def test_a_body_that_says_it_is_too_large_is_refused_before_a_byte_of_it_is_read(site: Site) -> None:
    before = site.received()
    fields = CURL | new_key() | {"Content-Type": "text/plain", "Content-Length": str(TOO_LARGE)}
    with connect(site) as connection:
        connection.sendall(request_head("/uploads/large.txt", fields, "PUT"))
        refused = HTTPResponse(connection)
        refused.begin()
        assert (refused.status, b"uploads.too_large" in refused.read()) == (413, True)
    assert site.received() == before


def test_who_asks_first_whether_to_send_26_mib_is_not_asked_to(site: Site) -> None:
    fields = CURL | new_key() | {"Content-Length": str(TOO_LARGE), "Expect": "100-continue"}
    with connect(site) as connection:
        connection.sendall(request_head("/uploads/large.txt", fields, "PUT"))
        assert connection.recv(64).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_turns_out_too_large_is_refused(site: Site, customer: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        yield from [bytes(MIB)] * (TOO_LARGE // MIB)

    before = site.received()
    refused = customer.put("/uploads/large.bin", content=pieces())
    assert (refused.status_code, refused.json()["type"]) == (413, "urn:aupgate:rule:uploads.too_large")
    assert {"infince.network.flooding", "cimcon.disruption.overload"} == {
        clause["id"] for clause in refused.json()["clauses"]
    }
    assert site.received() == before


def test_a_client_that_sends_on_regardless_gets_to_read_why_it_was_refused(customer: httpx.Client) -> None:
    assert put(customer, bytes(TOO_LARGE), "large.bin").status_code == 413


# --- what passes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("send", [put, post], ids=["alone", "as a part of a form"])
@pytest.mark.parametrize(
    ("content", "name", "type_"),
    [
        pytest.param(PICTURE, "holiday.png", "image/png", id="a picture"),
        pytest.param("Übergrößen\r\n--\r\n".encode(), "notes.txt", "text/plain", id="text"),
        pytest.param(zipped("notes.txt", b"hello" * 1000), "notes.zip", "application/zip", id="a zip"),
        pytest.param(bytes(range(256)) * 4096, "data.bin", "application/octet-stream", id="bytes"),
    ],
)
def test_a_harmless_file_is_stored_as_it_was_sent(
    customer: httpx.Client,
    send: Callable[[httpx.Client, bytes, str, str], httpx.Response],
    content: bytes,
    name: str,
    type_: str,
) -> None:
    stored = send(customer, content, name, type_)
    assert stored.status_code == 201
    assert (stored.json()["sha256"], stored.json()["type"]) == (hashlib.sha256(content).hexdigest(), type_)
    assert stored.json()["name"] == name
    assert customer.get(f"/uploads/{stored.json()['id']}").content == content
