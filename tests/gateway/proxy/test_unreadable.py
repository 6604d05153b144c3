"""What is answered to a request that cannot be read."""

import pytest

from aupgate.proxy.unreadable import UnreadableRequestError, malformed, too_large, too_many, too_slow
from tests.gateway.proxy.servers import parts


@pytest.mark.parametrize(
    ("error", "status", "rule"),
    [
        (malformed("no"), 400, "protocol.syntax"),
        (malformed("no", 505), 505, "protocol.syntax"),
        (too_large(), 431, "protocol.header_size"),
        (too_slow(), 408, "protocol.slow"),
        (too_many(), 429, "protocol.pipelining"),
    ],
    ids=["malformed", "a version", "too large", "too slow", "too many"],
)
def test_each_reason_has_its_status_and_rule(error: UnreadableRequestError, status: int, rule: str) -> None:
    assert (error.status, error.rule) == (status, rule)
    assert str(error) == error.detail


def test_the_answer_says_that_the_connection_closes() -> None:
    status, fields, body = parts(too_slow().encode([(b"content-length", b"2")], b"no"))
    assert (status, body) == (408, b"no")
    assert fields[b"connection"] == b"close"
    assert b"date" in fields
