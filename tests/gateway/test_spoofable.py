"""The tables of fields that clients must not set."""

import pytest

from aupgate.fields import fold
from aupgate.spoofable import (
    ALIAS,
    BANNERS,
    FORWARDING,
    IDENTITY,
    INTERNAL,
    OVERRIDE,
    OWN,
    classifier,
    imitates,
)

ALL = [*FORWARDING, *IDENTITY, *OVERRIDE, *INTERNAL, *OWN]


@pytest.mark.parametrize("name", [*ALL, *ALIAS, *BANNERS])
def test_every_name_is_written_folded(name: str) -> None:
    bare = name.removesuffix("-*")
    assert fold(bare.encode()) == bare.encode()
    assert "*" not in bare


def test_no_name_is_in_two_tables() -> None:
    assert len([*ALL, *ALIAS]) == len({*ALL, *ALIAS})
    assert len(BANNERS) == len(set(BANNERS))


def test_no_name_is_covered_by_a_beginning_in_its_table() -> None:
    for table in (FORWARDING, IDENTITY, OVERRIDE, INTERNAL, BANNERS):
        beginnings = tuple(name.removesuffix("*") for name in table if name.endswith("-*"))
        assert not [name for name in table if not name.endswith("-*") and name.startswith(beginnings)]


def test_no_field_that_browsers_act_upon_is_taken_from_responses() -> None:
    acted_upon = imitates(BANNERS)
    for name in (
        "age", "alt-svc", "cache-control", "clear-site-data", "content-security-policy", "content-type", "date", "etag",
        "link", "location", "nel", "retry-after", "server-timing", "set-cookie", "sourcemap", "vary", "via",
        "www-authenticate", "x-cache", "x-content-type-options", "x-frame-options", "x-request-id", "x-robots-tag",
        "x-served-by", "x-trace-id", "x-ratelimit-limit",
    ):  # fmt: skip
        assert not acted_upon(name.encode()), name


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        (b"x-forwarded-for", "headers.spoofed"),
        (b"HTTP_X_FORWARDED_FOR", "headers.spoofed"),
        (b"x-original-url", "headers.override"),
        (b"x-debug", "headers.internal"),
        (b"content_type", "headers.alias"),
        (b"x-request-id", ""),
        (b"x-mine", "headers.spoofed"),
    ],
)
def test_each_field_has_one_fate(name: bytes, rule: str) -> None:
    fate = classifier(["x-mine"], [])(name)
    assert fate is not None
    assert fate.rule == rule


@pytest.mark.parametrize("name", [b"content-type", b"Content-Type", b"x-other", b"HTTP-Referer", b"", b"-"])
def test_a_field_that_passes_for_no_other_is_left(name: bytes) -> None:
    assert classifier(["x-mine"], [])(name) is None


@pytest.mark.parametrize("name", [b"x-debug", b"x-original-url", b"content_type", b"x-request-id"])
def test_what_is_kept_is_left_from_everyone_unless_it_names_a_client(name: bytes) -> None:
    assert classifier([], [name.decode()])(name) is None
    fate = classifier([], ["x-remote-user"])(b"X_Remote_User")
    assert fate is not None
    assert fate.kept_from_proxies


def test_no_field_that_browsers_and_applications_use_is_listed() -> None:
    ordinary = {
        "accept", "authorization", "connection", "cookie", "host", "origin", "referer", "user-agent", "via",
        "x-api-key", "x-csrf-token", "x-requested-with", "x-correlation-id", "x-user-id", "x-auth-token", "x-auth-user",
    }  # fmt: skip
    assert not ordinary & set(ALL)
    prefixes = tuple(name.removesuffix("*") for name in ALL if name.endswith("-*"))
    assert not [name for name in ordinary if name.startswith(prefixes)]
