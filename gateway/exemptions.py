"""Whom the operator exempted from a policy, compiled."""

from ipaddress import IPv4Network, IPv6Network

from aupgate.config import Exemption
from aupgate.enforcement import Exempts
from aupgate.identity.addresses import parse_address
from aupgate.model import Request
from aupgate.routes import RouteTable


def exempts(exemption: Exemption) -> Exempts:
    """Compile an exemption: everything it names must hold. Only a verified account exempts."""
    path = RouteTable([(exemption.path, True)]) if exemption.path is not None else None
    network = exemption.client

    def matches(request: Request) -> bool:
        if path is not None and not path.find(request.path):
            return False
        if exemption.account is not None:
            account = request.account
            if account is None or not account.verified or account.id != exemption.account:
                return False
        return network is None or _inside(request.client.address, network)

    return matches


def _inside(text: str, network: IPv4Network | IPv6Network) -> bool:
    address = parse_address(text)
    return address is not None and address in network
