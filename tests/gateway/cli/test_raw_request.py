import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from aupgate.cli.raw_request import RawRequest, parse

HEAD = b"POST /items?a=1 HTTP/1.1\nHost: app.example\nX-Twice: a\nX-Twice:\tb \n"


def with_ends(raw: bytes, end: bytes) -> bytes:
    return raw.replace(b"\n", end)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_the_parts_of_a_request_are_read_with_either_line_end(end: bytes) -> None:
    found = parse(with_ends(HEAD, end) + b"Content-Length: 4" + end + end + b"a\r\nb")

    assert found == RawRequest(
        "POST",
        b"/items?a=1",
        "1.1",
        [(b"host", b"app.example"), (b"x-twice", b"a"), (b"x-twice", b"b"), (b"content-length", b"4")],
        b"a\r\nb",
    )


@pytest.mark.parametrize(
    "end",
    [pytest.param(b"", id="nothing"), pytest.param(b"\n", id="one line end"), pytest.param(b"\n\n\n", id="three")],
)
def test_a_request_without_body_may_end_as_an_editor_ends_it(end: bytes) -> None:
    found = parse(HEAD.rstrip(b"\n") + end)

    assert (found.headers[-1], found.body, found.note) == ((b"x-twice", b"b"), b"", "")


def test_line_ends_before_the_request_line_are_skipped() -> None:
    assert parse(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n").method == "GET"


def test_the_blank_lines_of_a_multipart_body_do_not_end_the_head() -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b--\r\n'
    raw = b"POST / HTTP/1.1\nHost: a\nContent-Length: %d\n\n" % len(body) + body

    assert parse(raw).body == body


@pytest.mark.parametrize(
    ("line", "version"),
    [
        pytest.param(b"GET / HTTP/1.0", "1.0", id="HTTP/1.0"),
        pytest.param(b"GET / HTTP/1.1", "1.1", id="HTTP/1.1"),
        pytest.param(b"GET / HTTP/2", "2", id="HTTP/2"),
        pytest.param(b"GET / HTTP/2.0", "2", id="HTTP/2.0"),
        pytest.param(b"GET / HTTP/3", "3", id="HTTP/3"),
    ],
)
def test_versions_are_called_as_servers_call_them(line: bytes, version: str) -> None:
    assert parse(line + b"\nHost: a\n\n").http_version == version


@pytest.mark.parametrize(
    ("field", "header"),
    [
        pytest.param(b"Host : a", (b"host ", b"a"), id="a blank before the colon"),
        pytest.param(b" folded", (b" folded", b""), id="a folded line"),
        pytest.param(b"X: a\rb", (b"x", b"a\rb"), id="a bare CR"),
        pytest.param(b"X: \x00\xff", (b"x", b"\x00\xff"), id="octets that no field may have"),
        pytest.param(b": a", (b"", b"a"), id="no name"),
        pytest.param(b"X:", (b"x", b""), id="no value"),
    ],
)
def test_what_is_wrong_with_a_field_is_left_for_the_policies(field: bytes, header: tuple[bytes, bytes]) -> None:
    assert parse(b"GET / HTTP/1.1\r\n" + field + b"\r\n\r\n").headers == [header]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        pytest.param(b"", "the request is empty", id="nothing"),
        pytest.param(b"\r\n\r\n", "the request is empty", id="line ends alone"),
        pytest.param(b"GET /\r\n\r\n", '"GET /" is no request line', id="no version"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", '"GET / HTTP/9.9" is no request line', id="an unknown version"),
        pytest.param(b"GET  / HTTP/1.1\r\n\r\n", "is no request line", id="two blanks"),
        pytest.param(b" / HTTP/1.1\r\n\r\n", "is no request line", id="no method"),
        pytest.param(b'{"log": {}}', '"{"log": {}}" is no request line', id="another kind of file"),
        pytest.param(b"\x16\x03\x01\x00", '"\\x16\\x03\\x01\\x00" is no request line', id="binary"),
        pytest.param(b"A" * 100, f'"{"A" * 60}…" is no request line', id="a long line"),
        pytest.param(
            b"GET / HTTP/1.1\nHost: a\nFoo\n\n", 'line 3, "Foo", is no header field', id="a field without colon"
        ),
    ],
)
def test_what_is_no_request_is_refused_with_what_is_there(raw: bytes, said: str) -> None:
    with pytest.raises(typer.BadParameter) as raised:
        parse(raw)

    assert said in raised.value.message
    assert ": expected " in raised.value.message


@pytest.mark.parametrize(
    ("fields", "rest", "body", "note"),
    [
        pytest.param(b"Content-Length: 3\n", b"abc", b"abc", "", id="as long as it says"),
        pytest.param(b"Content-Length: 3\n", b"abc\n", b"abc", "", id="an editor's line end behind it"),
        pytest.param(b"Content-Length: 3\n", b"abcde", b"abc", "the last 2 bytes are no part of the body", id="longer"),
        pytest.param(b"Content-Length: 5\n", b"abc", b"abc", "the body has 3 bytes", id="shorter"),
        pytest.param(b"Content-Length: x\n", b"abc", b"abc", "", id="no number"),
        pytest.param(b"Transfer-Encoding: chunked\n", b"abc\n", b"abc\n", "as it is", id="chunked"),
        pytest.param(b"Transfer-Encoding: chunked\n", b"", b"", "", id="chunked, without body"),
        pytest.param(b"", b"abc", b"", "is no body", id="unannounced"),
    ],
)
def test_the_body_goes_as_far_as_the_head_says(fields: bytes, rest: bytes, body: bytes, note: str) -> None:
    found = parse(b"POST / HTTP/1.1\nHost: a\n" + fields + b"\n" + rest)

    assert found.body == body
    assert note in found.note
    assert bool(note) == bool(found.note)


def test_in_http_2_a_body_needs_no_announcement() -> None:
    found = parse(b"POST / HTTP/2\nHost: a\n\nabc")

    assert (found.body, found.note) == (b"abc", "")


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        pytest.param(b"GET / HTTP/1.1\nConnection: Upgrade\nUpgrade: websocket\n\n", "websocket", id="as browsers ask"),
        pytest.param(b"GET / HTTP/1.1\nConnection: a, upgrade\nUpgrade: WebSocket\n\n", "websocket", id="among others"),
        pytest.param(b"GET / HTTP/1.1\nUpgrade: websocket\n\n", "http", id="without Connection"),
        pytest.param(b"GET / HTTP/1.1\nConnection: upgrade\nUpgrade: h2c\n\n", "http", id="another protocol"),
        pytest.param(b"POST / HTTP/1.1\nConnection: upgrade\nUpgrade: websocket\n\n", "http", id="another method"),
        pytest.param(b"GET / HTTP/1.0\nConnection: upgrade\nUpgrade: websocket\n\n", "http", id="HTTP/1.0"),
    ],
)
def test_a_request_that_asks_for_a_websocket_is_one(raw: bytes, kind: str) -> None:
    assert parse(raw).kind == kind


def outcome(raw: bytes) -> str:
    try:
        return parse(raw).method
    except typer.BadParameter as error:
        return error.message


@given(st.binary(max_size=200) | st.builds(b"GET / HTTP/1.1\n".__add__, st.binary(max_size=200)))
def test_any_bytes_are_a_request_or_refused_in_words(raw: bytes) -> None:
    assert outcome(raw)
