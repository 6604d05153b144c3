"""What Stockroom keeps: everything in memory, everything bounded, gone when the process ends."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any, Final, TypeVar

from starlette.requests import HTTPConnection

MIB: Final = 1024 * 1024
UPLOAD_BUDGET: Final = 64 * MIB
SMALLEST_CHARGE: Final = 64 * 1024
"""An upload counts as at least this many bytes, so that the budget bounds the number of empty ones too."""

K = TypeVar("K")
V = TypeVar("V")


class Shelf(dict[K, V]):
    """A mapping with a bound: `keep` drops the oldest values until the sum of what all of them weigh fits `limit`."""

    def __init__(self, limit: int, weigh: Callable[[V], int] = lambda _: 1) -> None:
        super().__init__()
        self._limit = limit
        self._weigh = weigh

    def keep(self, key: K, value: V) -> V:
        """Store `value` as the newest and return it. A value heavier than the whole limit is not kept."""
        self.pop(key, None)
        self[key] = value
        while sum(map(self._weigh, self.values())) > self._limit:
            del self[next(iter(self))]
        return value


@dataclass(frozen=True, slots=True)
class Item:
    """Something on the shelves."""

    id: str
    name: str
    quantity: int

    def summary(self) -> dict[str, Any]:
        """Return what the API tells of it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Message:
    """A message from one user to another."""

    id: str
    to: str
    subject: str
    body: str

    def summary(self) -> dict[str, Any]:
        """Return what the API tells of it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a user stored."""

    id: str
    name: str
    type: str
    sha256: str
    content: bytes | bytearray

    @property
    def charge(self) -> int:
        """What it takes of the budget, in bytes."""
        return max(len(self.content), SMALLEST_CHARGE)

    def summary(self) -> dict[str, Any]:
        """Return what the API tells of it."""
        return {
            "id": self.id,
            "name": self.name,
            "size": len(self.content),
            "sha256": self.sha256,
            "type": self.type,
        }


@dataclass(slots=True)
class Profile:
    """How a user appears to others."""

    display_name: str = "Demo User"
    about: str = ""


@dataclass(slots=True)
class Received:
    """Request bodies that reached the application: how many were announced, and the bytes that came."""

    requests: int = 0
    bytes: int = 0


@dataclass(slots=True)
class State:
    """All that one application keeps."""

    items: Shelf[str, Item] = field(default_factory=lambda: Shelf(500))
    messages: Shelf[str, Message] = field(default_factory=lambda: Shelf(200))
    uploads: Shelf[str, Upload] = field(default_factory=lambda: Shelf(UPLOAD_BUDGET, lambda upload: upload.charge))
    sessions: Shelf[str, str] = field(default_factory=lambda: Shelf(1000))
    profile: Profile = field(default_factory=Profile)
    received: Received = field(default_factory=Received)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def next_id(self) -> str:
        """Return an id that was not used before."""
        return str(next(self._numbers))


def stocked() -> State:
    """Return the state of a fresh application, with a few items to look at."""
    state = State()
    for name, quantity in (("Cedar board", 12), ("Brass hinge", 240), ("Linen thread", 36)):
        item = Item(state.next_id(), name, quantity)
        state.items.keep(item.id, item)
    return state


def state_of(connection: HTTPConnection) -> State:
    """Return the state of the application that serves `connection`."""
    state: State = connection.app.state.stockroom
    return state
