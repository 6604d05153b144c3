"""Header fields on their way through the proxy."""

from types import SimpleNamespace
from typing import Any

import pytest

from aupgate.proxy.forwarding import (
    Forwarding,
    Style,
    forwarded_value,
    hops_of,
    response_headers,
    target,
)

Fields = list[tuple[bytes, bytes]]


def scope(headers: Fields, **changes: Any) -> dict[str, Any]:
    return {"headers": headers, "scheme": "http", "client": ("203.0.113.9", 1), "http_version": "1.1", **changes}


def forwarded(headers: Fields, **changes: Any) -> Fields:
    return Forwarding().request_headers(scope(headers, **changes))


@pytest.mark.parametrize(
    "name",
    [
        "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
        "proxy-authorization", "proxy-authenticate", "expect", "content-length", "X-Forwarded-For", "x-forwarded-for",
        "x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix", "x_forwarded_for", "x.forwarded.for",
        "x_forwarded-host", "forwarded", "Forwarded", "x-real-ip", "x_real_ip", "x--forwarded--for", "-x-forwarded-for",
        "x-forwarded-for ", "Transfer_Encoding", "content.length", "Connection_", "x-forwarded",
    ],
)  # fmt: skip
def test_a_field_that_ends_at_the_proxy_or_speaks_of_the_client_is_dropped(name: str) -> None:
    assert all(text != b"spoofed" for _, text in forwarded([(b"host", b"a"), (name.encode(), b"spoofed")]))


@pytest.mark.parametrize(
    "name",
    [
        b"host",
        b"cookie",
        b"authorization",
        b"x-request-id",
        b"accept",
        b"x-custom",
        b"via",
        b"date",
        b"x-forward",
        b"x-forwardedfor",
        b"forwarding-note",
        b"upgrade-insecure-requests",
    ],
)
def test_any_other_field_passes_as_it_is_with_its_duplicates(name: bytes) -> None:
    assert forwarded([(name, b"1"), (b"z", b""), (name, b"2")])[:3] == [(name, b"1"), (b"z", b""), (name, b"2")]


def test_a_field_that_connection_names_is_dropped() -> None:
    headers = [
        (b"connection", b"X-Custom , close"),
        (b"x-custom", b"1"),
        (b"x-other", b"2"),
        (b"connection", b"x-third"),
        (b"x-third", b"3"),
    ]
    names = [name for name, _ in forwarded(headers)]
    assert b"x-other" in names
    assert not {b"x-custom", b"x-third", b"connection"} & set(names)


@pytest.mark.parametrize(
    "name", [b"host", b"cookie", b"authorization", b"x-request-id", b"x-api-key", b"content-type", b"user-agent"]
)
def test_what_tells_who_asks_for_what_cannot_be_named_away(name: bytes) -> None:
    assert (name, b"kept") in forwarded([(b"connection", b"close, " + name), (name, b"kept")])


def test_naming_the_forwarding_fields_does_not_keep_the_gateway_from_setting_them() -> None:
    headers = [(b"host", b"a"), (b"connection", b"x-forwarded-for, x-real-ip"), (b"x-forwarded-for", b"spoofed")]
    assert (b"x-forwarded-for", b"203.0.113.9") in forwarded(headers)


@pytest.mark.parametrize("value", [b"keep-alive", b"Keep-Alive", b"close", b"keep-alive, Upgrade", b"TE"])
def test_an_ordinary_connection_field_names_nothing_else(value: bytes) -> None:
    assert (b"x-custom", b"1") in forwarded([(b"connection", value), (b"x-custom", b"1")])


def test_the_client_is_told_from_the_connection() -> None:
    assert forwarded([(b"host", b"shop.example:8443")], scheme="https")[1:] == [
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"x-real-ip", b"203.0.113.9"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"shop.example:8443"),
    ]


def test_the_client_is_told_as_the_gateway_resolved_it() -> None:
    context = SimpleNamespace(client=SimpleNamespace(address="198.51.100.1", hops=("10.0.0.2", "10.0.0.1")))
    fields = dict(forwarded([(b"host", b"a")], aupgate=context))
    assert fields[b"x-forwarded-for"] == b"198.51.100.1, 10.0.0.2, 10.0.0.1"
    assert fields[b"x-real-ip"] == b"198.51.100.1"


@pytest.mark.parametrize("client", [None, ("", 0)])
def test_of_a_client_without_address_no_address_is_told(client: Any) -> None:
    names = [name for name, _ in forwarded([(b"host", b"a")], client=client)]
    assert names == [b"host", b"x-forwarded-proto", b"x-forwarded-host"]
    assert hops_of({"client": client}) == []


