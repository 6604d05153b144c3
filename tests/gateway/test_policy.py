"""Every policy that is registered keeps to the Protocols, and implements the phases it is meant to."""

import inspect
import re

import pytest

from aupgate import policy as protocols
from aupgate.build import REGISTRY, read, resolve, settings_classes
from aupgate.model import Disclosure
from aupgate.policy import (
    Answers,
    ComparesPaths,
    DecidesByPath,
    EditsResponses,
    InspectsBodies,
    JudgesMessages,
    JudgesRequests,
    Measures,
    Meets,
    Peeks,
    Policy,
    Prepares,
    ReadsFiles,
    Sanitises,
    SeesEnds,
    SeesResponses,
)

PHASES: tuple[type, ...] = (
    Sanitises, JudgesRequests, Measures, InspectsBodies, JudgesMessages, SeesResponses, EditsResponses, SeesEnds,
    Prepares, ReadsFiles, DecidesByPath, ComparesPaths, Answers, Meets, Peeks,
)  # fmt: skip

INTENDED: dict[str, set[type]] = {
    "protocol": {JudgesRequests, ComparesPaths},
    "headers": {Sanitises, JudgesRequests, EditsResponses},
    "networks": set(),  # nothing to do without configuration
    "interfaces": {JudgesRequests, Prepares, DecidesByPath},
    "scrapers": {JudgesRequests},
    "rate_limits": {Measures, DecidesByPath},
    "uploads": {JudgesRequests, InspectsBodies},
}


def built(name: str) -> Policy:
    """Return the policy as it is without configuration."""
    policy: Policy = resolve(REGISTRY[name])(settings_classes()[name]())
    return policy


def methods(protocol: type) -> list[str]:
    return [name for name, _ in inspect.getmembers(protocol, inspect.isfunction) if not name.startswith("_")]


def test_the_table_of_intentions_is_about_every_registered_policy() -> None:
    assert list(INTENDED) == list(REGISTRY)


@pytest.mark.parametrize("name", REGISTRY)
class TestRegistered:
    def test_is_called_as_its_table_in_the_configuration(self, name: str) -> None:
        assert built(name).name == name

    def test_its_rules_are_named_after_it_and_told_apart(self, name: str) -> None:
        names = [rule.name for rule in built(name).rules]

        assert names
        assert [rule for rule in names if not re.fullmatch(rf"{name}\.[a-z][a-z0-9_]*", rule)] == []
        assert len(set(names)) == len(names)

    def test_its_rules_have_titles_that_a_refused_person_can_read(self, name: str) -> None:
        for rule in built(name).rules:
            assert re.fullmatch(r"[A-Z][^.]{3,60}", rule.title), rule
            assert rule.disclosure in Disclosure
            assert rule.clauses == ()

    def test_it_implements_the_phases_it_is_meant_to(self, name: str) -> None:
        policy: object = built(name)

        assert {phase for phase in PHASES if isinstance(policy, phase)} == INTENDED[name]

    def test_its_phases_take_what_the_engine_gives(self, name: str) -> None:
        policy = built(name)

        for phase in INTENDED[name]:
            for method in methods(phase):
                wanted = list(inspect.signature(getattr(phase, method)).parameters)[1:]
                assert list(inspect.signature(getattr(policy, method)).parameters) == wanted, method
                assert inspect.iscoroutinefunction(getattr(policy, method)) == inspect.iscoroutinefunction(
                    getattr(phase, method)
                )

    def test_it_has_no_phase_that_the_engine_does_not_know(self, name: str) -> None:
        known = {method for phase in PHASES for method in methods(phase)}
        public = {method for method in methods(type(built(name))) if not method.startswith("_")}

        assert public <= known

    def test_its_settings_have_defaults_for_everything(self, name: str) -> None:
        assert read({"policies": {name: {}}}, environ={}).policies[name] == settings_classes()[name]()


def test_every_phase_of_the_module_is_among_those_tested() -> None:
    services = {"Policy", "Body", "FileInspector", "Fetcher", "Services", "FindingSink"}
    declared = {
        name
        for name, each in vars(protocols).items()
        if inspect.isclass(each) and each.__module__ == protocols.__name__
    }

    assert declared - services == {phase.__name__ for phase in PHASES}
