"""HTTP's small print: paths, media types, Accept, preflights, and the fields that refusals carry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.http import (
    below_root,
    is_cors_preflight,
    media_type,
    normalise_path,
    prefers_html,
    rate_limit_fields,
    retry_after,
    sf_string,
)
from aupgate.meters import Admitted, Meter, MeterKind, Plan, Planned, Quota, Reading
from tests.gateway.scripted import a_request

PATHS = [
    (b"/", "/"),
    (b"/api/items", "/api/items"),
    (b"/api/items/", "/api/items/"),
    (b"/.well-known/security.txt", "/.well-known/security.txt"),
    (b"/a/...", "/a/..."),
    (b"/a/..b/.c./d..", "/a/..b/.c./d.."),
    (b"/a/b=1,2@x:y", "/a/b=1,2@x:y"),
    (b"/%69nternal", "/internal"),
    (b"/%2569nternal", "/%2569nternal"),
    (b"/internal%2Fusers", "/internal/users"),
    (b"/internal%5cusers", "/internal/users"),
    (b"/internal\\users", "/internal/users"),
    (b"\\internal", "/internal"),
    (b"//internal", "/internal"),
    (b"/api///items//", "/api/items/"),
    (b"/%2f%2Finternal", "/internal"),
    (b"/./internal", "/internal"),
    (b"/public/../internal", "/internal"),
    (b"/public/%2e%2E/internal", "/internal"),
    (b"/public/..%2finternal", "/internal"),
    (b"/public/..;/internal", "/internal"),
    (b"/public/..;v=1/internal", "/internal"),
    (b"/../../internal", "/internal"),
    (b"/internal/.", "/internal/"),
    (b"/internal/x/..", "/internal/"),
    (b"/internal;jsessionid=1", "/internal"),
    (b"/internal%3bx", "/internal"),
    (b"/a;x=1/b;y=2", "/a/b"),
    (b"/caf%C3%A9", "/café"),
    ("/café".encode(), "/café"),
    (b"/%c0%af", "/%C0%AF"),
    (b"/\xff", "/%FF"),
    (b"/%ff", "/%FF"),
    (b"/%ed%b3%bf", "/%ED%B3%BF"),
    (b"/%25ff", "/%25ff"),
    (b"/100%", "/100%25"),
    (b"/100%25", "/100%25"),
    (b"/%zz", "/%25zz"),
    (b"/a%00b", "/a\x00b"),
    (b"/a%3Fb%23c", "/a?b#c"),
    (b"http://app.example/internal", "/internal"),
    (b"http://app.example", "/"),
    (b"internal", "/internal"),
    (b"", "/"),
    (b"*", "*"),
]


@pytest.mark.parametrize(("raw", "path"), PATHS, ids=[repr(raw) for raw, _ in PATHS])
def test_every_spelling_of_a_path_has_one_normal_form(raw: bytes, path: str) -> None:
    assert normalise_path(raw) == path


RAW_PATHS = st.binary() | st.lists(
    st.sampled_from([b"/", b"//", b".", b"..", b"%2e", b"%2F", b"%5c", b"\\", b";x", b"%", b"%25", b"a", b"\xff", b":"])
).map(b"".join)


@given(RAW_PATHS)
def test_the_normal_form_of_a_path_is_its_own_normal_form(raw: bytes) -> None:
    path = normalise_path(raw)
    assert normalise_path(path.encode()) == path


@given(RAW_PATHS)
def test_a_normal_form_has_one_leading_slash_and_nothing_that_two_servers_could_resolve_differently(raw: bytes) -> None:
    path = normalise_path(raw)
    assert path == "*" or path.startswith("/")
    assert "//" not in path
    assert not {"\\", ";"} & set(path)
    assert not {".", ".."} & set(path.split("/"))


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\\;%"), min_size=1).filter(lambda t: t.strip(".")))
def test_percent_encoding_makes_no_difference(segment: str) -> None:
    encoded = "".join(f"%{octet:02x}" for octet in segment.encode())
    assert normalise_path(f"/{encoded}".encode()) == normalise_path(f"/{segment}".encode()) == f"/{segment}"


def test_root_path_is_cut_at_a_slash_only() -> None:
    assert below_root("/apix", "/api") == "/apix"
    assert below_root("/api/x", "/api/") == "/x"


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (b"application/json", "application/json"),
        (b"Application/JSON; charset=utf-8", "application/json"),
        (b" text/plain ;format=flowed", "text/plain"),
        (b"application/problem+json", "application/problem+json"),
        (b"multipart/form-data; boundary=x;y", "multipart/form-data"),
        (b"image/*", "image/*"),
        (b"", ""),
        (b"json", ""),
        (b"application/", ""),
        (b"/json", ""),
        (b"application/json, text/html", ""),
        (b"application/ json", ""),
        (b"application/json\x00", ""),
        (b"application/js\xf6n", ""),
    ],
)
def test_a_media_type_is_compared_without_case_and_parameters(value: bytes, type_: str) -> None:
    assert media_type(value) == type_


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", True),
        (b"text/html", True),
        (b"Text/HTML", True),
        (b"application/xhtml+xml", True),
        (b"text/*", True),
        (b"application/json;q=0.5, text/html;q=0.6", True),
        (b"text/html, */*;q=0.1", True),
        (b"*/*;q=0.1, text/html;level=1", True),
        (None, False),
        (b"", False),
        (b"*/*", False),
        (b"application/json", False),
        (b"application/json, text/plain, */*", False),
        (b"text/html, application/json", False),
        (b"application/json, text/html;q=0.9", False),
        (b"application/problem+json, text/html;q=0.9", False),
        (b"text/html;q=0, */*", False),
        (b"text/html;q=0", False),
        (b"image/avif,image/webp,*/*;q=0.8", False),
        (b"text/event-stream", False),
        (b";q=,,;;=/", False),
        (b",".join([b"image/png"] * 40) + b",text/html", False),
    ],
)
def test_html_goes_to_those_who_like_it_better_than_json(accept: bytes | None, html: bool) -> None:
    assert prefers_html(accept) is html


@given(st.binary())
def test_any_accept_is_understood_or_ignored(accept: bytes) -> None:
    assert prefers_html(accept) in {True, False}


ORIGIN = (b"Origin", b"https://shop.example")
ASKED = (b"Access-Control-Request-Method", b"PUT")


@pytest.mark.parametrize(
    ("method", "headers", "preflight"),
    [
        ("OPTIONS", [ORIGIN, ASKED], True),
        ("OPTIONS", [ORIGIN], False),
        ("OPTIONS", [ASKED], False),
        ("PUT", [ORIGIN, ASKED], False),
        ("OPTIONS", [], False),
    ],
)
def test_a_preflight_is_options_with_origin_and_the_method_asked_for(
    method: str, headers: list[tuple[bytes, bytes]], preflight: bool
) -> None:
    assert is_cors_preflight(a_request(method=method, headers=headers)) is preflight


@pytest.mark.parametrize(
    ("text", "written"),
    [("api", '"api"'), ("", '""'), ('say "hi"', '"say \\"hi\\""'), ("back\\slash", '"back\\\\slash"')],
)
def test_a_structured_string_is_quoted_and_escaped(text: str, written: str) -> None:
    assert sf_string(text) == written


@pytest.mark.parametrize("text", ["naïve", "line\nbreak", "\x7f"])
def test_what_a_structured_string_cannot_hold_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="use printable ASCII"):
        sf_string(text)


def reading(
    name: str,
    *,
    left: float,
    resets: float = 30.0,
    retry: float = 0.0,
    admitted: bool = True,
    limit: int = 240,
    window: float = 60.0,
    kind: MeterKind = MeterKind.RATE,
    gate: bool = True,
) -> Reading:
    quota = Quota(f"rate_limits.{name}", name, limit, window, kind=kind, gate=gate)
    return Reading(Meter(quota, "192.0.2.7"), admitted, left, resets, retry)


def test_all_limits_are_announced_and_the_tightest_is_told_in_detail() -> None:
    readings = [
        reading("api", left=37.9, resets=11.2),
        reading("burst", left=59, limit=60, window=1.0, resets=0.5),
    ]
    assert rate_limit_fields(readings) == (
        (b"ratelimit-policy", b'"api";q=240;w=60, "burst";q=60;w=1'),
        (b"ratelimit", b'"api";r=37;t=12'),
    )


def test_a_limit_that_refuses_is_the_tightest_with_nothing_left_until_the_request_would_pass() -> None:
    readings = [
        reading("api", left=0, resets=60),
        reading("burst", left=0.4, resets=1, retry=0.2, admitted=False),
        reading("daily", left=3.0, resets=86400, retry=50.5, admitted=False),
    ]
    assert rate_limit_fields(readings)[1] == (b"ratelimit", b'"daily";r=0;t=51')


@given(st.lists(st.tuples(st.integers(0, 3) | st.just(10**16), st.floats(0, 100), st.booleans()), max_size=4))
def test_planned_readings_are_told_of_as_any(parts: list[tuple[int, float, bool]]) -> None:
    kinds = [MeterKind.RATE if rate else MeterKind.LEASE for *_, rate in parts]
    quotas = tuple(Quota(f"rate_limits.q{n}", f"q{n}", 10**17, 60.0, kind) for n, kind in enumerate(kinds))
    planned = Planned(Plan(quotas, (0,) * len(quotas), (1,) * len(quotas)), ["192.0.2.7"])
    admitted = Admitted(planned, [(left, resets) for left, resets, _ in parts])
    assert rate_limit_fields(admitted) == rate_limit_fields(list(admitted))


@pytest.mark.parametrize(
    "readings",
    [
        [],
        [reading("tally", left=1, gate=False)],
        [reading("open", left=1, kind=MeterKind.LEASE)],
        [reading("pages", left=1, kind=MeterKind.DISTINCT)],
    ],
    ids=["none", "tally", "lease", "distinct"],
)
def test_what_is_no_rate_that_stands_in_the_way_is_not_announced(readings: list[Reading]) -> None:
    assert rate_limit_fields(readings) == ()


def test_what_a_structured_integer_cannot_hold_is_cut() -> None:
    fields = rate_limit_fields([reading("huge", left=1e300, limit=10**18, resets=1e300)])
    assert fields == (
        (b"ratelimit-policy", b'"huge";q=999999999999999;w=60'),
        (b"ratelimit", b'"huge";r=999999999999999;t=999999999999999'),
    )


@pytest.mark.parametrize(
    ("seconds", "value"),
    [(0.0, b"1"), (-3.0, b"1"), (0.2, b"1"), (1.0, b"1"), (1.01, b"2"), (59.9, b"60"), (float("inf"), b"9" * 15)],
)
def test_retry_after_is_in_whole_seconds_rounded_up(seconds: float, value: bytes) -> None:
    assert retry_after(seconds) == value
