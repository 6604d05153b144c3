"""Path templates, and the table that finds which of them a path matches."""

import sys
from contextlib import suppress
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.routes import Placeholder, RouteTable, parse_template

MATCHES = [
    ("/", "/"),
    ("/items", "/items"),
    ("/items", "/items/"),
    ("/items/", "/items"),
    ("/items/{id}", "/items/42"),
    ("/items/{id}", "/items/42/"),
    ("/items/{id}/parts/{part}", "/items/42/parts/7"),
    ("/items/{id:int}", "/items/42"),
    ("/price/{amount:float}", "/price/9.99"),
    ("/price/{amount:float}", "/price/9"),
    ("/u/{id:uuid}", "/u/6F9c3c9e-1111-4222-8333-444455556666"),
    ("/u/{id:uuid}", "/u/6f9c3c9e111142228333444455556666"),
    ("/{rest:path}", "/"),
    ("/{rest:path}", "/a/b/c"),
    ("/internal/{rest:path}", "/internal"),
    ("/internal/{rest:path}", "/internal/"),
    ("/internal/{rest:path}", "/internal/users/1"),
    ("/static{rest:path}", "/static"),
    ("/static{rest:path}", "/staticfiles/x.css"),
    ("/repos/{tree:path}/edit", "/repos/a/b/c/edit"),
    ("/files/{name}.json", "/files/report.json"),
    ("/files/{name}.{kind}", "/files/archive.tar.gz"),
    ("/v{major:int}/items", "/v2/items"),
    ("/café/{id}", "/café/1"),
    ("/a.b+c/{id}", "/a.b+c/1"),
]
MISSES = [
    ("/", "/items"),
    ("/items", "/"),
    ("/items", "/item"),
    ("/items", "/Items"),
    ("/items", "/items/42"),
    ("/items/{id}", "/items"),
    ("/items/{id}", "/items/"),
    ("/items/{id}", "/items/42/parts"),
    ("/items/{id:int}", "/items/-1"),
    ("/items/{id:int}", "/items/٤٢"),
    ("/items/{id:int}", "/items/4x"),
    ("/price/{amount:float}", "/price/9."),
    ("/u/{id:uuid}", "/u/6f9c3c9e-1111-4222-8333-44445555666"),
    ("/internal/{rest:path}", "/internals"),
    ("/repos/{tree:path}/edit", "/repos/edit"),
    ("/files/{name}.json", "/files/.json"),
    ("/files/{name}.json", "/files/report-json"),
    ("/files/{name}.json", "/files/a/b.json"),
    ("/a.b/{id}", "/axb/1"),
    ("/items", "*"),
    ("/items", ""),
]


@pytest.mark.parametrize(("template", "path"), MATCHES, ids=[f"{template} {path}" for template, path in MATCHES])
def test_a_template_matches_the_paths_it_describes(template: str, path: str) -> None:
    assert list(RouteTable([(template, True)]).find(path)) == [True]


@pytest.mark.parametrize(("template", "path"), MISSES, ids=[f"{template} {path}" for template, path in MISSES])
def test_a_template_matches_no_other_path(template: str, path: str) -> None:
    assert list(RouteTable([(template, True)]).find(path)) == []


def test_all_matching_values_are_found_in_the_order_of_declaration() -> None:
    table = RouteTable(
        [
            ("/api/{rest:path}", "rest"),
            ("/api/items/{id}", "any"),
            ("/api/items/new", "new"),
            ("/other", "other"),
            ("/api/items/{id:int}", "number"),
            ("/api/items/new", "new again"),
            ("/api/{x:path}/new", "ends in new"),
            ("/{a}/{b}/n{c}", "mixed"),
        ]
    )
    assert list(table.find("/api/items/new")) == ["rest", "any", "new", "new again", "ends in new", "mixed"]
    assert list(table.find("/api/items/7")) == ["rest", "any", "number"]
    assert list(table.find("/api")) == ["rest"]
    assert len(table) == 8


def test_a_table_without_entries_finds_nothing() -> None:
    assert list(RouteTable([]).find("/items")) == []


def calls(table: RouteTable[int], path: str) -> int:
    """Return how many functions, Python's own included, one look-up calls."""
    counted = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal counted
        counted += event in {"call", "c_call"}

    sys.setprofile(count)
    table.find(path)
    sys.setprofile(None)
    return counted


@pytest.mark.parametrize("path", ["/api/group3/7/sub", "/api/nothing/7/sub", "/group3"])
def test_work_grows_with_the_depth_of_the_path_and_not_with_the_number_of_routes(path: str) -> None:
    few, many = (RouteTable([(f"/api/group{n}/{{id:int}}/sub", n) for n in range(count)]) for count in (10, 1000))
    assert calls(many, path) == calls(few, path)


def test_a_long_hostile_path_is_matched_in_linear_time_against_several_placeholders_in_one_segment() -> None:
    # With a backtracking matcher this would take the square of the length: minutes.
    table = RouteTable([("/{a}-{b}-{c}.json", True), ("/{rest:path}/{a}-{b}.json", True)])
    assert list(table.find("/" + "-" * 50_000)) == []
    assert list(table.find("/-" * 25_000)) == []


REFUSED = [
    ("items", "does not start with a slash, write '/items'"),
    ("", "does not start with a slash"),
    ("/items?id=1", "has a query or fragment"),
    ("/items#top", "has a query or fragment"),
    ("/a//b", "write '/a/b'"),
    ("/a/../b", "write '/b'"),
    ("/a%2Fb", "write '/a/b'"),
    ("/caf%C3%A9", "write '/café'"),
    ("/100%", "write '/100%25'"),
    ("/a;v=1", "write '/a'"),
    ("/a\\b", "write '/a/b'"),
    ("/{id", "unpaired brace in '{id'"),
    ("/id}", "unpaired brace in 'id}'"),
    ("/{{id}}", "unpaired brace"),
    ("/{}", "no valid name in '{}'"),
    ("/{1}", "no valid name in '{1}'"),
    ("/{item-id}", "no valid name in '{item-id}'"),
    ("/{id:number}", "unknown converter 'number', use one of str, path, int, float, uuid"),
    ("/{id}/{id}", "uses the name 'id' twice"),
    ("/{a:path}/x/{b:path}", "has two path placeholders"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=[text or "empty" for text, _ in REFUSED])
def test_a_template_that_cannot_match_what_is_meant_is_refused_with_what_to_write(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="path template ") as caught:
        parse_template(text)
    assert reason in str(caught.value)


def test_a_parsed_template_tells_literals_from_placeholders() -> None:
    template = parse_template("/files/{name}.json/{rest:path}")
    assert template.segments == (
        ("files",),
        (Placeholder("name", "str"), ".json"),
        (Placeholder("rest", "path"),),
    )


SEGMENTS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/{}%;\\?#."), min_size=1), max_size=6)


@given(SEGMENTS)
def test_every_path_matches_itself_and_the_rest_template(segments: list[str]) -> None:
    path = "/" + "/".join(segments)
    assert list(RouteTable([(path, 1), ("/{rest:path}", 2)]).find(path)) == [1, 2]


@given(st.text())
def test_any_text_parses_or_raises_value_error(text: str) -> None:
    with suppress(ValueError):
        RouteTable([(text, True)])


@given(st.text(), st.sampled_from(["/{rest:path}", "/{a}", "/{a}.{b}", "/{a:int}/b", "/x/{p:path}/y"]))
def test_no_path_makes_a_look_up_fail(path: str, template: str) -> None:
    RouteTable([(template, True)]).find(path)
