"""The errors of the upstream leg say what a client may read."""

import pytest

from aupgate.errors import AupgateError
from aupgate.proxy.errors import (
    ClientGone,
    ConnectionDied,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamUnreachable,
)


@pytest.mark.parametrize(
    ("error", "status", "rule"),
    [
        (UpstreamUnreachable, 502, "upstream.unreachable"),
        (ConnectionDied, 502, "upstream.unreachable"),
        (UpstreamProtocolError, 502, "upstream.protocol"),
        (UpstreamTimeout, 504, "upstream.timeout"),
    ],
)
def test_every_upstream_error_has_a_status_and_a_rule(error: type[UpstreamError], status: int, rule: str) -> None:
    assert (error.status, error.rule) == (status, rule)


def test_the_public_detail_names_no_address() -> None:
    assert "10.0.0.7" not in UpstreamUnreachable('no connection to "http://10.0.0.7"').detail


def test_the_log_is_told_of_which_upstream_once() -> None:
    silent, refused = UpstreamTimeout("no response"), UpstreamUnreachable('no connection to "http://app"')
    assert str(silent) == "no response"
    silent.upstream = refused.upstream = "http://app"
    assert str(silent) == 'no response (upstream "http://app")'
    assert str(refused) == 'no connection to "http://app"'


def test_a_client_that_is_gone_is_no_fault_of_the_upstream() -> None:
    assert issubclass(ClientGone, AupgateError)
    assert not issubclass(ClientGone, UpstreamError)
