"""What becomes of a request when a policy fails: a finding like any other, and never a silent pass."""

import logging
from typing import Final

from aupgate.enforcement import Enforcement
from aupgate.errors import ServiceError, StoreError
from aupgate.model import INTERNAL_ERROR, Action, Disclosure, Finding, OnError, Rule

FAULT: Final = Rule(INTERNAL_ERROR, "A check could not be made", Disclosure.NONE)

RETRY_AFTER: Final = 5.0
"""Seconds that a client refused because of a fault is asked to wait."""

_log = logging.getLogger("aupgate.engine")


def fault(enforcement: Enforcement, error: Exception, action: Action | None = None) -> Finding:
    """Return the finding for an error inside a policy: it refuses or only notes, as the policy's on_error says."""
    # A service that is away is no surprise, and the finding says all there is to say of it.
    if not isinstance(error, ServiceError):
        _log.error("policy %s failed", enforcement.name, exc_info=error)
    if isinstance(error, StoreError):  # it comes this far only where store.on_failure, or a limit's own, says "refuse"
        action = Action.REFUSE
    elif action is None:
        action = Action.REFUSE if enforcement.on_error is OnError.REFUSE else Action.NOTE
    return Finding(
        FAULT.name,
        action,
        503 if action is Action.REFUSE else 0,
        "a check that this service makes could not be made; please try again",
        retry_after=RETRY_AFTER,
        evidence={
            "policy": enforcement.name,
            "error": f"{type(error).__name__}: {error}",
        },
    )
