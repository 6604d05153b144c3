"""How one policy is enforced: its modes, whom it exempts, and what becomes of a request when it fails."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from aupgate.model import Mode, OnError, Request, Rule
from aupgate.policy import Policy

Exempts = Callable[[Request], bool]

WHOLE: Final = 10_000
"""A share is counted in hundredths of a per cent."""


_ENFORCE: Final = Mode.ENFORCE


def _any_of(exempt: Sequence[Exempts]) -> Exempts | None:
    return (lambda request: any(exempts(request) for exempts in exempt)) if exempt else None


class Switch:
    """The runtime switch that drops every policy to observe at once, and back."""

    __slots__ = ("observe",)

    def __init__(self) -> None:
        self.observe = False


class Enforcement:
    """One policy with everything the operator decided about it.

    `ceiling` is the weaker of the global mode and the policy's own; a rule may be weaker still, never stronger. With a
    `share` below 100 per cent only that stable part of the clients is enforced upon and the rest observed.
    """

    def __init__(  # noqa: PLR0913 - the decisions an operator makes about one policy
        self,
        policy: Policy,
        *,
        ceiling: Mode = Mode.ENFORCE,
        rules: Mapping[str, Mode] | None = None,
        share: float = 100.0,
        exempt: Sequence[Exempts] = (),
        on_error: OnError = OnError.ALLOW,
        switch: Switch | None = None,
    ) -> None:
        self.policy = policy
        self.name = policy.name
        self.on_error = on_error
        self._ceiling = ceiling
        self._share = round(share * WHOLE / 100)
        self._whole = self._share == WHOLE
        self.exempts = _any_of(exempt)
        """Tells whether the operator exempted a request from the policy; None when nobody is."""
        self._switch = switch or Switch()
        self._rules = {rule.name: rule for rule in policy.rules}
        self._weaker = {
            f"{policy.name}.{name}": Mode.weakest(mode, ceiling)
            for name, mode in (rules or {}).items()
            if mode is not ceiling
        }
        self.uniform = not self._weaker and self._whole
        """True when every rule has the policy's own mode for every client."""

    def mode(self, request: Request) -> Mode:
        """Return the mode of the policy as a whole for `request`."""
        if self._ceiling is _ENFORCE and (self._switch.observe or not (self._whole or self._in_share(request))):
            return Mode.OBSERVE
        return self._ceiling

    def mode_of(self, rule: str, request: Request) -> Mode:
        """Return the mode of `rule` (`policy.rule`) for `request`: the weakest of all that bear on it."""
        return Mode.weakest(self._weaker.get(rule, self._ceiling), self.mode(request))

    def may_enforce(self, rule: str) -> bool:
        """Tell whether `rule` is enforced for those for whom the policy as a whole is."""
        return self._weaker.get(rule, self._ceiling) is _ENFORCE

    def rule(self, name: str) -> Rule:
        """Return the rule called `name`; a rule that the policy did not declare is a fault of the policy."""
        return self._rules[name]

    def _in_share(self, request: Request) -> bool:
        digest = blake2b(f"{self.name}:{request.client.network}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) % WHOLE < self._share
