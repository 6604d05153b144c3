"""What a scanner is: it looks at one content as a whole and says what it knows of it."""

from enum import StrEnum
from typing import Protocol

from aupgate.inspection.spool import Spool
from aupgate.values import value


class Answer(StrEnum):
    """What a scanner found. Only `clean` says that it looked at everything and knows nothing bad."""

    CLEAN = "clean"
    INFECTED = "infected"
    ENCRYPTED = "encrypted"
    """It could not look inside, because the content is encrypted."""
    LIMITS = "limits"
    """It gave up, because the content unfolds beyond its own limits."""
    ERROR = "error"
    """It did not answer, or not in time, or nothing that it should."""


@value
class ScanResult:
    """A scanner's answer."""

    scanner: str
    answer: Answer
    signature: str = ""
    """What it recognised, in the scanner's own words."""
    reason: str = ""
    """Private: why there is no answer."""


class Scanner(Protocol):
    """Looks for malware."""

    @property
    def name(self) -> str:
        """How the configuration calls it."""

    async def scan(self, content: Spool) -> ScanResult:
        """Scan `content`, which stays open meanwhile. A scanner that is away is an answer, and raises nothing."""

    def close(self) -> None:
        """Free what the scanner holds."""
