"""The framing of requests and responses as pure functions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.proxy.errors import UpstreamProtocolError
from aupgate.proxy.framing import CHUNKED, BodyEnd, body_end, encode_chunk, encode_head


@pytest.mark.parametrize(
    ("headers", "length", "expected"),
    [
        pytest.param([(b"host", b"a")], None, b"GET /x?y HTTP/1.1\r\nhost: a\r\n\r\n", id="no body"),
        pytest.param(
            [(b"host", b"a")], 0, b"GET /x?y HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", id="an empty body"
        ),
        pytest.param(
            [(b"host", b"a"), (b"b", b"1"), (b"b", b"2")],
            CHUNKED,
            b"GET /x?y HTTP/1.1\r\nhost: a\r\nb: 1\r\nb: 2\r\ntransfer-encoding: chunked\r\n\r\n",
            id="order and duplicates are kept",
        ),
        pytest.param([(b"b", b"")], None, b"GET /x?y HTTP/1.1\r\nhost: up\r\nb: \r\n\r\n", id="host is supplied"),
    ],
)
def test_a_head_is_written_as_it_was_given(
    headers: list[tuple[bytes, bytes]], length: int | None, expected: bytes
) -> None:
    assert encode_head(b"GET", b"/x?y", headers, b"up", length) == expected


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        pytest.param(b"GET", b"/a b", [], id="space in the target"),
        pytest.param(b"GET", b"/a\r\nx: y", [], id="line break in the target"),
        pytest.param(b"GET", b"", [], id="no target"),
        pytest.param(b"GE T", b"/", [], id="space in the method"),
        pytest.param(b"GET", b"/", [(b"a", b"b\r\nc: d")], id="line break in a value"),
        pytest.param(b"GET", b"/", [(b"a", b"b\nc: d")], id="bare LF in a value"),
        pytest.param(b"GET", b"/", [(b"a", b"b\rc")], id="bare CR in a value"),
        pytest.param(b"GET", b"/", [(b"a\r\nb", b"c")], id="line break in a name"),
        pytest.param(b"GET", b"/", [(b"a", b"b\0c")], id="NUL"),
    ],
)
def test_a_head_that_would_arrive_as_another_is_not_written(
    method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(ValueError, match=r"cannot be sent|line break or NUL"):
        encode_head(method, target, headers, b"up", None)


@given(st.lists(st.tuples(st.from_regex(rb"[a-z-]{1,9}", fullmatch=True), st.binary(max_size=20)), max_size=5))
def test_whatever_the_fields_hold_a_head_has_as_many_lines_as_fields(headers: list[tuple[bytes, bytes]]) -> None:
    try:
        head = encode_head(b"GET", b"/", [(b"host", b"h"), *headers], b"up", None)
    except ValueError:
        return
    assert len(head.split(b"\r\n")) == len(headers) + 4


@given(st.binary(min_size=1, max_size=300))
def test_a_chunk_says_its_length(data: bytes) -> None:
    size, body, end = encode_chunk(data)
    assert (int(size, 16), body, end) == (len(data), data, b"\r\n")


LENGTH = (b"content-length", b"5")
CODING = (b"transfer-encoding", b"chunked")


@pytest.mark.parametrize(
    ("method", "version", "status", "headers", "expected"),
    [
        pytest.param(b"GET", "1.1", 200, [LENGTH], BodyEnd.COUNTED, id="counted"),
        pytest.param(b"GET", "1.1", 200, [CODING], BodyEnd.LAST_CHUNK, id="chunked"),
        pytest.param(
            b"GET", "1.1", 200, [(b"transfer-encoding", b"Chunked")], BodyEnd.LAST_CHUNK, id="chunked in any case"
        ),
        pytest.param(b"GET", "1.1", 200, [], BodyEnd.AT_EOF, id="neither"),
        pytest.param(b"GET", "1.0", 200, [], BodyEnd.AT_EOF, id="HTTP/1.0"),
        pytest.param(b"HEAD", "1.1", 200, [LENGTH], BodyEnd.AT_HEAD, id="HEAD"),
        pytest.param(b"HEAD", "1.1", 200, [CODING], BodyEnd.AT_HEAD, id="HEAD, chunked"),
        pytest.param(b"GET", "1.1", 204, [], BodyEnd.AT_HEAD, id="204"),
        pytest.param(b"GET", "1.1", 304, [LENGTH], BodyEnd.AT_HEAD, id="304"),
    ],
)
def test_the_end_of_a_body_follows_from_its_head(
    method: bytes, version: str, status: int, headers: list[tuple[bytes, bytes]], expected: BodyEnd
) -> None:
    assert body_end(method, version, status, headers) is expected


@pytest.mark.parametrize(
    ("version", "status", "headers"),
    [
        pytest.param("1.1", 200, [LENGTH, CODING], id="length and coding"),
        pytest.param("1.1", 200, [CODING, LENGTH], id="coding and length"),
        pytest.param("1.1", 200, [LENGTH, LENGTH], id="one length twice"),
        pytest.param("1.1", 200, [LENGTH, (b"content-length", b"6")], id="two lengths"),
        pytest.param("1.1", 200, [(b"content-length", b"5, 5")], id="a list of lengths"),
        pytest.param("1.1", 200, [(b"content-length", b"+5")], id="a signed length"),
        pytest.param("1.1", 200, [(b"content-length", b"")], id="an empty length"),
        pytest.param("1.1", 200, [CODING, CODING], id="coded twice"),
        pytest.param("1.1", 200, [(b"transfer-encoding", b"gzip, chunked")], id="another coding"),
        pytest.param("1.1", 200, [(b"transfer-encoding", b"identity")], id="identity"),
        pytest.param("1.0", 200, [CODING], id="coding in HTTP/1.0"),
        pytest.param("2.0", 200, [LENGTH], id="HTTP/2.0"),
        pytest.param("0.9", 200, [LENGTH], id="HTTP/0.9"),
        pytest.param("1.1", 99, [LENGTH], id="status 99"),
        pytest.param("1.1", 600, [LENGTH], id="status 600"),
    ],
)
def test_framing_that_can_be_read_in_two_ways_is_refused(
    version: str, status: int, headers: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(UpstreamProtocolError):
        body_end(b"GET", version, status, headers)
