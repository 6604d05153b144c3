"""The spool: what goes in comes out, in memory or on disk, within the budget."""

import hashlib
import io
import os
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.errors import SpoolError
from aupgate.inspection.spool import Spool, SpoolFactory


@given(st.lists(st.binary(max_size=50)), st.integers(0, 60))
def test_what_was_written_is_read_whatever_the_pieces_and_the_threshold(pieces: list[bytes], memory: int) -> None:
    whole = b"".join(pieces)
    with SpoolFactory(memory=memory).open() as spool:
        for piece in pieces:
            spool.write(piece)
        assert spool.size == len(whole)
        assert spool.sha256 == hashlib.sha256(whole).hexdigest()
        assert spool.on_disk == (len(whole) > memory)
        assert spool.open().read() == b"".join(spool.chunks()) == spool.read(0, 10_000) == whole


@pytest.mark.parametrize("memory", [10_000_000, 0], ids=["in memory", "on disk"])
def test_readers_are_independent_of_each_other(memory: int) -> None:
    with SpoolFactory(memory=memory).open() as spool:
        spool.write(b"0123456789" * 20_000)
        first, second = spool.open(), spool.open()
        assert first.read(5) == b"01234"
        assert second.read(3) == b"012"
        assert first.seek(-4, os.SEEK_END) == 199_996
        assert first.read() == b"6789"
        assert second.seek(7, os.SEEK_CUR) == 10
        assert second.read(2) == b"01"
        with pytest.raises(ValueError, match="seek"):
            second.seek(-1)


def test_a_reader_of_a_file_reads_lines() -> None:
    with SpoolFactory(memory=0).open() as spool:
        spool.write(b"one\ntwo\n")
        assert list(io.TextIOWrapper(spool.open())) == ["one\n", "two\n"]


def test_the_body_is_replayed_in_pieces_of_64_kib() -> None:
    with SpoolFactory().open() as spool:
        spool.write(bytes(150_000))
        assert [len(piece) for piece in spool.chunks()] == [65536, 65536, 18928]


def test_nothing_with_a_name_is_left_in_the_directory(tmp_path: Path) -> None:
    with SpoolFactory(tmp_path, memory=0).open() as spool:
        spool.write(b"secret")
        assert list(tmp_path.iterdir()) == []
        assert os.pread(spool.fileno(), 10, 0) == b"secret"


def test_a_body_in_memory_moves_to_a_file_when_its_descriptor_is_asked_for() -> None:
    with SpoolFactory().open() as spool:
        spool.write(b"small")
        before = spool.on_disk
        assert os.pread(spool.fileno(), 10, 0) == b"small"
        assert (before, spool.on_disk) == (False, True)
        assert spool.read(0, 10) == b"small"


def test_all_spools_share_one_budget_and_closing_gives_back() -> None:
    factory = SpoolFactory(memory=4, budget=10)
    first, second = factory.open(), factory.open()
    first.write(b"12345")
    second.write(b"1234")
    with pytest.raises(SpoolError, match="budget of 10 bytes"):
        second.write(b"12")
    assert factory.budget.used == 9
    first.close()
    first.close()
    assert factory.budget.used == 4
    second.write(b"12")
    second.close()
    assert factory.budget.used == 0


def test_a_full_disk_is_a_spool_error_and_what_was_charged_is_given_back() -> None:
    factory = SpoolFactory(memory=0)
    full = factory.open()
    with open("/dev/full", "wb", buffering=0) as device:  # noqa: PTH123 - a device
        full._file = device
        with pytest.raises(SpoolError, match="No space left"):
            full.write(b"data")
        full.close()
    assert factory.budget.used == 0


def test_a_missing_directory_is_a_spool_error(tmp_path: Path) -> None:
    factory = SpoolFactory(tmp_path / "none", memory=2)
    with factory.open() as spool, pytest.raises(SpoolError, match="directory"):
        spool.write(b"abc")
    assert factory.budget.used == 0


def test_a_closed_spool_takes_no_more_and_tells_no_hash_of_nothing() -> None:
    spool = Spool(SpoolFactory())
    spool.write(b"x")
    spool.close()
    with pytest.raises(ValueError, match="closed"):
        spool.write(b"x")
    with pytest.raises(ValueError, match="closed"):
        _ = spool.sha256


def test_a_body_in_one_piece_is_not_copied() -> None:
    piece = b"0123456789"
    with SpoolFactory().open() as spool:
        spool.write(piece)
        assert spool.read(0, 100) is piece


def test_what_a_writer_does_with_its_buffer_later_changes_nothing() -> None:
    buffer = bytearray(b"0123")
    with SpoolFactory().open() as spool:
        spool.write(cast("bytes", buffer))
        buffer[0:4] = b"abcd"
        assert spool.read(0, 4) == b"0123"
