"""What one file may unfold into."""

import pytest

from aupgate.inspection.bounds import Allowance, ArchiveError, Bounds, shown

BOUNDS = Bounds(max_entries=3, max_total=10_000_000, max_ratio=10, max_depth=2)


@pytest.mark.parametrize(
    ("size", "most"),
    [(10, 1_000_000), (99_999, 1_000_000), (200_000, 2_000_000), (5_000_000, 10_000_000)],
    ids=["the free megabyte", "still free", "the ratio", "the total"],
)
def test_a_file_unfolds_up_to_the_ratio_and_the_total_and_no_byte_further(size: int, most: int) -> None:
    allowance = Allowance(BOUNDS, size)
    allowance.grow(most)
    with pytest.raises(ArchiveError, match=f"more than {most} bytes") as error:
        allowance.grow(1)
    assert error.value.kind == "bomb"


def test_entries_of_all_archives_count_together() -> None:
    allowance = Allowance(BOUNDS, 100)
    allowance.count(2)
    allowance.count(1)
    with pytest.raises(ArchiveError, match="more than 3 entries"):
        allowance.count(1)


def test_archives_nest_as_deep_as_the_bound() -> None:
    allowance = Allowance(BOUNDS, 100)
    allowance.descend(2)
    with pytest.raises(ArchiveError, match="more than 2 deep"):
        allowance.descend(3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.txt", "'a.txt'"), ("a\x1b[31m\n", r"'a\x1b[31m\n'"), ("x" * 200, "'" + "x" * 100 + "…'")],
    ids=["plain", "control characters", "long"],
)
def test_a_name_is_shown_so_that_it_can_be_printed(name: str, expected: str) -> None:
    assert shown(name) == expected
