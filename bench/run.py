"""One run of the benchmark: how thorough it is, and where its files go."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.configurations import ROOT
from bench.processes import Cores

OUTPUT: Final = ROOT / "build" / "bench"


@dataclass(frozen=True, slots=True)
class Run:
    """What the parts of a run share."""

    rounds: int
    quick: bool
    directory: Path = OUTPUT
    cores: Cores = field(default_factory=Cores.of_this_machine)

    @property
    def files(self) -> Path:
        """Where servers and workers run, and where their configuration and logs are."""
        return self.directory / "run"

    def seconds(self, thorough: float, quick: float) -> float:
        """Return how long to measure."""
        return quick if self.quick else thorough

    def say(self, text: str) -> None:
        """Tell whoever waits what is being done."""
        print(text, file=sys.stderr, flush=True)
