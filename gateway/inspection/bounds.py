"""The bounds of file inspection, and the count of what one uploaded file may still unfold into."""

from typing import Final

from aupgate.values import value

FREE: Final = 1_000_000
"""Bytes that an archive may unfold into before the ratio counts: small files compress a thousandfold at times."""


@value
class Bounds:
    """What inspection accepts at most. Sizes in bytes."""

    max_parts: int = 1000
    """Parts of one multipart body."""
    max_entries: int = 10_000
    """Entries of all archives in one uploaded file."""
    max_total: int = 200_000_000
    """Bytes that all archives in one uploaded file unfold into."""
    max_ratio: int = 100
    """Times the uploaded file's size that it may unfold into, once that is more than a megabyte."""
    max_depth: int = 3
    """Archives inside one another."""


class ArchiveError(Exception):
    """An archive is not sound: `kind` is the rule that it breaks, `detail` says why in words for the uploader."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


def corrupt(detail: str) -> ArchiveError:
    """Return the error for an archive that is damaged, or that two programs could read differently."""
    return ArchiveError("corrupt", detail)


def bomb(detail: str) -> ArchiveError:
    """Return the error for an archive that unfolds beyond a bound."""
    return ArchiveError("bomb", detail)


class Allowance:
    """What one uploaded file, with all archives in it, may still unfold into."""

    def __init__(self, bounds: Bounds, size: int) -> None:
        self._bounds = bounds
        self._most = min(bounds.max_total, max(FREE, bounds.max_ratio * size))
        self._entries = 0
        self._total = 0

    def descend(self, depth: int) -> None:
        """Enter an archive at `depth`, 1 for the uploaded file itself. Raises `ArchiveError` beyond the bound."""
        if depth > self._bounds.max_depth:
            raise bomb(f"archives are nested more than {self._bounds.max_depth} deep")

    def count(self, entries: int) -> None:
        """Count entries. Raises `ArchiveError` beyond the bound."""
        self._entries += entries
        if self._entries > self._bounds.max_entries:
            raise bomb(f"the archive has more than {self._bounds.max_entries} entries")

    def grow(self, size: int) -> None:
        """Count unfolded bytes. Raises `ArchiveError` beyond the total or the ratio."""
        self._total += size
        if self._total > self._most:
            raise bomb(f"the archive unfolds into more than {self._most} bytes")


_SHOWN: Final = 100


def shown(name: str) -> str:
    """Return a name in quotation marks, fit for a sentence: shortened, and without unprintable characters."""
    return repr(name if len(name) <= _SHOWN else name[:_SHOWN] + "…")
