"""What an application offers."""

import pytest

from aupgate.operations import Operation, accept_fields, allow_field


@pytest.mark.parametrize(
    ("methods", "method", "taken"),
    [
        ((), "BREW", True),
        (("GET",), "GET", True),
        (("GET",), "HEAD", True),
        (("POST",), "HEAD", False),
        (("GET", "POST"), "DELETE", False),
        (("GET",), "get", False),
    ],
)
def test_an_operation_takes_its_methods_and_head_with_get(methods: tuple[str, ...], method: str, taken: bool) -> None:
    assert Operation("/", methods).takes(method) is taken


@pytest.mark.parametrize(
    ("types", "sent", "accepted"),
    [
        ((), "", True),
        ((), "text/xml", True),
        (("*/*",), "", True),
        (("*/*",), "text/xml", True),
        (("application/json",), "application/json", True),
        (("application/json",), "application/problem+json", False),
        (("application/json",), "", False),
        (("image/*",), "image/png", True),
        (("image/*",), "imagery/png", False),
        (("image/*",), "", False),
        (("application/*", "text/csv"), "text/csv", True),
    ],
)
def test_an_operation_accepts_its_media_types_and_kinds_of_them(
    types: tuple[str, ...], sent: str, accepted: bool
) -> None:
    assert Operation("/", content_types=types).accepts(sent) is accepted


def test_allow_names_each_method_once_with_those_that_go_without_saying() -> None:
    offered = [Operation("/", ("GET", "POST")), Operation("/", ("POST", "PUT"))]
    assert allow_field(offered) == (b"allow", b"GET, POST, PUT, HEAD, OPTIONS")
    assert allow_field([Operation("/", ("PUT",))]) == (b"allow", b"PUT, OPTIONS")


def test_accepted_types_are_told_and_for_posts_in_the_field_of_their_own() -> None:
    offered = [Operation("/", ("PUT",), ("application/json",)), Operation("/", (), ("application/json", "image/*"))]
    assert accept_fields(offered, "PUT") == ((b"accept", b"application/json, image/*"),)
    assert accept_fields(offered, "POST") == (
        (b"accept", b"application/json, image/*"),
        (b"accept-post", b"application/json, image/*"),
    )
