"""Header fields: how names are folded, how values are found, and the bounded memory of what names mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.fields import (
    LONGEST,
    MOST,
    ORDINARY,
    Fields,
    Layout,
    by_layout,
    by_names,
    fold,
    matcher,
    nominated,
)


@pytest.mark.parametrize(
    "name",
    [
        b"x-forwarded-for", b"X-Forwarded-For", b"X_FORWARDED_FOR", b"x.forwarded.for", b"x--forwarded__for",
        b"x-forwarded-for-", b"_x_forwarded_for", b"x-forwarded-for ", b"x forwarded for", b"x-_.forwarded~for",
        b"x-forwarded-for\t", b"x\x00forwarded-for",
    ],
)  # fmt: skip
def test_every_spelling_of_a_name_folds_to_one(name: bytes) -> None:
    assert fold(name) == b"x-forwarded-for"


def test_different_names_stay_different() -> None:
    assert len({fold(name) for name in (b"x-forwarded-for", b"x-forwardedfor", b"x-forwarded-fo", b"forwarded")}) == 4


PAIRS = [(b"host", b"a"), (b"Accept", b"x"), (b"cookie", b"1"), (b"accept", b"y"), (b"Cookie", b"2")]


def test_fields_are_found_by_name_in_their_order_whatever_the_case() -> None:
    fields = Fields(PAIRS)
    assert (fields.get(b"accept"), fields.get(b"cookie"), fields.get(b"absent")) == (b"x", b"1", None)
    assert (fields.all(b"cookie"), fields.all(b"absent")) == ([b"1", b"2"], [])


@given(st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=4)), max_size=8))
def test_what_is_found_is_what_a_search_would_find(pairs: list[tuple[bytes, bytes]]) -> None:
    fields = Fields(pairs)
    for name, _ in pairs:
        wanted = [text for other, text in pairs if other.lower() == name.lower()]
        assert fields.all(name.lower()) == wanted
        assert fields.get(name.lower()) == wanted[0]


def test_heads_of_the_same_names_share_what_is_known_of_them() -> None:
    asked: list[Layout] = []

    def work_out(layout: Layout) -> int:
        asked.append(layout)
        return len(layout.names)

    known = by_layout(work_out)
    one, other = Fields(PAIRS), Fields([(name, b"another") for name, _ in PAIRS])
    assert known[one.layout] == known[other.layout] == len(PAIRS)
    assert len(asked) == 1
    assert known[Fields(PAIRS[::-1]).layout] == len(PAIRS)
    assert len(asked) == 2


def test_names_that_clients_make_up_fill_no_memory() -> None:
    known = by_layout(lambda layout: layout.size)
    for number in range(2 * MOST):
        assert known[Fields([(b"x-%d" % number, b"")]).layout] == len(b"x-%d" % number)
        assert len(known) <= MOST
    long = Fields([(b"x" * LONGEST, b"")])
    assert known[long.layout] == LONGEST
    assert long.layout not in known
    assert Fields(long.pairs).layout is not long.layout


def test_names_in_their_order_are_remembered_within_bounds() -> None:
    known = by_names(len)
    for number in range(2 * MOST):
        assert known[b"a", b"x-%d" % number] == 2
        assert len(known) <= MOST
    assert known[b"x" * LONGEST,] == 1
    assert (b"x" * LONGEST,) not in known


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (b"X_User.Id", True), (b"x-user", False), (b"x-user-id-2", False), (b"X-Team-", False), (b"x-team-a", True),
        (b"X__Team__A", True), (b"x-teams", False), (b"", False),
    ],
)  # fmt: skip
def test_a_name_is_found_by_itself_or_by_its_beginning(name: bytes, found: bool) -> None:
    assert matcher(["X-User-Id", "x-team-*"])(fold(name)) is found


def test_no_name_is_among_none() -> None:
    assert not matcher([])(b"")


def test_nominations_are_read_in_any_case_and_from_every_value() -> None:
    assert nominated([b"A,b ,, C", b"d\t"]) == {b"a", b"b", b"c", b"d", b""}


@pytest.mark.parametrize("value", sorted(ORDINARY))
def test_an_ordinary_value_of_connection_nominates_nothing(value: bytes) -> None:
    assert nominated([value]) == frozenset()


@pytest.mark.parametrize("name", [b"Host", b"cookie", b"authorization", b"x-api-key", b"content-length"])
def test_what_tells_who_asks_for_what_is_never_nominated(name: bytes) -> None:
    assert nominated([b"close, " + name]) == {b"close"}
