"""What becomes of the fields of responses, as policies declared it."""

from collections.abc import Sequence
from itertools import compress

import pytest

from aupgate.enforcement import Enforcement, Switch
from aupgate.model import Header, Mode, Request, ResponseEdits, Rule
from aupgate.responses import ResponsePlans
from tests.gateway.scripted import a_request

STRIP = ResponseEdits("p.first", strip=("server", "x-debug-*"), keep=("x-debug-id",))
ADD = ResponseEdits("p.second", add=((b"x-added", b"1"),))
SECURE = ResponseEdits("p.second", add=((b"x-secure", b"1"),), secure=True)


class Edits:
    """A policy that declares edits."""

    def __init__(self, *edits: ResponseEdits, name: str = "p") -> None:
        self.name = name
        self.rules = [Rule(f"{name}.first", "First"), Rule(f"{name}.second", "Second")]
        self.edits = edits

    def response_edits(self) -> Sequence[ResponseEdits]:
        return self.edits


def edited(enforcements: Sequence[Enforcement], *names: bytes, request: Request | None = None) -> list[bytes]:
    """Return the names of the fields that the client gets."""
    fields: list[Header] = [(name, b"x") for name in names]
    plan = ResponsePlans(enforcements).of(request or a_request())[names]
    kept = fields if plan.kept is None else list(compress(fields, plan.kept))
    return [name for name, _ in [*kept, *plan.added]]


@pytest.mark.parametrize("name", [b"server", b"Server", b"SERVER", b"x-debug-token", b"X_Debug.Token"])
def test_what_a_policy_strips_goes_in_any_spelling(name: bytes) -> None:
    assert edited([Enforcement(Edits(STRIP))], b"a", name, b"b") == [b"a", b"b"]


@pytest.mark.parametrize("name", [b"x-debug-id", b"x-debug", b"server-timing", b"x-server"])
def test_what_it_keeps_or_does_not_name_stays(name: bytes) -> None:
    assert edited([Enforcement(Edits(STRIP))], b"a", name) == [b"a", name]


def test_order_and_duplicates_of_what_stays_are_kept() -> None:
    names = (b"set-cookie", b"server", b"a", b"set-cookie")
    assert edited([Enforcement(Edits(STRIP))], *names) == [b"set-cookie", b"a", b"set-cookie"]


@pytest.mark.parametrize("present", [b"x-added", b"X-Added"])
def test_a_field_is_added_only_where_there_is_none(present: bytes) -> None:
    assert edited([Enforcement(Edits(ADD))], b"a") == [b"a", b"x-added"]
    assert edited([Enforcement(Edits(ADD))], present) == [present]


@pytest.mark.parametrize(
    ("scheme", "host", "added"),
    [
        ("https", b"app.example", True),
        ("https", b"app.example:8443", True),
        ("http", b"app.example", False),
        ("https", b"localhost", False),
        ("https", b"localhost:8443", False),
        ("https", b"app.LOCALHOST:1", False),
        ("https", b"localhost.example", True),
    ],
)
def test_what_is_for_https_is_added_there_and_not_on_somebodys_own_machine(
    scheme: str, host: bytes, added: bool
) -> None:
    request = a_request(scheme=scheme, headers=[(b"host", host)])
    assert edited([Enforcement(Edits(SECURE))], b"a", request=request) == [b"a", *([b"x-secure"] if added else [])]


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.OFF])
def test_a_policy_that_is_not_enforced_changes_nothing(mode: Mode) -> None:
    assert edited([Enforcement(Edits(STRIP, ADD, SECURE), ceiling=mode)], b"server") == [b"server"]


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.OFF])
def test_a_rule_that_is_not_enforced_changes_nothing(mode: Mode) -> None:
    assert edited([Enforcement(Edits(STRIP, ADD), rules={"second": mode})], b"server") == []
    assert edited([Enforcement(Edits(STRIP, ADD), rules={"first": mode})], b"server") == [b"server", b"x-added"]


def test_the_runtime_switch_holds_from_one_response_to_the_next() -> None:
    switch, request = Switch(), a_request()
    plans = ResponsePlans([Enforcement(Edits(STRIP), switch=switch)])
    assert plans.of(request)[b"server",].kept == (False,)
    switch.observe = True
    assert plans.of(request)[b"server",].kept is None
    switch.observe = False
    assert plans.of(request)[b"server",].kept == (False,)


def test_a_share_of_the_clients_gets_edited_responses_and_the_others_do_not() -> None:
    assert edited([Enforcement(Edits(STRIP), share=0.0)], b"server") == [b"server"]
    assert edited([Enforcement(Edits(STRIP), share=100.0)], b"server") == []


def test_who_is_exempt_gets_the_response_as_it_is() -> None:
    exempting = Enforcement(Edits(STRIP), exempt=[lambda request: request.path == "/free"])
    assert edited([exempting], b"server", request=a_request(path="/free")) == [b"server"]
    assert edited([exempting], b"server") == []


def test_several_policies_edit_together_each_in_its_mode() -> None:
    other = Edits(ResponseEdits("q.first", strip=("a",)), name="q")
    assert edited([Enforcement(Edits(STRIP, ADD)), Enforcement(other)], b"server", b"a") == [b"x-added"]
    observed = Enforcement(other, ceiling=Mode.OBSERVE)
    assert edited([Enforcement(Edits(STRIP, SECURE)), observed], b"server", b"a") == [b"a", b"x-secure"]


def test_the_plan_tells_whether_the_application_gave_an_id() -> None:
    plans = ResponsePlans([]).of(a_request())
    assert plans[b"X-Request-Id",].identified
    assert not plans[b"x-request",].identified
