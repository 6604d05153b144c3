"""How a gateway comes by the file descriptors that its connections need."""

import logging
import resource

import pytest

from aupgate.proxy.descriptors import needed, provide


class System:
    """A system that gives `soft` descriptors, and `hard` to who asks."""

    def __init__(self, soft: int, hard: int, *, refuses: bool = False) -> None:
        self.limits = (soft, hard)
        self._refuses = refuses

    def getrlimit(self, which: int) -> tuple[int, int]:
        assert which == resource.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_NOFILE
        if self._refuses:
            raise ValueError("not here")
        self.limits = limits


def provided(monkeypatch: pytest.MonkeyPatch, system: System) -> int:
    monkeypatch.setattr(resource, "getrlimit", system.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", system.setrlimit)
    return provide(1000)


NEED = needed(1000)


@pytest.mark.parametrize(
    ("soft", "hard", "after"),
    [
        pytest.param(256, 1_048_576, NEED, id="too few"),
        pytest.param(256, resource.RLIM_INFINITY, NEED, id="too few, and no hard limit"),
        pytest.param(NEED, NEED, NEED, id="just enough"),
        pytest.param(100_000, 200_000, 100_000, id="more than enough"),
    ],
)
def test_the_soft_limit_is_raised_where_it_must_be(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, soft: int, hard: int, after: int
) -> None:
    system = System(soft, hard)
    assert provided(monkeypatch, system) == after
    assert system.limits == (after, hard)
    assert not caplog.records


def test_what_a_connection_needs_is_one_descriptor_for_each_side() -> None:
    assert needed(1000) - needed(0) == 2000


@pytest.mark.parametrize(
    ("system", "message"),
    [
        pytest.param(System(256, 1024), "and 1024 are allowed", id="a hard limit"),
        pytest.param(System(256, 4096, refuses=True), "cannot be raised from 256", id="a bound of the system's own"),
    ],
)
def test_a_limit_that_is_too_low_is_warned_about_with_numbers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, system: System, message: str
) -> None:
    caplog.set_level(logging.WARNING)
    provided(monkeypatch, system)
    assert message in caplog.text
    assert f"needs {NEED} open files" in caplog.text
