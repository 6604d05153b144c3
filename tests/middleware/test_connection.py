"""What is counted of an exchange begins with it."""

from typing import Any

from aupgate.engine import Engine
from aupgate.middleware.connection import Connection
from aupgate.packs import ClauseIndex
from tests.gateway.scripted import a_request
from tests.middleware.wrapped import a_gateway, http_scope


async def nothing(*_: Any) -> Any:
    return None


def test_nothing_has_been_sent_or_received_in_the_beginning() -> None:
    exchange = Engine([], ClauseIndex([])).open(a_request())
    connection = Connection(a_gateway(), exchange, http_scope(), nothing, nothing)
    assert (connection._status, connection._bytes_in, connection._bytes_out, connection._refused) == (0, 0, 0, False)
    assert connection._request is exchange.request
