"""Decompression in pieces of bounded size that must end exactly where the data does."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final, Protocol

from aupgate.inspection.bounds import Allowance, bomb, corrupt
from aupgate.inspection.spool import CHUNK, Spool

_XZ_MEMORY: Final = 72 * 1024 * 1024
"""Bytes of memory for one xz stream: what `xz -9` needs, its highest preset."""

_LZMA_DICTIONARY: Final = 64 * 1024 * 1024
"""Bytes of memory for the dictionary of one bare LZMA stream: that of the highest preset."""

_DECODING_ERRORS: Final = (zlib.error, lzma.LZMAError, OSError, EOFError)


class Decoder(Protocol):
    """A decompressor as `bz2` and `lzma` have it."""

    @property
    def eof(self) -> bool:
        """True once the stream's end was decoded."""

    @property
    def needs_input(self) -> bool:
        """True when more output needs more input."""

    @property
    def unused_data(self) -> bytes:
        """What came behind the stream's end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take `data` and return at most `max_length` bytes."""


class Inflate:
    """`zlib` with the interface of the other two."""

    def __init__(self, window: int) -> None:
        self._inner = zlib.decompressobj(window)

    @property
    def eof(self) -> bool:
        """True once the stream's end was decoded."""
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        """True when more output needs more input."""
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        """What came behind the stream's end."""
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take `data` and return at most `max_length` bytes."""
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


class Lzma:
    """A bare LZMA stream with the interface of the others. It ends at `size` bytes, or when `marked` at its end mark.

    `properties` are the five bytes of the `.lzma` format: one for three numbers, four for the dictionary's size. Raises
    `ArchiveError` when there are no such properties, or when they ask for too much memory.
    """

    def __init__(self, properties: bytes, size: int, *, marked: bool) -> None:
        self._inner = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[_lzma_filter(properties, size)])
        self._left = size
        self._marked = marked

    @property
    def eof(self) -> bool:
        """True once the stream's end was decoded."""
        return self._inner.eof or (not self._marked and self._left <= 0)

    @property
    def needs_input(self) -> bool:
        """True when more output needs more input."""
        return self._inner.needs_input

    @property
    def unused_data(self) -> bytes:
        """What came behind the stream's end mark."""
        return self._inner.unused_data if self._inner.eof else b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take `data` and return at most `max_length` bytes."""
        output = self._inner.decompress(data, max_length if self._marked else min(max_length, self._left))
        self._left -= len(output)
        return output


def _lzma_filter(properties: bytes, size: int) -> dict[str, int]:
    if len(properties) != 5 or properties[0] >= 9 * 5 * 5:
        raise corrupt("the compressed data is damaged")
    # A dictionary larger than what comes out is never used; liblzma would take the memory nevertheless.
    dictionary = max(4096, min(int.from_bytes(properties[1:], "little"), size))
    if dictionary > _LZMA_DICTIONARY:
        raise bomb("the compressed data needs too much memory to unfold")
    rest, context = divmod(properties[0], 9)
    position, literal = divmod(rest, 5)
    if context + literal > 4:
        raise corrupt("the compressed data has properties that no program writes")
    return {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": context, "lp": literal, "pb": position}


def xz_decoder() -> Decoder:
    """Return a decoder of xz that takes a bounded amount of memory."""
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)


def decode(pieces: Iterator[bytes], decoder: Decoder, allowance: Allowance) -> Iterator[bytes]:
    """Yield what `decoder` makes of `pieces`, counted on `allowance`, until the stream ends.

    Raises `ArchiveError` when the data is damaged or breaks off, or unfolds beyond the allowance. `pieces` is left
    behind the one with the stream's end; what that holds beyond is the decoder's `unused_data`.
    """
    data = b""
    while not decoder.eof:
        if decoder.needs_input:
            data = next(pieces, b"")
            if not data:
                raise corrupt("the compressed data breaks off")
        output = _step(decoder, data)
        data = b""
        allowance.grow(len(output))
        if output:
            yield output


def _step(decoder: Decoder, data: bytes) -> bytes:
    try:
        return decoder.decompress(data, CHUNK)
    except MemoryError as error:
        raise bomb("the compressed data needs too much memory to unfold") from error
    except _DECODING_ERRORS as error:
        if "emory" in str(error):  # liblzma's answer when its limit is too low
            raise bomb("the compressed data needs too much memory to unfold") from error
        raise corrupt("the compressed data is damaged") from error


_MAKERS: Final[dict[str, tuple[bytes, Callable[[], Decoder]]]] = {
    "application/gzip": (b"\x1f\x8b\x08", lambda: Inflate(31)),
    "application/x-bzip2": (b"BZh", bz2.BZ2Decompressor),
    "application/x-xz": (b"\xfd7zXZ\x00", xz_decoder),
}

STREAMS: Final = frozenset(_MAKERS)
"""Media types of compressed streams that can be unfolded."""


def decode_stream(content: Spool, type_: str, allowance: Allowance) -> Iterator[bytes]:
    """Yield what `content` holds; several streams one behind the other are read as one, as programs do.

    Raises `ArchiveError` when it is damaged, breaks off, has something else behind its end, or unfolds beyond the
    allowance.
    """
    magic, make = _MAKERS[type_]
    pieces, rest = content.chunks(), b""
    while True:
        decoder = make()
        # No generator with `yield from`: dropped at the stream's end, it would close `pieces`, and hide what follows.
        yield from decode(chain([rest] if rest else [], pieces), decoder, allowance)
        rest = _next_stream(decoder.unused_data, pieces)
        if not rest:
            return
        if not rest.startswith(magic):
            raise corrupt("there is data behind the end of the compressed data")
        # A stream may be empty, and costs a decoder: they are counted like the entries of an archive.
        allowance.count(1)


def _next_stream(rest: bytes, pieces: Iterator[bytes]) -> bytes:
    """Return what stands behind a stream, without the zeros that tapes and block devices pad with."""
    rest = rest.lstrip(b"\x00")
    while len(rest) < 6 and (piece := next(pieces, b"")):
        rest = (rest + piece).lstrip(b"\x00")
    return rest
