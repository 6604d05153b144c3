"""Who may connect, and how many connections anybody may have."""

import logging

import pytest

from aupgate.metrics import Metrics
from aupgate.proxy.admission import CROWDED, FULL, REPORT, UNTRUSTED, Admission, Place, Refusal


def admitted(admission: Admission, *peers: str | None) -> list[bool]:
    return [isinstance(admission.enter(peer), Place) for peer in peers]


def place(admission: Admission, peer: str | None) -> Place:
    entered = admission.enter(peer)
    assert isinstance(entered, Place)
    return entered


def test_beyond_the_total_nobody_comes_in() -> None:
    admission = Admission(total=2, per_client=9, trusted=["10.0.0.0/8"])
    assert admitted(admission, "192.0.2.1", "192.0.2.2") == [True, True]
    assert [admission.enter(peer) for peer in ("192.0.2.3", "10.0.0.1", None)] == [FULL, FULL, FULL]


def test_a_place_that_is_left_is_free_again_once() -> None:
    admission = Admission(total=2, per_client=1)
    first, _ = place(admission, "192.0.2.1"), place(admission, "192.0.2.2")
    first.leave()
    first.leave()
    assert admission.open == 1
    assert admitted(admission, "192.0.2.1", "192.0.2.3") == [True, False]


@pytest.mark.parametrize(
    ("peers", "last"),
    [
        pytest.param(["192.0.2.1"] * 3, False, id="one address"),
        pytest.param(["192.0.2.1", "192.0.2.1", "192.0.2.2"], True, id="a neighbour"),
        pytest.param(["2001:db8::1", "2001:db8::2", "2001:db8::3:4:5:6"], False, id="one IPv6 network"),
        pytest.param(["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"], True, id="the IPv6 network beside"),
        pytest.param(["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"], False, id="an address written as IPv6"),
        pytest.param([None] * 3, True, id="a unix socket"),
        pytest.param(["10.0.0.1"] * 3, True, id="a trusted proxy"),
        pytest.param(["::ffff:10.0.0.1"] * 3, True, id="a trusted proxy written as IPv6"),
        pytest.param(["127.0.0.1"] * 3, False, id="a private address that is no trusted proxy"),
    ],
)
def test_a_client_has_so_many_connections(peers: list[str | None], last: bool) -> None:
    admission = Admission(total=9, per_client=2, trusted=["10.0.0.0/8"])
    assert admitted(admission, *peers) == [True, True, last]


def test_while_nobody_said_which_proxies_there_are_a_private_peer_may_be_one() -> None:
    admission = Admission(per_client=1, trusted=None)
    assert admitted(admission, "10.0.0.1", "10.0.0.1", "1.1.1.1", "1.1.1.1") == [True, True, True, False]


def test_the_prefix_of_a_network_can_be_set() -> None:
    admission = Admission(per_client=1, ipv6_prefix=48)
    assert admitted(admission, "2001:db8::1", "2001:db8:0:1::1", "2001:db8:1::1") == [True, False, True]


def test_a_proxys_place_passes_to_the_client_that_it_connects_for() -> None:
    admission = Admission(per_client=1, trusted=["10.0.0.1/32"])
    first, second = place(admission, "10.0.0.1"), place(admission, "10.0.0.1")
    assert first.pass_to("192.0.2.1") is None
    assert second.pass_to("192.0.2.1") is CROWDED
    second.leave()
    first.leave()
    assert admission.open == 0
    assert admitted(admission, "192.0.2.1") == [True]


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("192.0.2.1", False), ("nonsense", False), (None, True)],
)
def test_a_trusted_proxy_is_known(peer: str | None, trusted: bool) -> None:
    assert Admission(trusted=["10.0.0.0/8"]).trusts(peer) is trusted


@pytest.mark.parametrize("nobody", [None, ()])
def test_a_unix_socket_is_no_proxy_where_there_are_none(nobody: tuple[str, ...] | None) -> None:
    assert not Admission(trusted=nobody).trusts(None)


@pytest.mark.parametrize(("refusal", "status"), [(FULL, b"503"), (CROWDED, b"429")], ids=["full", "crowded"])
def test_who_is_turned_away_is_told_to_come_back(refusal: Refusal, status: bytes) -> None:
    head, _, body = refusal.answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"retry-after: 5" in head
    assert b"connection: close" in head
    assert b"content-length: %d" % len(body) in head


def test_the_metrics_tell_of_connections() -> None:
    admission, metrics = Admission(total=1), Metrics()
    metrics.show(admission.families)
    place(admission, "192.0.2.1")
    admission.enter("192.0.2.1")
    admission.cut("body")
    text = metrics.render().decode()
    assert "aupgate_connections 1.0" in text
    assert 'aupgate_connections_refused_total{reason="total"} 1.0' in text
    assert 'aupgate_connections_cut_total{reason="body"} 1.0' in text


def test_many_refusals_are_one_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    admission = Admission()
    admission.report(100)
    for _ in range(50):
        admission.refuse(UNTRUSTED)
    admission.cut("head")
    admission.report(101)
    admission.refuse(UNTRUSTED)
    admission.report(101 + REPORT / 2)
    admission.report(101 + REPORT)
    admission.report(101 + 2 * REPORT)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "connections refused or cut off: untrusted: 50, slow head: 1; 0 are open",
        "connections refused or cut off: untrusted: 1; 0 are open",
    ]