@pytest.mark.parametrize(
    ("scheme", "told"), [("http", b"http"), ("ws", b"http"), ("https", b"https"), ("wss", b"https")]
)
def test_a_websocket_is_told_by_the_scheme_of_its_opening_request(scheme: str, told: bytes) -> None:
    assert dict(forwarded([], scheme=scheme))[b"x-forwarded-proto"] == told


@pytest.mark.parametrize(
    ("hops", "host", "expected"),
    [
        pytest.param([b"203.0.113.9"], b"a", b'for=203.0.113.9;proto=https;host="a"', id="IPv4"),
        pytest.param([b"2001:db8::1"], b"", b'for="[2001:db8::1]";proto=https', id="IPv6"),
        pytest.param([b"1.2.3.4", b"10.0.0.1"], b"", b"for=1.2.3.4;proto=https, for=10.0.0.1", id="hops"),
        pytest.param([], b'a"b', b'for=unknown;proto=https;host="a\\"b"', id="quoting"),
    ],
)
def test_forwarded_follows_its_rfc(hops: list[bytes], host: bytes, expected: bytes) -> None:
    assert forwarded_value(hops, b"https", host) == expected


def test_forwarded_and_via_are_sent_where_configured() -> None:
    fields = Forwarding("both", via="gate").request_headers(scope([(b"host", b"a"), (b"via", b"1.0 other")]))
    assert (b"forwarded", b'for=203.0.113.9;proto=http;host="a"') in fields
    assert [text for name, text in fields if name == b"via"] == [b"1.0 other", b"1.1 gate"]


@pytest.mark.parametrize(
    ("style", "names"),
    [
        ("x-forwarded", [b"x-forwarded-for", b"x-real-ip", b"x-forwarded-proto", b"x-forwarded-host"]),
        ("forwarded", [b"forwarded"]),
        ("both", [b"x-forwarded-for", b"x-real-ip", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"]),
    ],
)
def test_the_client_is_told_of_in_the_style_that_is_configured_and_never_as_it_said_itself(
    style: Style, names: list[bytes]
) -> None:
    forged = [(name, b"forged") for name in (b"forwarded", b"x-forwarded-for", b"x_forwarded_proto", b"x-real-ip")]
    fields = Forwarding(style).request_headers(scope([(b"host", b"a"), *forged]))
    assert [name for name, _ in fields[1:]] == names
    assert b"forged" not in dict(fields).values()


def test_of_a_response_the_hop_by_hop_fields_are_dropped() -> None:
    headers = [
        (b"connection", b"keep-alive, x-internal"), (b"keep-alive", b"timeout=5"), (b"transfer-encoding", b"chunked"),
        (b"x-internal", b"1"), (b"set-cookie", b"a"), (b"set-cookie", b"b"), (b"server", b"app"), (b"date", b"now"),
    ]  # fmt: skip
    assert response_headers(200, headers) == headers[4:]


@pytest.mark.parametrize(("status", "kept"), [(200, True), (206, True), (204, False), (304, False)])
def test_a_response_without_body_tells_no_length(status: int, kept: bool) -> None:
    assert (response_headers(status, [(b"content-length", b"5")]) != []) is kept


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {"raw_path": b"/a%2Fb;c//../d", "query_string": b"x=%20&y"}, b"/a%2Fb;c//../d?x=%20&y", id="byte for byte"
        ),
        pytest.param({"raw_path": b"/a?x", "query_string": b"x"}, b"/a?x", id="a query left in the path"),
        pytest.param({"raw_path": b"*"}, b"*", id="the server as a whole"),
        pytest.param({"path": "/ä b"}, b"/%C3%A4%20b", id="no raw path"),
        pytest.param({"raw_path": b"http://h/a", "path": "/a"}, b"/a", id="absolute form"),
        pytest.param({"raw_path": b"http://h/a%2Fb//c", "path": "/a/b//c"}, b"/a%2Fb//c", id="an encoded slash"),
        pytest.param({"raw_path": b"HTTP://u@h:1/a%2fb"}, b"/a%2fb", id="a scheme in capitals"),
        pytest.param({"raw_path": b"http://h", "query_string": b"x"}, b"/?x", id="absolute form without a path"),
        pytest.param({"path": ""}, b"/", id="nothing"),
    ],
)
def test_the_target_is_what_the_client_sent(changes: dict[str, Any], expected: bytes) -> None:
    assert target({"path": "/", **changes}) == expected


def test_a_long_name_is_judged_as_well() -> None:
    name = b"x-forwarded-" + b"a" * 1000
    assert (name, b"1") not in Forwarding().request_headers(scope([(name, b"1")]))
