"""A bounded memory of what was worked out: for what clients send again and again, and could send in any variety."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")

MOST: Final = 4096
"""Keys that a memory holds at most, unless it says otherwise."""


class Memory(dict[K, V]):
    """What `work_out` makes of keys, on first sight: `memory[key]` is then one look-up.

    It holds at most `most` keys for which `size` is at most `longest`, and starts afresh when full: so clients, who
    choose the keys, decide neither how much it holds nor that it holds theirs for ever.
    """

    def __init__(
        self, work_out: Callable[[K], V], *, longest: int, size: Callable[[Any], int] = len, most: int = MOST
    ) -> None:
        super().__init__()
        self._work_out = work_out
        self._longest = longest
        self._size = size
        self._most = most

    def __missing__(self, key: K) -> V:
        found = self._work_out(key)
        if self._size(key) <= self._longest:
            if len(self) >= self._most:
                self.clear()
            self[key] = found
        return found
