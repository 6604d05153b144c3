"""The head of a response: its framing, its date, and no field that would not arrive as what it is."""

import re

import pytest

from aupgate.model import Header
from aupgate.proxy.head import UNKNOWN, encode_piece, encode_response

DATE: Header = (b"date", b"now")


def encoded(
    *headers: Header, method: bytes = b"GET", status: int = 200, keep_alive: bool = True
) -> tuple[bytes, int, bool]:
    return encode_response(method, status, [DATE, *headers], keep_alive=keep_alive)


def test_a_head_is_status_and_fields_in_order_and_lower_case() -> None:
    assert encoded((b"Content-Length", b"5"), (b"B", b"c"), (b"a", b"")) == (
        b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 5\r\nb: c\r\na: \r\n\r\n", 5, True,
    )  # fmt: skip


def test_a_head_without_a_date_gets_one() -> None:
    head, _, _ = encode_response(b"GET", 200, [(b"content-length", b"0")], keep_alive=True)
    assert re.search(rb"\r\ndate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", head)


@pytest.mark.parametrize(
    ("method", "status", "headers", "length", "chunked"),
    [
        pytest.param(b"GET", 200, [], UNKNOWN, True, id="unknown"),
        pytest.param(b"GET", 200, [(b"content-length", b"7")], 7, False, id="counted"),
        pytest.param(b"HEAD", 200, [(b"content-length", b"7")], 0, False, id="HEAD"),
        pytest.param(b"HEAD", 200, [], 0, False, id="HEAD without a length"),
        pytest.param(b"GET", 204, [], 0, False, id="204"),
        pytest.param(b"GET", 304, [], 0, False, id="304"),
    ],
)
def test_the_framing_follows_from_method_status_and_length(
    method: bytes, status: int, headers: list[Header], length: int, chunked: bool
) -> None:
    head, found, _ = encoded(*headers, method=method, status=status)
    assert found == length
    assert (b"\r\ntransfer-encoding: chunked\r\n" in head) == chunked


@pytest.mark.parametrize(
    ("keep_alive", "headers", "kept", "said"),
    [
        pytest.param(True, [], True, 0, id="kept"),
        pytest.param(False, [], False, 1, id="not kept"),
        pytest.param(True, [(b"connection", b"a, Close")], False, 1, id="a field closes"),
        pytest.param(False, [(b"connection", b"close")], False, 1, id="a field says it already"),
        pytest.param(True, [(b"connection", b"a")], True, 0, id="a field says something else"),
    ],
)
def test_a_connection_that_closes_is_said_to(keep_alive: bool, headers: list[Header], kept: bool, said: int) -> None:
    head, _, found = encoded(*headers, keep_alive=keep_alive)
    assert found == kept
    assert head.lower().count(b"close") == said


@pytest.mark.parametrize("octet", [*range(9), *range(10, 32), 127])
def test_no_control_character_gets_into_a_field(octet: int) -> None:
    with pytest.raises(ValueError, match="control character"):
        encoded((b"a", b"b%cc" % octet))


@pytest.mark.parametrize("text", [b"\r\nx: y", b"a\r\n\r\nb", b"\n", b"\r"])
def test_no_field_ends_the_head_or_adds_another(text: bytes) -> None:
    with pytest.raises(ValueError, match="control character"):
        encoded((b"a", text))


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\nb", b"(a)", b"\xe4"])
def test_a_name_that_is_no_token_is_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="header field"):
        encoded((name, b"c"))


def test_tabs_and_octets_beyond_ascii_may_be_in_a_value() -> None:
    assert b"\r\na: b\t\xe4\r\n" in encoded((b"a", b"b\t\xe4"))[0]


@pytest.mark.parametrize("length", [b"", b"-1", b"1, 1", b"0x1"])
def test_a_length_that_is_none_is_refused(length: bytes) -> None:
    with pytest.raises(ValueError, match="no length"):
        encoded((b"content-length", length))


def test_a_status_without_a_name_has_none() -> None:
    assert encoded(status=599)[0].startswith(b"HTTP/1.1 599 \r\n")


@pytest.mark.parametrize(
    ("body", "length", "last", "sent"),
    [
        (b"abc", 3, True, b"abc"),
        (b"abc", UNKNOWN, False, b"3\r\nabc\r\n"),
        (b"abc", UNKNOWN, True, b"3\r\nabc\r\n0\r\n\r\n"),
        (b"", UNKNOWN, False, b""),
        (b"", UNKNOWN, True, b"0\r\n\r\n"),
    ],
)
def test_a_piece_is_framed_as_its_head_says(body: bytes, length: int, last: bool, sent: bytes) -> None:
    assert encode_piece(body, length, last=last) == sent
