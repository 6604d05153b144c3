"""Request targets: what is malformed or ambiguous, and what is meant for a proxy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.targets import is_for_proxy, target_faults

PASS = [
    ("GET", b"/"),
    ("GET", b"/api/items/42?page=2&sort=-name"),
    ("GET", b"/.well-known/security.txt"),
    ("GET", b"/a/...") ,
    ("GET", b"/a/..b/.c/d../e."),
    ("GET", b"/files/%2Fetc%2fpasswd"),
    ("GET", b"/caf%C3%A9/%E2%82%AC/%F0%9F%98%80/%E0%A4%A8/%F0%90%80%80"),
    ("GET", b"/%C0%20propos"),
    ("GET", b"/%C0%A5/%B0%A1"),
    ("GET", b"/notes%5cold"),
    ("GET", b"/%20%25%3F%23%3B"),
    ("GET", b"/a;v=1/b"),
    ("GET", b"/a//b"),
    ("GET", b"/search?q=../..&file=..%2f..%2f&x=%00&y=%5c&z=\\"),
    ("GET", b'/search?q={"a":[1|2]}^`'),
    ("GET", b'/a|b"{}^`<>'),
    ("GET", b"/100%"),
    ("GET", b"/%zz"),
    ("OPTIONS", b"*"),
    ("GET", b"http://app.example/items"),
    ("CONNECT", b"db.example:5432"),
]  # fmt: skip
FAULTS = [
    ("GET", b"/a b", "space or control"),
    ("GET", b"/a?b=\x00", "space or control"),
    ("GET", b"/a\x7f", "space or control"),
    ("GET", b"/a\r\nx: y", "space or control"),
    ("GET", b"/a\xff", "must be percent-encoded"),
    ("GET", "/café?q=é".encode(), "must be percent-encoded"),
    ("GET", b"/a#top", "fragment"),
    ("GET", b"/a?b#top", "fragment"),
    ("GET", b"/a%00.png", "encoded control character"),
    ("GET", b"/internal/users%0A", "encoded control character"),
    ("GET", b"/a%0d%0aset-cookie:b", "encoded control character"),
    ("GET", b"/a%7F", "encoded control character"),
    ("GET", b"/a\\b", "backslash"),
    ("GET", b"/..", "dot segments"),
    ("GET", b"/.", "dot segments"),
    ("GET", b"/../etc/passwd", "dot segments"),
    ("GET", b"/a/./b", "dot segments"),
    ("GET", b"/a/..?x", "dot segments"),
    ("GET", b"/a/%2e%2e/b", "dot segments"),
    ("GET", b"/a/.%2E/b", "dot segments"),
    ("GET", b"/a/%2e/b", "dot segments"),
    ("GET", b"/a/..%2fb", "dot segments"),
    ("GET", b"/a%2f..%2fb", "dot segments"),
    ("GET", b"/a%2F%2e%2E", "dot segments"),
    ("GET", b"/a/..;/b", "dot segments"),
    ("GET", b"/a/..;x=1/b", "dot segments"),
    ("GET", b"/a/..%3b/b", "dot segments"),
    ("GET", b"", "neither a path nor a URL"),
    ("GET", b"*", "neither a path nor a URL"),
    ("GET", b"items", "neither a path nor a URL"),
    ("GET", b"app.example:443", "neither a path nor a URL"),
]


@pytest.mark.parametrize(("method", "target"), PASS, ids=repr)
def test_a_target_with_one_reading_passes(method: str, target: bytes) -> None:
    assert list(target_faults(method, target)) == []


@pytest.mark.parametrize(("method", "target", "reason"), FAULTS, ids=repr)
def test_a_malformed_target_is_told(method: str, target: bytes, reason: str) -> None:
    assert any(reason in fault for fault in target_faults(method, target))


def test_all_faults_of_a_target_are_told() -> None:
    assert len(target_faults("GET", b"/a/../%00#x")) == 3


@given(st.binary())
def test_any_target_is_judged(target: bytes) -> None:
    target_faults("GET", target)
    is_for_proxy("GET", target, b"app.example")


@pytest.mark.parametrize(
    ("method", "target", "host"),
    [
        ("CONNECT", b"db.example:5432", b"app.example"),
        ("CONNECT", b"app.example:443", b"app.example:443"),
        ("GET", b"http://other.example/", b"app.example"),
        ("GET", b"http://other.example", b"app.example"),
        ("GET", b"HTTP://169.254.169.254/latest", b"app.example"),
        ("GET", b"http://app.example:8080/", b"app.example"),
        ("GET", b"http://user@app.example/", b"app.example"),
        ("GET", b"http://app.example@other.example/", b"app.example"),
        ("GET", b"https://app.example:80/", b"app.example"),
        ("GET", b"http:///items", b"app.example"),
        ("GET", b"ftp://app.example/x", b"app.example"),
        ("GET", b"http://app.example/", b""),
    ],
)
def test_a_request_for_somebody_else_is_for_a_proxy(method: str, target: bytes, host: bytes) -> None:
    assert is_for_proxy(method, target, host)


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"/items", b"app.example"),
        (b"/redirect?to=http://other.example/", b"app.example"),
        (b"/http://other.example/", b"app.example"),
        (b"*", b"app.example"),
        (b"http://app.example/items", b"app.example"),
        (b"http://APP.example:80/items", b"app.example"),
        (b"https://app.example/items", b"App.Example:443"),
        (b"http://[2001:db8::1]:8080?x", b"[2001:db8::1]:8080"),
    ],
)
def test_a_request_for_this_host_is_not(target: bytes, host: bytes) -> None:
    assert not is_for_proxy("GET", target, host)
