"""Redirects to HTTPS: they lead to the host and target that were asked for, or nowhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.redirects import https_location
from tests.gateway.scripted import a_request


def location(target: bytes = b"/", *hosts: bytes, host: str | None = None, port: int = 443) -> bytes:
    return https_location(a_request(target=target, headers=[(b"host", each) for each in hosts]), host, port)


@pytest.mark.parametrize(
    ("host", "target", "expected"),
    [
        (b"app.example", b"/", b"https://app.example/"),
        (b"app.example:80", b"/a?b=c&d=%2F", b"https://app.example/a?b=c&d=%2F"),
        (b"app.example:8080", b"/", b"https://app.example/"),
        (b"app.example:", b"/", b"https://app.example/"),
        (b"192.0.2.1", b"/", b"https://192.0.2.1/"),
        (b"[2001:db8::1]:80", b"/", b"https://[2001:db8::1]/"),
        (b"App.Example", b"/a;b=c/%20", b"https://App.Example/a;b=c/%20"),
        (b"app.example", b"//evil.example/", b"https://app.example//evil.example/"),
        (b"app.example", b"/\\evil.example", b"https://app.example/\\evil.example"),
        (b"app.example", b"/@evil.example", b"https://app.example/@evil.example"),
    ],
)
def test_the_same_is_to_be_had_over_https(host: bytes, target: bytes, expected: bytes) -> None:
    assert location(target, host) == expected


@pytest.mark.parametrize(
    "hosts",
    [
        [], [b""], [b"a.example", b"b.example"], [b"a.example@evil.example"], [b"evil.example/"], [b"evil.example?"],
        [b"a.example, b.example"], [b"a.example:80:80"], [b"a example"], [b"a.example\r\nx: y"], [b"-a.example"],
        [b"[::1"], [b"a" * 300], [b"caf\xe9.example"], [b":80"], [b"a.example:http"],
    ],
)  # fmt: skip
def test_a_host_that_is_not_one_and_well_formed_leads_nowhere(hosts: list[bytes]) -> None:
    assert location(b"/", *hosts) == b""


def test_the_same_host_twice_is_one() -> None:
    assert location(b"/", b"a.example", b"a.example") == b"https://a.example/"


@pytest.mark.parametrize(
    "target", [b"", b"*", b"a", b"http://evil.example/", b"app.example:443", b"/a b", b"/\r\nx: y", b"/\x00", b"/\xff"]
)
def test_a_target_that_is_no_path_leads_nowhere(target: bytes) -> None:
    assert location(target, b"app.example") == b""


def test_a_configured_host_goes_before_what_the_client_says() -> None:
    assert location(b"/a", b"evil.example", host="app.example") == b"https://app.example/a"
    assert location(b"/a", host="app.example") == b"https://app.example/a"


def test_another_port_is_named() -> None:
    assert location(b"/a", b"app.example:8080", port=8443) == b"https://app.example:8443/a"
    assert location(b"/a", host="app.example", port=8443) == b"https://app.example:8443/a"


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_nothing_that_a_client_sends_makes_another_field_or_another_host(target: bytes, host: bytes) -> None:
    assert (
        location(b"/" + target, host, host="app.example").startswith((b"https://app.example/",))
        or location(b"/" + target, host, host="app.example") == b""
    )
    assert not set(location(target, host)) & {*b"\r\n\x00 "}
