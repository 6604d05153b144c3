"""The vocabulary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.model import Action, Finding, HeaderEdits, Judgement, Message, Mode, Rule
from tests.gateway.scripted import a_request

ORDER = [Mode.OFF, Mode.OBSERVE, Mode.ENFORCE]


@given(st.lists(st.sampled_from(ORDER), min_size=1))
def test_the_weakest_mode_is_off_before_observe_before_enforce(modes: list[Mode]) -> None:
    assert Mode.weakest(*modes) is ORDER[min(map(ORDER.index, modes))]


def test_header_fields_are_found_in_any_case_and_duplicates_are_kept() -> None:
    request = a_request(headers=[(b"X-One", b"1"), (b"x-two", b"2"), (b"x-ONE", b"3")])
    assert request.header(b"x-one") == b"1"
    assert request.header_values(b"x-one") == [b"1", b"3"]
    assert request.header(b"x-three") is None
    assert request.header_values(b"x-three") == []


def test_edits_remove_exact_spellings_and_keep_order_and_duplicates() -> None:
    edits = HeaderEdits(frozenset({b"x_real_ip"}), ((b"x-new", b"1"),))
    headers = [(b"a", b"1"), (b"x_real_ip", b"6.6.6.6"), (b"a", b"2")]
    assert edits.apply(headers) == [(b"a", b"1"), (b"a", b"2"), (b"x-new", b"1")]


@pytest.mark.parametrize(
    ("mode", "action", "enforced"),
    [
        (Mode.ENFORCE, Action.REFUSE, True),
        (Mode.ENFORCE, Action.CHALLENGE, True),
        (Mode.ENFORCE, Action.ANSWER, True),
        (Mode.ENFORCE, Action.NOTE, False),
        (Mode.OBSERVE, Action.REFUSE, False),
    ],
)
def test_only_an_enforced_finding_that_is_more_than_a_note_ends_a_request(
    mode: Mode, action: Action, enforced: bool
) -> None:
    finding = Finding("probes.path", action, 403, "no")
    assert Judgement(finding, Rule("probes.path", "Probe"), mode).enforced is enforced
    assert finding.policy == "probes"


@pytest.mark.parametrize(("data", "size"), [("abc", 3), ("äöü", 6), (b"\xff\xff", 2)])
def test_a_message_is_measured_in_bytes(data: str | bytes, size: int) -> None:
    assert Message(data).size == size
