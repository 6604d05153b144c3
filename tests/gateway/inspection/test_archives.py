"""Members of archives, whatever the archive."""

import bz2
import lzma
from concurrent.futures import ThreadPoolExecutor

import pytest

from aupgate.errors import SpoolError
from aupgate.inspection.archives import is_stream, members, opens, zip_content_type
from aupgate.inspection.bounds import Allowance, ArchiveError, Bounds
from aupgate.inspection.spool import SpoolFactory
from tests.gateway.inspection.files import gzipped, noise, office, spooled, tarred, zipped

FILES = {"a.txt": b"first", "sub/b.bin": noise(200_000)}

ARCHIVES = {
    "ZIP": ("application/zip", zipped({**FILES, "empty": b""}), FILES),
    "tar": ("application/x-tar", tarred({**FILES, "empty": b""}), FILES),
    "gzip": ("application/gzip", gzipped(FILES["a.txt"]), {"": b"first"}),
    "bzip2": ("application/x-bzip2", bz2.compress(FILES["a.txt"]), {"": b"first"}),
    "xz": ("application/x-xz", lzma.compress(FILES["a.txt"]), {"": b"first"}),
}


@pytest.mark.parametrize(("type_", "data", "expected"), ARCHIVES.values(), ids=ARCHIVES.keys())
def test_every_member_with_content_is_yielded(type_: str, data: bytes, expected: dict[str, bytes]) -> None:
    found = {}
    with spooled(data) as content:
        for member in members(content, type_, Allowance(Bounds(), len(data))):
            assert member.content is not None
            with member.content as inner:
                found[member.name] = inner.read(0, inner.size)
    assert {name: data for name, data in found.items() if data} == expected


@pytest.mark.parametrize("type_", ["application/zip", "application/x-tar"])
def test_members_are_found_by_a_walk_that_changes_threads(type_: str) -> None:
    data = ARCHIVES["ZIP" if type_ == "application/zip" else "tar"][1]
    with spooled(data) as content, ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        walk = members(content, type_, Allowance(Bounds(), len(data)))
        found = [executor.submit(next, walk).result() for executor in (one, other)]
    for member in found:
        assert member.content is not None
        member.content.close()
    assert sorted(member.name for member in found) == sorted(FILES)


def test_a_damaged_member_gives_its_room_back() -> None:
    data = zipped({"a": noise(1000)}, 0)
    factory = SpoolFactory()
    with factory.open() as content:
        content.write(data[:100] + b"!" + data[101:])
        with pytest.raises(ArchiveError, match="damaged"):
            list(members(content, "application/zip", Allowance(Bounds(), len(data))))
        assert factory.budget.used == len(data)


def test_members_share_the_budget_of_the_body_they_are_in() -> None:
    factory = SpoolFactory(budget=200_000)
    with factory.open() as content:
        content.write(zipped({"a": bytes(500_000)}))
        with pytest.raises(SpoolError):
            list(members(content, "application/zip", Allowance(Bounds(), content.size)))
        assert factory.budget.used == content.size


def test_a_tar_with_one_giant_sparse_size_is_bounded_by_its_own_length() -> None:
    with spooled(tarred({"a": bytes(2_000_000)})) as content, pytest.raises(ArchiveError, match="unfolds"):
        list(members(content, "application/x-tar", Allowance(Bounds(max_total=1_000_000), content.size)))


@pytest.mark.parametrize(
    ("type_", "openable", "stream"),
    [
        ("application/zip", True, False),
        ("application/x-tar", True, False),
        ("application/gzip", True, True),
        ("application/vnd.rar", False, False),
        ("application/zstd", False, False),
        ("image/png", False, False),
    ],
)
def test_it_is_known_what_can_be_opened(type_: str, openable: bool, stream: bool) -> None:
    assert opens(type_) is openable
    assert is_stream(type_) is stream


def test_a_zip_is_described_by_its_entries_unless_it_is_unsound() -> None:
    with spooled(office("xl/workbook.xml")) as content:
        assert zip_content_type(content, Bounds()).endswith("spreadsheetml.sheet")
    with spooled(office()[:-5]) as content:
        assert zip_content_type(content, Bounds()) == ""
