"""Names of header fields: how servers fold them, and a bounded memory of what a name means to a policy."""

import re
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_SEPARATORS: Final = re.compile(rb"[^a-z0-9]+")


def fold(name: bytes) -> bytes:
    """Return what every spelling of `name` has in common that some server takes for the same field.

    Lower case, with each run of anything but letters and digits as one `-`, and none at the ends: CGI, WSGI and their
    kin turn `-` into `_`, PHP also `.` and space, old gateways every other sign, so that `X_Forwarded.For` arrives as
    `X-Forwarded-For`.
    """
    return _SEPARATORS.sub(b"-", name.lower()).strip(b"-")


class FieldNames(dict[bytes, T]):
    """What names of header fields mean, worked out by `classify` on first sight: `names[name]` is then one look-up.

    Holds at most 4,096 names of at most 64 bytes and starts afresh when full; clients choose names.
    """

    MAX_NAMES: Final = 4096
    MAX_LENGTH: Final = 64

    def __init__(self, classify: Callable[[bytes], T]) -> None:
        super().__init__()
        self._classify = classify

    def __missing__(self, name: bytes) -> T:
        meaning = self._classify(name)
        if len(name) <= self.MAX_LENGTH:
            if len(self) >= self.MAX_NAMES:
                self.clear()
            self[name] = meaning
        return meaning
