"""Names of header fields: how they are folded, and the bounded memory of what they mean."""

import pytest

from aupgate.fields import FieldNames, fold


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


def test_a_name_is_classified_once() -> None:
    asked: list[bytes] = []

    def classify(name: bytes) -> int:
        asked.append(name)
        return len(name)

    names = FieldNames(classify)
    assert [names[b"host"], names[b"host"], names[b"accept"]] == [4, 4, 6]
    assert asked == [b"host", b"accept"]


def test_names_that_clients_make_up_do_not_fill_the_memory() -> None:
    names = FieldNames(len)
    for number in range(3 * names.MAX_NAMES):
        assert names[b"x-%d" % number] == len(b"x-%d" % number)
        assert len(names) <= names.MAX_NAMES


def test_a_long_name_is_classified_and_not_remembered() -> None:
    names = FieldNames(len)
    assert names[b"x" * 10_000] == 10_000
    assert len(names) == 0
