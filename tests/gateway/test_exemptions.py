"""Whom an exemption exempts."""

from typing import Any

import pytest

from aupgate.config import Exemption
from aupgate.exemptions import exempts
from aupgate.model import Account, Client
from tests.gateway.scripted import a_request

ANN = Account("ann", "key:x-api-key", verified=True)
SELF_NAMED = Account("ann", "cookie:session", verified=False)


def from_address(address: str) -> Client:
    return Client(address, address, address)


@pytest.mark.parametrize(
    ("exemption", "request_parts", "exempt"),
    [
        pytest.param({"path": "/health"}, {"path": "/health"}, True, id="path"),
        pytest.param({"path": "/health"}, {"path": "/healthy"}, False, id="another path"),
        pytest.param({"path": "/hooks/{rest:path}"}, {"path": "/hooks/a/b"}, True, id="path below"),
        pytest.param({"account": "ann"}, {"account": ANN}, True, id="verified account"),
        pytest.param({"account": "ann"}, {"account": SELF_NAMED}, False, id="an unverified account never exempts"),
        pytest.param({"account": "ann"}, {}, False, id="no account"),
        pytest.param({"client": "192.0.2.0/24"}, {}, True, id="network"),
        pytest.param({"client": "192.0.2.7"}, {}, True, id="one address"),
        pytest.param({"client": "2001:db8::/32"}, {"client": from_address("2001:db8::7")}, True, id="IPv6"),
        pytest.param({"client": "198.51.100.0/24"}, {}, False, id="another network"),
        pytest.param({"client": "0.0.0.0/0"}, {"client": from_address("")}, False, id="a unix socket has no address"),
        pytest.param({"path": "/a", "account": "ann"}, {"path": "/a", "account": ANN}, True, id="all that is named"),
        pytest.param({"path": "/a", "account": "ann"}, {"path": "/a"}, False, id="not only a part of it"),
    ],
)
def test_an_exemption_holds_where_everything_it_names_holds(
    exemption: dict[str, str], request_parts: dict[str, Any], exempt: bool
) -> None:
    assert exempts(Exemption.model_validate(exemption))(a_request(**request_parts)) is exempt
