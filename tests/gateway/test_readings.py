"""What else a path may be taken for."""

import posixpath
import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.http import normalise_path
from aupgate.readings import readings


@pytest.mark.parametrize(
    "raw",
    [b"/", b"/a/b", b"/caf%C3%A9", b"/a%20b", b"/a.b/c.d", b"/~user/", b"/a,b:c@d", b"*", b"http://example.com/a/b"],
    ids=bytes.decode,
)
def test_an_ordinary_path_has_one_reading(raw: bytes) -> None:
    assert not readings(raw)


@pytest.mark.parametrize(
    ("raw", "others"),
    [
        pytest.param(b"/files/a%2Fb", {"/files/a%2Fb"}, id="an encoded slash may stay"),
        pytest.param(b"/a;v=1/b", {"/a;v=1/b"}, id="parameters may stay"),
        pytest.param(b"/wiki//B", {"/wiki//B"}, id="slashes may not be merged"),
        pytest.param(b"/a%5Cb", {"/a\\b", "/a%5Cb"}, id="a backslash may be none"),
        pytest.param(b"/C%2523", {"/C%23", "/C#"}, id="it may be decoded not at all, or twice"),
        pytest.param(b"/x/..%2Fy", {"/x/..%2Fy", "/x/../y"}, id="dot segments may stay"),
        pytest.param(b"/x%C0%AFy", {"/x/y"}, id="an overlong slash may be one"),
    ],
)
def test_an_odd_path_has_several(raw: bytes, others: set[str]) -> None:
    assert others <= set(readings(raw) or ())


def test_more_readings_than_can_be_told_are_none() -> None:
    assert readings(b"/" + b"a;b//..%2f%5c%c0%af" * 3000) is None


PIECES = st.sampled_from(
    [
        b"/",
        b"//",
        b"a",
        b"internal",
        b".",
        b"..",
        b"%2F",
        b"%2f",
        b"%2e",
        b"%5C",
        b"\\",
        b";v=1",
        b"%25",
        b"%252f",
        b"%C0%AF",
    ]
)


def merged(path: str) -> str:
    """Read a path as a server that merges slashes and resolves dot segments, as nginx does."""
    kept = "/" if path.endswith(("/", "/.", "/..")) else ""
    return posixpath.normpath("/" + re.sub("/{2,}", "/", path).lstrip("/")).rstrip("/") + kept or "/"


@given(st.lists(PIECES, max_size=8).map(lambda pieces: b"/" + b"".join(pieces)))
def test_the_ways_in_which_servers_read_are_among_them(raw: bytes) -> None:
    known = {normalise_path(raw), *(readings(raw) or ())}
    assert raw.decode("ascii") in known or not readings(raw)  # one that leaves everything as it is
    decoded = unquote_to_bytes(raw).decode("utf-8", "surrogateescape")
    assert decoded in known
    if ";" not in decoded and "\\" not in decoded:
        assert merged(decoded) in known


@given(st.binary(max_size=60))
def test_any_bytes_have_readings_or_too_many(raw: bytes) -> None:
    found = readings(raw)
    assert found is None or normalise_path(raw) not in found
    assert normalise_path(normalise_path(raw).encode("utf-8", "surrogateescape")) is not None
