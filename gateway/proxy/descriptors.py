"""File descriptors: every connection takes one, and systems give a process few unless it asks for more."""

import logging
import resource
from typing import Final

_OWN: Final = 256
"""For what is no connection: files, bodies in the spool, listeners, the store."""

_log = logging.getLogger("aupgate")


def needed(connections: int) -> int:
    """Return how many descriptors so many connections of clients need: each may have a request with the upstream."""
    return 2 * connections + _OWN


def provide(connections: int) -> int:
    """Have as many descriptors as `connections` need, as far as the hard limit allows; warn if it does not.

    Returns how many there are.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = needed(connections)
    if soft == resource.RLIM_INFINITY or soft >= need:
        return soft
    reachable = need if hard == resource.RLIM_INFINITY else min(need, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
    except (OSError, ValueError) as error:  # the system has a bound of its own
        _log.warning("the limit of open files cannot be raised from %d to %d: %s", soft, reachable, error)
        reachable = soft
    if reachable < need:
        _log.warning(
            "gateway.connections.total = %d needs %d open files, and %d are allowed: raise the hard limit, or lower "
            "the total to %d",
            connections, need, reachable, max(1, (reachable - _OWN) // 2),
        )  # fmt: skip
    return reachable
