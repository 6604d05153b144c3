"""Responses that two readers could understand in two ways, or that are no HTTP/1.1: each is to be answered with 502."""

import pytest

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

HOSTILE = [
    pytest.param(
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False, id="length and coding"
    ),
    pytest.param(
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", False, id="coding and length"
    ),
    pytest.param(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", False, id="two lengths"),
    pytest.param(OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", False, id="one length twice"),
    pytest.param(OK + b"Content-Length: 5, 5\r\n\r\nhello", False, id="list of lengths"),
    pytest.param(OK + b"Content-Length: -5\r\n\r\nhello", False, id="negative length"),
    pytest.param(OK + b"Content-Length: 99999999999999999999999\r\n\r\nhello", False, id="length beyond 64 bits"),
    pytest.param(OK + b"Content-Length: +5\r\n\r\nhello", False, id="length with a sign"),
    pytest.param(OK + b"Content-Length: 0x5\r\n\r\nhello", False, id="length in hexadecimal"),
    pytest.param(OK + b"Content-Length: 1 0\r\n\r\nhello", False, id="length with a gap"),
    pytest.param(OK + b"Content-Length:\r\n\r\nhello", False, id="empty length"),
    pytest.param(OK + b"Content-Length: 5\r\nCONTENT-LENGTH: 6\r\n\r\nhello!", False, id="two lengths, two cases"),
    pytest.param(OK + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n", False, id="empty coding"),
    pytest.param(OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", False, id="almost chunked"),
    pytest.param(OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", False, id="chunked behind a tab"),
    pytest.param(OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", False, id="chunked in chunked"),
    pytest.param(OK + b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", False, id="coding with a parameter"),
    pytest.param(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", False, id="coding not understood"),
    pytest.param(OK + b"Transfer-Encoding: identity\r\n\r\nhello", True, id="identity coding"),
    pytest.param(
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False, id="coded twice"
    ),
    pytest.param(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False, id="coding in HTTP/1.0"),
    pytest.param(CHUNKED + b"zz\r\nhi\r\n0\r\n\r\n", False, id="chunk size is no number"),
    pytest.param(CHUNKED + b"2\r\nhiXX0\r\n\r\n", False, id="chunk longer than its size"),
    pytest.param(CHUNKED + b"2\nhi\r\n0\r\n\r\n", False, id="chunk size ends with LF"),
    pytest.param(CHUNKED + b"+2\r\nhi\r\n0\r\n\r\n", False, id="chunk size with a sign"),
    pytest.param(CHUNKED + b"0x2\r\nhi\r\n0\r\n\r\n", False, id="chunk size with a prefix"),
    pytest.param(CHUNKED + b"2 \r\nhi\r\n0\r\n\r\n", False, id="chunk size with a space"),
    pytest.param(CHUNKED + b"\r\nhi\r\n0\r\n\r\n", False, id="no chunk size"),
    pytest.param(CHUNKED + b"2;a\nhi\r\n0\r\n\r\n", False, id="chunk extension ends with LF"),
    pytest.param(CHUNKED + b"2;a\rb\r\nhi\r\n0\r\n\r\n", False, id="CR in a chunk extension"),
    pytest.param(CHUNKED + b"2\r\nhi\n0\r\n\r\n", False, id="chunk ends with LF"),
    pytest.param(CHUNKED + b"2\r\nhi0\r\n\r\n", False, id="chunk has no end"),
    pytest.param(CHUNKED + b"2\r\nhi\r\n0\n\n", False, id="last chunk ends with LF"),
    pytest.param(CHUNKED + b"2\r\nhi\r\n0\r\nA b\r\n\r\n", False, id="trailer is no field"),
    pytest.param(CHUNKED + b"fffffffffffffffff\r\nhi\r\n0\r\n\r\n", False, id="chunk size beyond 64 bits"),
    pytest.param(CHUNKED + b"2\r\nhi\r\n0\r\nContent-Length: 2\r\n\r\n", False, id="length in a trailer"),
    pytest.param(CHUNKED + b"2\r\nhi\r\n", True, id="ends before the last chunk"),
    pytest.param(CHUNKED + b"5\r\nhi", True, id="ends inside a chunk"),
    pytest.param(OK + b"Content-Length: 9\r\n\r\nhello", True, id="ends inside a counted body"),
    pytest.param(OK + b"Content-Le", True, id="ends inside the head"),
    pytest.param(OK + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n", False, id="folded field"),
    pytest.param(OK + b"A: b\nContent-Length: 0\r\n\r\n", False, id="field ends with LF"),
    pytest.param(OK + b"A : b\r\nContent-Length: 0\r\n\r\n", False, id="space before the colon"),
    pytest.param(OK + b"A: b\0c\r\nContent-Length: 0\r\n\r\n", False, id="NUL in a field"),
    pytest.param(OK + b"A: b\rc\r\nContent-Length: 0\r\n\r\n", False, id="CR in a field"),
    pytest.param(OK + b"A b\r\nContent-Length: 0\r\n\r\n", False, id="field without a colon"),
    pytest.param(OK + b": b\r\nContent-Length: 0\r\n\r\n", False, id="field without a name"),
    pytest.param(OK + b" A: b\r\nContent-Length: 0\r\n\r\n", False, id="space before the first field"),
    pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", False, id="status line ends with LF"),
    pytest.param(b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", False, id="two spaces before the status"),
    pytest.param(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", False, id="status of four digits"),
    pytest.param(b"HTTP/1.1 100 C\r\nContent-Length: 2\r\n\r\nhi" + OK + b"\r\n", False, id="100 with a body"),
    pytest.param(b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", False, id="another version"),
    pytest.param(b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n", False, id="status 999"),
    pytest.param(b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n", False, id="status 99"),
    pytest.param(
        b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nx", False, id="switches protocols unasked"
    ),
    pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", False, id="no HTTP at all"),
]
"""Each with whether the upstream closes the connection behind it."""
