"""Passive health of one upstream: what its exchanges tell of it, without an I/O of its own.

After some failures in a row the upstream is ejected: requests prefer others until its pause is over. Then one request
tries it. A success, also that of an exchange from before, restores it; without one the next pause is twice as long.

A failure is an upstream without a usable response: no connection, none that lasted until a response, none in time, or
one that is no HTTP/1.1. A 5xx is a response: whether an application may fail is its own business.
"""

import logging
from typing import Final

from aupgate.proxy.errors import UpstreamError

EJECT_AFTER: Final = 3
"""Failures in a row."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds for which an upstream is ejected: at first, and at most."""

_log = logging.getLogger("aupgate.proxy")


class Health:
    """Counts the failures of the upstream at `url`, and says when it may be used."""

    __slots__ = ("_pause", "back_at", "failing", "failures", "url")

    def __init__(self, url: str) -> None:
        self.url = url
        self.failures = 0
        """Failures ever."""
        self.failing = 0
        """Failures since the last success; while there are any, a success is to be reported."""
        self.back_at = 0.0
        """The loop's time at which an ejected upstream may be tried; 0 when it is not ejected."""
        self._pause = FIRST_PAUSE

    @property
    def up(self) -> bool:
        """False while the upstream is ejected, or being tried."""
        return not self.back_at

    def failed(self, now: float, error: UpstreamError) -> None:
        """Count a failure. It makes no pause longer: many exchanges may fail at the same time."""
        self.failures += 1
        self.failing += 1
        if self.up and self.failing >= EJECT_AFTER:
            self.back_at = now + self._pause
            _log.warning('upstream "%s" is down after %d failures in a row: %s', self.url, self.failing, error)

    def succeeded(self) -> None:
        """Restore the upstream. To be called when it gave a response while `failing`."""
        if not self.up:
            _log.info('upstream "%s" is up again', self.url)
        self.failing = 0
        self.back_at = 0.0
        self._pause = FIRST_PAUSE

    def tried(self, now: float) -> None:
        """Note that a request is about to try an ejected upstream whose pause is over.

        The next pause begins here and not with the failure: who tries may also be held for long, or go away.
        """
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self.back_at = now + self._pause
