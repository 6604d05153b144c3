"""The spool: whole bodies, and the files in them, held in memory while small and in unlinked temporary files beyond."""

import io
import os
import tempfile
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from aupgate.errors import SpoolError

if TYPE_CHECKING:
    from hashlib import _Hash

MEMORY: Final = 64 * 1024
"""Bytes of one body that are held in memory unless configured."""

BUDGET: Final = 2 * 1024**3
"""Bytes of all live spools together, in memory and on disk, unless configured."""

CHUNK: Final = 64 * 1024
"""Bytes that are read or replayed at a time."""


class SpoolBudget:
    """What all live spools together may hold. It may be shared by threads."""

    def __init__(self, limit: int = BUDGET) -> None:
        self.limit = limit
        self._used = 0
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes held now."""
        return self._used

    def take(self, size: int) -> None:
        """Charge `size` bytes. Raises `SpoolError` when they do not fit; then nothing is charged."""
        with self._lock:
            if self._used + size > self.limit:
                raise SpoolError(
                    f"the spool's budget of {self.limit} bytes is used up, raise spool.budget or send less"
                )
            self._used += size

    def free(self, size: int) -> None:
        """Give back `size` bytes."""
        with self._lock:
            self._used -= size


class SpoolFactory:
    """Opens spools in one directory (the system's for temporary files when None) on one budget of bytes."""

    def __init__(self, directory: Path | None = None, memory: int = MEMORY, budget: int = BUDGET) -> None:
        self.directory = directory
        self.memory = memory
        self.budget = SpoolBudget(budget)

    def open(self) -> "Spool":
        """Return a new, empty spool."""
        return Spool(self)


class Spool:
    """A body: its bytes, their number and their SHA-256.

    One writer fills it; after that any number of readers may read it at once, also in threads. Closing it gives its
    room back.
    """

    __slots__ = ("_closed", "_file", "_hash", "_memory", "factory", "size")

    def __init__(self, factory: SpoolFactory) -> None:
        self.factory = factory
        """Opens more spools of the same kind, as for the parts of this body."""
        self.size = 0
        self._memory: bytes | bytearray = b""
        self._file: BinaryIO | None = None
        self._hash: _Hash | None = None  # of what is on disk; what is in memory is hashed when somebody asks
        self._closed = False

    def write(self, chunk: bytes) -> None:
        """Append `chunk`. Raises `SpoolError` when the budget or the disk has no room for it."""
        if self._closed:
            raise ValueError("the spool is closed, open a new one")
        self.factory.budget.take(len(chunk))
        self.size += len(chunk)
        if self._file is not None:
            self._append(self._file, chunk)
            return
        if self._memory:
            if isinstance(self._memory, bytes):
                self._memory = bytearray(self._memory)
            self._memory += chunk
        else:
            self._memory = bytes(chunk)  # no copy: most bodies come in one piece
        if self.size > self.factory.memory:
            self._spill()

    def _append(self, file: BinaryIO, chunk: bytes) -> None:
        if self._hash is not None:
            self._hash.update(chunk)
        _write(file, chunk)

    def _spill(self) -> BinaryIO:
        """Move what is in memory to a file that has no name, so that it ends with the process whatever happens."""
        try:
            file = tempfile.TemporaryFile(dir=self.factory.directory, buffering=0)  # noqa: SIM115 - lives as long as this
        except OSError as error:
            raise SpoolError(f"no file can be made in the spool's directory: {error.strerror}") from error
        self._file, self._hash = file, sha256()
        self._append(file, bytes(self._memory))
        self._memory = b""
        return file

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes written so far, in hexadecimal. Raises `ValueError` once the spool is closed."""
        if self._closed:
            raise ValueError("the spool is closed, ask it for its SHA-256 before")
        return (self._hash or sha256(self._memory)).hexdigest()

    @property
    def on_disk(self) -> bool:
        """True when the bytes are in a file."""
        return self._file is not None

    def fileno(self) -> int:
        """Return the descriptor of a file that holds the bytes; a spool in memory is moved to one first.

        The descriptor belongs to the spool, and its file offset means nothing: read with `os.pread`, or map it. Raises
        `SpoolError` when the disk has no room.
        """
        return (self._file or self._spill()).fileno()

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`: fewer only at the end."""
        if self._file is None:
            data = self._memory[offset : offset + length]  # of bytes as a whole, no copy
            return data if isinstance(data, bytes) else bytes(data)
        return os.pread(self._file.fileno(), length, offset)

    def open(self) -> BinaryIO:
        """Return a new reader at the start. Readers are independent of each other."""
        if self._file is None:
            return io.BytesIO(self._memory)
        return io.BufferedReader(_Reader(self), CHUNK)

    def chunks(self, offset: int = 0) -> Iterator[bytes]:
        """Yield the bytes from `offset` on, 64 KiB at a time."""
        while chunk := self.read(offset, CHUNK):
            yield chunk
            offset += len(chunk)

    def close(self) -> None:
        """Free memory, disk and budget. Closing twice is harmless."""
        if self._closed:
            return
        self._closed = True
        self.factory.budget.free(self.size)
        self._memory = b""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _write(file: BinaryIO, data: bytes) -> None:
    """Write all of `data`: an unbuffered file may take only a part of it when the disk fills up."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise SpoolError(f"the spool's disk refused a write: {error.strerror}") from error


class _Reader(io.RawIOBase):
    """Reads a spool at an offset of its own."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._offset = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview[int]") -> int:  # type: ignore[override] # narrower than Buffer
        data = self._spool.read(self._offset, len(buffer))
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: self._spool.size}[whence]
        if base + offset < 0:
            raise ValueError(f"seek before the start, to {base + offset}")
        self._offset = base + offset
        return self._offset
