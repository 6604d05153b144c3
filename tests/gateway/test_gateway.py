"""The gateway as adapters use it."""

import logging
from typing import Any

import pytest

from aupgate.errors import ServiceError
from aupgate.gateway import Unavailable
from aupgate.meters import MeterKind, Outcome, Quota
from tests.gateway.scripted import Count, Judge, a_request, opened, refusing
from tests.middleware.wrapped import a_gateway

ENDED = Outcome(200, 0, 0, 0.1, aborted=False)


def test_an_exchange_is_judged_settled_and_counted() -> None:
    gateway = a_gateway(Count("p", Quota("p.first", "first", 1, 60.0, kind=MeterKind.LEASE)))
    exchange, verdict = opened(gateway, a_request(id="a"))
    assert verdict.allow
    assert not opened(gateway, a_request(id="b"))[1].allow
    gateway.close(exchange, ENDED)
    assert opened(gateway, a_request(id="c"))[1].allow
    assert 'aupgate_requests_total{outcome="passed",status="2xx"} 1.0' in gateway.metrics.render().decode()


def test_an_exchange_that_cannot_be_settled_is_counted_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any) -> None:
        raise OSError("planted")

    gateway = a_gateway(Count("p", Quota("p.first", "first", 1, 60.0, kind=MeterKind.LEASE)))
    monkeypatch.setattr(gateway.store, "post", away)
    exchange, _ = opened(gateway, a_request())
    assert b"aupgate_requests_in_flight 1.0" in gateway.metrics.render()
    gateway.close(exchange, ENDED)
    shown = gateway.metrics.render()
    assert b"aupgate_requests_in_flight 0.0" in shown
    assert b'aupgate_requests_total{outcome="passed",status="2xx"} 1.0' in shown
    assert "could not be settled" in caplog.text


def test_everything_can_be_dropped_to_observe_at_once_and_back(caplog: pytest.LogCaptureFixture) -> None:
    gateway = a_gateway()
    from aupgate.enforcement import Enforcement
    from aupgate.engine import Engine
    from aupgate.packs import ClauseIndex

    policy = Enforcement(Judge("p", refusing("p.first")), switch=gateway.switch)
    gateway.engine = Engine([policy], ClauseIndex([]))
    with caplog.at_level(logging.WARNING, "aupgate"):
        assert not opened(gateway, a_request())[1].allow
        gateway.observe(on=True)
        assert opened(gateway, a_request())[1].allow
        assert b"aupgate_observing 1.0" in gateway.metrics.render()
        gateway.observe(on=False)
        assert not opened(gateway, a_request())[1].allow
    assert "runtime switch" in caplog.text


async def test_a_service_that_was_not_built_says_so() -> None:
    body: Any = None
    with pytest.raises(ServiceError, match="file inspection"):
        await Unavailable().examine(body, None, "")
    with pytest.raises(ServiceError, match=r"'/openapi\.json'"):
        await Unavailable().fetch("/openapi.json")
