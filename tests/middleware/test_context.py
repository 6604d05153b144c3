"""The scope that the application gets."""

from aupgate.engine import Engine
from aupgate.middleware.context import forwarded_scope
from aupgate.model import Client, HeaderEdits, Verdict
from aupgate.packs import ClauseIndex
from tests.gateway.scripted import a_request
from tests.middleware.wrapped import http_scope

ENGINE = Engine([], ClauseIndex([]))


def test_only_what_the_gateway_decides_differs_from_the_servers_scope() -> None:
    scope = http_scope()
    exchange = ENGINE.open(a_request(headers=scope["headers"]))
    forwarded = forwarded_scope(scope, exchange, Verdict())
    assert {key for key in forwarded if forwarded[key] != scope.get(key)} == {"headers", "aupgate"}


def test_edits_length_and_the_client_behind_proxies_are_in_it() -> None:
    client = Client("198.51.100.9", "198.51.100.9", "10.0.0.1", ("10.0.0.1",))
    headers = [(b"Content-Length", b"99"), (b"Transfer-Encoding", b"chunked"), (b"x-bad", b"1"), (b"ok", b"1")]
    exchange = ENGINE.open(a_request(client=client, headers=headers))
    forwarded = forwarded_scope(http_scope(), exchange, Verdict(edits=HeaderEdits(frozenset({b"x-bad"}))), length=4)
    assert forwarded["headers"] == [
        (b"ok", b"1"),
        (b"content-length", b"4"),
        (b"x-request-id", exchange.request.id.encode()),
    ]
    assert forwarded["client"] == ("198.51.100.9", 0)
