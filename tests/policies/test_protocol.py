"""`protocol`: what two servers could read differently is refused, and what people's clients send passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aupgate.model import Action, Finding, Request
from aupgate.policies.protocol import Protocol, Settings
from tests.gateway.scripted import a_request

Headers = list[tuple[bytes, bytes]]

HOST = (b"host", b"app.example")
CHUNKED = (b"transfer-encoding", b"chunked")
PROTOCOL = Protocol(Settings())


def found(request: Request) -> list[tuple[str, int]]:
    return [(finding.rule.removeprefix("protocol."), finding.status) for finding in PROTOCOL.on_request(request)]


def with_fields(*headers: tuple[bytes, bytes], version: str = "1.1") -> Request:
    return a_request(method="POST", headers=[HOST, *headers], http_version=version)


BROWSER: Headers = [
    HOST,
    (b"connection", b"keep-alive"),
    (b"sec-ch-ua", b'"Chromium";v="128", "Not;A=Brand";v="24"'),
    (b"sec-ch-ua-platform", b'"Linux"'),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"cookie", b"session=abc; theme=dark"),
]

PASSES = {
    "a browser's request": a_request(headers=BROWSER, target=b"/items?page=2"),
    "header names in any case": a_request(headers=[(b"Host", b"app.example"), (b"Content-Length", b"5")]),
    "a body of known length": with_fields((b"content-length", b"5")),
    "an empty body": with_fields((b"content-length", b"0")),
    "a chunked body": with_fields(CHUNKED),
    "a chunked body in capitals": with_fields((b"transfer-encoding", b"Chunked")),
    "a tab in a value": with_fields((b"x-note", b"a\tb")),
    "an empty value": with_fields((b"x-note", b"")),
    "UTF-8 in a value": with_fields((b"x-file-name", "résumé.pdf".encode())),
    "odd but valid names": with_fields((b"x_custom.name", b"1"), (b"!#$%&'*+-.^_`|~", b"1")),
    "several cookies": with_fields((b"cookie", b"a=1"), (b"cookie", b"b=2")),
    "a name beside a framing field": with_fields((b"x-content-length", b"5"), (b"content-length-hint", b"7")),
    "the longest head": with_fields(*((b"x-n-%d" % number, b"v") for number in range(99))),
    "no Host in HTTP/1.0": a_request(headers=[], http_version="1.0"),
    "HTTP/2 with a Host from :authority": a_request(headers=[HOST], http_version="2"),
    "HTTP/2 with the same Host twice": a_request(headers=[HOST, HOST], http_version="2"),
    "HTTP/2 without any": a_request(headers=[], http_version="2"),
    "HTTP/2 with a body": a_request(method="POST", headers=[HOST, (b"content-length", b"5")], http_version="2"),
    "HTTP/3": a_request(headers=[HOST], http_version="3"),
    "a new method": a_request(method="QUERY"),
    "WebDAV": a_request(method="VERSION-CONTROL"),
    "a preflight of the whole server": a_request(method="OPTIONS", target=b"*"),
    "a websocket": a_request(kind="websocket", headers=[HOST, (b"upgrade", b"websocket")], scheme="wss"),
}
HOSTS_THAT_PASS = [
    b"app.example", b"APP.EXAMPLE", b"app.example:8080", b"app.example.", b"localhost", b"127.0.0.1:8000", b"[::1]",
    b"[2001:db8::1]:443", b"my_app:8000", b"xn--caf-dma.example", b"app.example:",
]  # fmt: skip
REFUSED_HOSTS = [
    b"", b" ", b"a b", b"app.example, other.example", b"user@app.example", b"app.example/path", b"app.example:80:80",
    b"app.example:port", b"app.example:123456", b"[::1", b"::1", b"[::1]x", b"caf\xc3\xa9.example", b"a%2eb", b"-a",
    b"http://app.example", b"app.example#", b"app.example?", b"a" * 300,
]  # fmt: skip

REFUSED = [
    ("both lengths", with_fields((b"content-length", b"5"), CHUNKED), "framing"),
    ("two lengths", with_fields((b"content-length", b"5"), (b"content-length", b"6")), "framing"),
    ("the same length twice", with_fields((b"content-length", b"5"), (b"Content-Length", b"5")), "framing"),
    ("a list of lengths", with_fields((b"content-length", b"5, 5")), "framing"),
    ("a signed length", with_fields((b"content-length", b"+5")), "framing"),
    ("a negative length", with_fields((b"content-length", b"-5")), "framing"),
    ("a hexadecimal length", with_fields((b"content-length", b"0x5")), "framing"),
    ("an empty length", with_fields((b"content-length", b"")), "framing"),
    ("a length with a space", with_fields((b"content-length", b"5 ")), "framing"),
    ("a length in other digits", with_fields((b"content-length", "\N{ARABIC-INDIC DIGIT FIVE}".encode())), "framing"),
    ("a length beyond 64 bits", with_fields((b"content-length", b"9" * 30)), "framing"),
    ("chunked twice", with_fields(CHUNKED, CHUNKED), "framing"),
    ("chunked and more", with_fields((b"transfer-encoding", b"gzip, chunked")), "framing"),
    ("identity", with_fields((b"transfer-encoding", b"identity")), "framing"),
    ("chunked in quotes", with_fields((b"transfer-encoding", b'"chunked"')), "framing"),
    ("nearly chunked", with_fields((b"transfer-encoding", b"xchunked")), "framing"),
    ("a space before chunked", with_fields((b"transfer-encoding", b" chunked")), "framing"),
    ("an empty coding", with_fields((b"transfer-encoding", b"")), "framing"),
    ("chunked in HTTP/1.0", with_fields(CHUNKED, version="1.0"), "framing"),
    ("chunked in HTTP/2", with_fields(CHUNKED, version="2"), "framing"),
    ("a coding under an alias", with_fields((b"transfer_encoding", b"chunked")), "framing"),
    ("a length under an alias", with_fields((b"Content_Length", b"5")), "framing"),
    ("a type under an alias", with_fields((b"Content_Type", b"application/json")), "framing"),
    ("a content coding under an alias", with_fields((b"Content_Encoding", b"gzip")), "framing"),
    ("a carriage return in a value", with_fields((b"x-note", b"a\rb")), "syntax"),
    ("a line feed in a value", with_fields((b"x-note", b"a\nb")), "syntax"),
    ("a folded value", with_fields((b"x-note", b"a\r\n b")), "syntax"),
    ("a NUL in a value", with_fields((b"x-note", b"a\x00b")), "syntax"),
    ("an escape in a value", with_fields((b"x-note", b"\x1b[2J")), "syntax"),
    ("a DEL in a value", with_fields((b"x-note", b"\x7f")), "syntax"),
    ("an empty name", with_fields((b"", b"v")), "syntax"),
    ("a space after a name", with_fields((b"x-note ", b"v")), "syntax"),
    ("a space before a name", with_fields((b" x-note", b"v")), "syntax"),
    ("a space in a name", with_fields((b"x note", b"v")), "syntax"),
    ("a colon in a name", with_fields((b"x:note", b"v")), "syntax"),
    ("a slash in a name", with_fields((b"x/note", b"v")), "syntax"),
    ("a letter beyond ASCII in a name", with_fields((b"x-n\xf6te", b"v")), "syntax"),
    ("no Host", a_request(headers=[]), "host"),
    ("two Hosts", with_fields((b"host", b"other.example")), "host"),
    ("the same Host twice", with_fields((b"Host", b"app.example")), "host"),
    ("two Hosts in HTTP/1.0", with_fields((b"host", b"other.example"), version="1.0"), "host"),
    ("two Hosts in HTTP/2", with_fields((b"host", b"other.example"), version="2"), "host"),
    ("an expectation that nobody meets", with_fields((b"expect", b"200-maybe")), "expectation"),
    ("a space in the method", a_request(method="GE T"), "method"),
    ("an empty method", a_request(method=""), "method"),
    ("a method beyond ASCII", a_request(method="GÉT"), "method"),
    ("a line in the method", a_request(method="GET\r\n"), "method"),
    ("a fragment", a_request(target=b"/a#b"), "target"),
    ("dot segments", a_request(target=b"/a/../internal"), "target"),
    ("an encoded NUL", a_request(target=b"/a%00"), "target"),
    ("a raw octet", a_request(target=b"/\xff"), "target"),
]


@pytest.mark.parametrize("request_", PASSES.values(), ids=PASSES)
def test_a_request_with_one_reading_passes(request_: Request) -> None:
    assert found(request_) == []


@pytest.mark.parametrize(("request_", "rule"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_an_ambiguous_or_malformed_request_is_refused(request_: Request, rule: str) -> None:
    assert (rule, 417 if rule == "expectation" else 400) in found(request_)
    assert {refusal.action for refusal in PROTOCOL.on_request(request_)} == {Action.REFUSE}


@pytest.mark.parametrize("host", HOSTS_THAT_PASS)
def test_a_well_formed_host_passes(host: bytes) -> None:
    assert found(a_request(headers=[(b"host", host)])) == []


@pytest.mark.parametrize("host", REFUSED_HOSTS)
def test_a_malformed_host_is_refused(host: bytes) -> None:
    assert found(a_request(headers=[(b"host", host)])) == [("host", 400)]


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "trace"])
def test_a_request_is_not_echoed(method: str) -> None:
    (refusal,) = PROTOCOL.on_request(a_request(method=method))
    assert (refusal.rule, refusal.status) == ("protocol.method", 405)
    assert dict(refusal.headers)[b"allow"] == b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


def test_connect_and_absolute_form_are_left_to_interfaces() -> None:
    assert found(a_request(method="CONNECT", target=b"db.example:5432")) == []
    assert found(a_request(target=b"http://other.example/")) == []


@pytest.mark.parametrize(
    "headers",
    [
        [HOST, *((b"x-n-%d" % number, b"v") for number in range(100))],
        [HOST, (b"cookie", b"c" * 65536)],
        [HOST, (b"x" * 65536, b"v")],
        [HOST, *((b"x-n", b"v" * 4096) for _ in range(16))],
    ],
    ids=["too many", "a large value", "a large name", "large together"],
)
def test_a_head_that_is_too_large_is_refused(headers: Headers) -> None:
    assert found(a_request(headers=headers)) == [("header_size", 431)]


def test_the_bounds_are_settings() -> None:
    strict = Protocol(Settings.model_validate({"max_headers": 2, "max_header_size": "64 B"}))
    assert list(strict.on_request(a_request(headers=[HOST, (b"a", b"b")]))) == []
    for headers in ([HOST, (b"a", b"b"), (b"c", b"d")], [HOST, (b"a", b"b" * 64)]):
        assert [each.rule for each in strict.on_request(a_request(headers=headers))] == ["protocol.header_size"]
    with pytest.raises(ValidationError):
        Settings(max_headers=0)


def test_all_that_is_wrong_is_found_so_that_no_finding_hides_another() -> None:
    request = a_request(
        method="TRACE",
        target=b"/a/../b",
        headers=[(b"x note", b"\x00"), CHUNKED, (b"content-length", b"5"), (b"cookie", b"c" * 65536)],
    )
    assert {rule for rule, _ in found(request)} == {"syntax", "host", "framing", "method", "target", "header_size"}


def test_what_is_found_is_a_rule_that_was_declared() -> None:
    declared = {rule.name for rule in PROTOCOL.rules}
    assert declared == {f"protocol.{rule}" for _, _, rule in REFUSED} | {
        f"protocol.{rule}" for rule in ("header_size", "ambiguous_path", "slow", "pipelining")
    }


def evidence(request: Request) -> Finding:
    (finding,) = PROTOCOL.on_request(request)
    return finding


def test_evidence_is_short_and_holds_no_query() -> None:
    finding = evidence(a_request(target=b"/../" + b"a" * 5000 + b"?token=secret"))
    assert "secret" not in repr(finding.evidence)
    assert len(repr(finding.evidence)) < 500
    finding = evidence(with_fields(*[(b"content-length", b"9" * 5000)] * 10))
    assert len(repr(finding.evidence)) < 1000


@given(
    st.lists(st.tuples(st.binary(), st.binary())),
    st.text(),
    st.binary(),
    st.sampled_from(["1.0", "1.1", "2", "3", ""]),
)
def test_any_head_is_judged(headers: Headers, method: str, target: bytes, version: str) -> None:
    declared = {rule.name for rule in PROTOCOL.rules}
    request = a_request(headers=headers, method=method, target=target, http_version=version)
    assert {finding.rule for finding in PROTOCOL.on_request(request)} <= declared
