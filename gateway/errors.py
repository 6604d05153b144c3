"""The errors aupgate raises, all of them below one root.

    AupgateError
    ├── ConfigError        the configuration cannot be used; carries every problem found
    │   └── PackError      an AUP pack cannot be used
    ├── ServiceError       something a policy depends on did not answer as it should
    │   ├── StoreError     the store of meters
    │   │   └── StoreUnavailableError   it is away, and nothing was sent to it
    │   └── SpoolError     the spool that holds bodies has no room or no disk
    └── ListenError        an address cannot be listened on

Upstream errors have a tree of their own in `aupgate.proxy`, because only the proxy raises and catches them.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class AupgateError(Exception):
    """Root of every error that aupgate raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration or pack file, said so that it can be mended without reading code."""

    source: str
    """File, or the environment variable, that holds the value."""
    line: int | None
    """Line in that file, from 1; None where there is none, as for an environment variable."""
    key: str
    """Dotted path of the key: `policies.rate_limits.limits[0].rate`."""
    value: str
    """The offending value as it was written, shortened; empty for a missing key."""
    expected: str
    """What would be accepted."""

    def __str__(self) -> str:
        """`file:line: key = value: expectation`, the form editors and terminals link."""
        place = f"{self.source}:{self.line}" if self.line else self.source
        given = f" = {self.value}" if self.value else ""
        return f"{place}: {self.key}{given}: {self.expected}" if self.key else f"{place}: {self.expected}"


class ConfigError(AupgateError):
    """The configuration cannot be used. `problems` holds everything that is wrong, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class PackError(ConfigError):
    """An AUP pack cannot be used."""


class ServiceError(AupgateError):
    """A service that a policy depends on (store, scanner, spool) did not answer as it should."""


class StoreError(ServiceError):
    """The store of meters did not answer, or answered nonsense."""


class StoreUnavailableError(StoreError):
    """The store of meters is known to be away, so that it was not asked."""


class SpoolError(ServiceError):
    """The spool has no room left within its budget, or its disk refused a write."""


class ListenError(AupgateError):
    """An address cannot be listened on."""
