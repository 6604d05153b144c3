"""How one policy is enforced."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aupgate.enforcement import Enforcement, Switch
from aupgate.model import Client, Mode
from tests.gateway.scripted import Judge, a_request


def from_network(network: str) -> Any:
    return a_request(client=Client(network, network, network))


@given(st.sampled_from(list(Mode)), st.sampled_from(list(Mode)))
def test_the_weakest_of_policy_and_rule_holds(ceiling: Mode, rule: Mode) -> None:
    enforcement = Enforcement(Judge("p"), ceiling=ceiling, rules={"first": rule})
    assert enforcement.mode_of("p.first", a_request()) is Mode.weakest(ceiling, rule)
    assert enforcement.mode_of("p.second", a_request()) is ceiling


def test_a_share_enforces_for_the_same_part_of_the_clients_every_time() -> None:
    enforcement = Enforcement(Judge("p"), share=10.0)
    clients = [from_network(f"198.51.{i // 256}.{i % 256}") for i in range(2000)]
    enforced = [enforcement.mode(client) is Mode.ENFORCE for client in clients]
    assert 120 < sum(enforced) < 280  # a tenth of 2000, with room for chance
    assert enforced == [enforcement.mode(client) is Mode.ENFORCE for client in clients]


def test_shares_of_different_policies_fall_on_different_clients() -> None:
    one, other = Enforcement(Judge("one"), share=50.0), Enforcement(Judge("other"), share=50.0)
    clients = [from_network(f"198.51.100.{i}") for i in range(256)]
    assert [one.mode(client) for client in clients] != [other.mode(client) for client in clients]


def test_the_switch_never_makes_anything_stronger() -> None:
    switch = Switch()
    switch.observe = True
    for ceiling, expected in ((Mode.ENFORCE, Mode.OBSERVE), (Mode.OBSERVE, Mode.OBSERVE), (Mode.OFF, Mode.OFF)):
        assert Enforcement(Judge("p"), ceiling=ceiling, switch=switch).mode(a_request()) is expected


def test_any_one_exemption_exempts() -> None:
    enforcement = Enforcement(
        Judge("p"), exempt=[lambda request: request.path == "/a", lambda request: request.path == "/b"]
    )
    assert enforcement.exempts is not None
    assert [enforcement.exempts(a_request(path=path)) for path in ("/a", "/b", "/c")] == [True, True, False]
    assert Enforcement(Judge("p")).exempts is None


def test_a_rule_may_be_enforced_where_neither_it_nor_the_policy_is_weaker() -> None:
    policy = Judge("p", rules=["first", "second"])
    enforcement = Enforcement(policy, rules={"second": Mode.OBSERVE}, share=10)
    assert [enforcement.may_enforce(f"p.{rule}") for rule in ("first", "second")] == [True, False]
    assert not Enforcement(policy, ceiling=Mode.OBSERVE).may_enforce("p.first")
