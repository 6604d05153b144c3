"""What becomes of the header fields of responses, as policies declared it at start.

Which fields a response has is much the same from one to the next. So what is dropped and what is added is worked out
once for the names of a response, and costs one look-up afterwards.
"""

from collections.abc import Sequence
from typing import Final

from aupgate.enforcement import Enforcement
from aupgate.fields import by_names, fold, matcher
from aupgate.memory import Memory
from aupgate.model import Header, Mode, Request, ResponseEdits
from aupgate.policy import EditsResponses
from aupgate.values import value

REQUEST_ID: Final = b"x-request-id"

_ENFORCE: Final = Mode.ENFORCE


@value
class Plan:
    """What becomes of a response whose fields have certain names."""

    kept: tuple[bool, ...] | None
    """Of each field whether it stays; None when all do."""
    added: tuple[Header, ...]
    identified: bool
    """True when the application gave an id to its response."""


Plans = Memory[tuple[bytes, ...], Plan]


class ResponsePlans:
    """The plans for responses, by what is in force for the request."""

    def __init__(self, enforcements: Sequence[Enforcement]) -> None:
        self._editing = tuple(
            _Editing(each, edits)
            for each in enforcements
            if isinstance(each.policy, EditsResponses)
            and (edits := tuple(edit for edit in each.policy.response_edits() if each.may_enforce(edit.rule)))
        )
        self._by_edits: dict[tuple[ResponseEdits, ...], Plans] = {}
        """At most one for each set of edits that can be in force together."""
        self._none = self._plans(())
        self._only: Enforcement | None = None
        """Who edits, when it is one policy that exempts nobody."""
        if len(self._editing) == 1 and self._editing[0].enforcement.exempts is None:
            only = self._editing[0]
            self._only, self._secure, self._plain = only.enforcement, self._plans(only.secure), self._plans(only.plain)

    def of(self, request: Request) -> Plans:
        """Return the plans for responses to `request`, by the names of their fields."""
        if self._only is None:
            return self._plans(self._in_force(request)) if self._editing else self._none
        if self._only.mode(request) is not _ENFORCE:
            return self._none
        return self._secure if request.scheme == "https" and _is_secure(request) else self._plain

    def _in_force(self, request: Request) -> tuple[ResponseEdits, ...]:
        secure = _is_secure(request)
        edits: list[ResponseEdits] = []
        for each in self._editing:
            exempts = each.enforcement.exempts
            if (exempts is None or not exempts(request)) and each.enforcement.mode(request) is _ENFORCE:
                edits += each.secure if secure else each.plain
        return tuple(edits)

    def _plans(self, edits: tuple[ResponseEdits, ...]) -> Plans:
        plans = self._by_edits.get(edits)
        if plans is None:
            plans = self._by_edits[edits] = _planned(edits)
        return plans


class _Editing:
    """A policy that edits responses, and the edits that its rules may make: over https, and otherwise."""

    __slots__ = ("enforcement", "plain", "secure")

    def __init__(self, enforcement: Enforcement, edits: tuple[ResponseEdits, ...]) -> None:
        self.enforcement = enforcement
        self.secure = edits
        self.plain = tuple(each for each in edits if not each.secure)


def _planned(edits: Sequence[ResponseEdits]) -> Plans:
    tables = [(matcher(each.strip), matcher(each.keep)) for each in edits if each.strip]
    wanted = [pair for each in edits for pair in each.add]

    def plan(names: tuple[bytes, ...]) -> Plan:
        folded = [fold(name) for name in names]
        dropped = [any(strips(name) and not keeps(name) for strips, keeps in tables) for name in folded]
        present = {name.lower() for name, drop in zip(names, dropped, strict=True) if not drop}
        return Plan(
            tuple(not drop for drop in dropped) if any(dropped) else None,
            tuple(pair for pair in wanted if pair[0] not in present),
            REQUEST_ID in present,
        )

    return by_names(plan)


def _is_local(host: bytes) -> bool:
    """Tell whether `host` is the machine that somebody develops on, where every port is another application."""
    return host.partition(b":")[0].lower().endswith(b"localhost")


_local: Final = Memory(_is_local, longest=256)


def _is_secure(request: Request) -> bool:
    return request.scheme == "https" and not _local[request.fields.get(b"host") or b""]
