"""One websocket: denied before the handshake, or judged message by message."""

from typing import Any

import pytest

from tests.gateway.scripted import Judge, Listen, Strip, Watch, refusing
from tests.middleware.wrapped import a_gateway, call, websocket_scope

REFUSE = Judge("p", refusing("p.first"))
CONNECT = {"type": "websocket.connect"}
GONE = {"type": "websocket.disconnect", "code": 1000}


def text(data: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": data}


class Echo:
    """Accepts and echoes until the client leaves."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.received: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "chat", "headers": [(b"x-app", b"1")]})
        while (message := await receive())["type"] == "websocket.receive":
            self.received.append(message)
            await send({**message, "type": "websocket.send"})
        self.received.append(message)


async def test_a_websocket_is_denied_with_the_refusal_where_the_server_can_send_one() -> None:
    app = Echo()
    scope = websocket_scope(extensions={"websocket.http.response": {}})
    server = await call(app, a_gateway(REFUSE), scope, [CONNECT])
    assert [message["type"] for message in server.sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert server.status == 403
    assert b'"status": 403' in server.body
    assert app.scopes == []


@pytest.mark.parametrize("extensions", [{}, {"extensions": None}, {"extensions": {}}])
async def test_a_websocket_is_closed_before_it_is_accepted_elsewhere(extensions: dict[str, Any]) -> None:
    server = await call(Echo(), a_gateway(REFUSE), websocket_scope(**extensions), [CONNECT])
    assert [(message["type"], message["code"]) for message in server.sent] == [("websocket.close", 1008)]


async def test_messages_pass_and_the_acceptance_keeps_the_applications_fields() -> None:
    app = Echo()
    server = await call(
        app, a_gateway(), websocket_scope(), [CONNECT, text("a"), {"type": "websocket.receive", "bytes": b"b"}, GONE]
    )
    accept, *echoed = server.sent
    assert accept["subprotocol"] == "chat"
    assert [name for name, _ in accept["headers"]] == [b"x-app", b"x-request-id"]
    assert [message.get("text") or message.get("bytes") for message in echoed] == ["a", b"b"]
    assert app.received[-1] == GONE


async def test_a_refused_message_closes_with_1008_and_the_request_id_and_the_application_sees_the_client_gone() -> None:
    app = Echo()
    server = await call(
        app, a_gateway(Listen("l", "bad")), websocket_scope(), [CONNECT, text("good"), text("bad"), text("more")]
    )
    close = server.sent[-1]
    assert (close["type"], close["code"]) == ("websocket.close", 1008)
    assert close["reason"] == app.scopes[0]["aupgate"].request_id
    assert [message["type"] for message in app.received] == ["websocket.receive", "websocket.disconnect"]


async def test_stripped_fields_do_not_reach_the_application() -> None:
    app = Echo()
    scope = websocket_scope(headers=[(b"x-real-ip", b"6.6.6.6"), (b"origin", b"https://a")])
    await call(app, a_gateway(Strip("s", b"x-real-ip")), scope, [CONNECT, GONE])
    assert [name for name, _ in app.scopes[0]["headers"]] == [b"origin", b"x-request-id"]


@pytest.mark.parametrize(("policy", "status", "refused"), [(REFUSE, 403, True), (Listen("l", "bad"), 101, False)])
async def test_the_end_comes_once(policy: Any, status: int, refused: bool) -> None:
    watch = Watch("w")
    await call(Echo(), a_gateway(watch, policy), websocket_scope(), [CONNECT, text("hello"), GONE])
    [outcome] = watch.outcomes
    assert (outcome.status, outcome.refused) == (status, refused)
