"""Compressed streams: whole ones unfold, everything else is told, and nothing unfolds beyond the allowance."""

import bz2
import gzip
import lzma
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aupgate.inspection.bounds import Allowance, ArchiveError, Bounds
from aupgate.inspection.decoding import STREAMS, decode_stream
from tests.gateway.inspection.files import noise, spooled

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "application/gzip": gzip.compress,
    "application/x-bzip2": bz2.compress,
    "application/x-xz": lzma.compress,
}


def unfold(data: bytes, type_: str, bounds: Bounds | None = None) -> bytes:
    with spooled(data) as content:
        return b"".join(decode_stream(content, type_, Allowance(bounds or Bounds(), len(data))))


@given(st.binary(max_size=300), st.sampled_from(sorted(STREAMS)))
@settings(deadline=None)
def test_what_was_compressed_comes_out(data: bytes, type_: str) -> None:
    assert unfold(COMPRESS[type_](data), type_) == data


@pytest.mark.parametrize("type_", sorted(STREAMS))
def test_a_large_stream_comes_out_in_pieces(type_: str) -> None:
    data = noise(300_000)
    with spooled(COMPRESS[type_](data)) as content:
        pieces = list(decode_stream(content, type_, Allowance(Bounds(), content.size)))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 65536


@pytest.mark.parametrize("type_", sorted(STREAMS))
@pytest.mark.parametrize(
    "padding", [b"", bytes(512), bytes(70_000)], ids=["bare", "a block", "more than is read at once"]
)
def test_several_streams_and_padding_of_zeros_pass_as_programs_read_them(type_: str, padding: bytes) -> None:
    assert unfold(COMPRESS[type_](b"one") + COMPRESS[type_](b"two") + padding, type_) == b"onetwo"


@pytest.mark.parametrize("type_", sorted(STREAMS))
def test_a_stream_cut_anywhere_is_told(type_: str) -> None:
    data = COMPRESS[type_](noise(200))
    for end in range(len(data)):
        with pytest.raises(ArchiveError) as error:
            unfold(data[:end], type_)
        assert error.value.kind == "corrupt"


@pytest.mark.parametrize("type_", sorted(STREAMS))
def test_damage_and_data_behind_the_end_are_told(type_: str) -> None:
    data = COMPRESS[type_](noise(200))
    flipped = data[:60] + bytes([data[60] ^ 0xFF]) + data[61:]
    with pytest.raises(ArchiveError, match="damaged"):
        unfold(flipped, type_)
    with pytest.raises(ArchiveError, match="behind the end"):
        unfold(data + b"something else", type_)


@pytest.mark.parametrize("type_", sorted(STREAMS))
def test_a_bomb_ends_at_the_ratio(type_: str) -> None:
    with pytest.raises(ArchiveError, match="unfolds into more than") as error:
        unfold(COMPRESS[type_](bytes(30_000_000)), type_)
    assert error.value.kind == "bomb"


def test_streams_one_behind_the_other_are_read_to_the_last_one_across_pieces() -> None:
    many = [bytes([number]) * 1000 + noise(1000, number) for number in range(150)]
    assert unfold(b"".join(map(gzip.compress, many)), "application/gzip") == b"".join(many)


def test_nothing_hides_behind_streams_that_end_where_a_piece_does() -> None:
    first = gzip.compress(noise(70_000))
    second = gzip.compress(b"", 0)
    name = 2 * 65_536 - len(first) - len(second) - 1  # a file name in the header fills the second piece to its end
    second = second[:3] + b"\x08" + second[4:10] + b"n" * name + b"\x00" + second[10:]
    assert unfold(first + second + gzip.compress(b"last"), "application/gzip") == noise(70_000) + b"last"


def test_countless_empty_streams_are_a_bomb() -> None:
    with pytest.raises(ArchiveError, match="entries"):
        unfold(gzip.compress(b"") * 20_000, "application/gzip")


def test_a_stream_that_needs_too_much_memory_is_a_bomb() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**28}]
    with pytest.raises(ArchiveError, match="memory"):
        unfold(lzma.compress(b"x" * 100, filters=filters), "application/x-xz")
    assert unfold(lzma.compress(b"x" * 100, preset=9), "application/x-xz") == b"x" * 100
