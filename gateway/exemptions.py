"""Whom the operator exempted from a policy, compiled."""

from ipaddress import IPv4Network, IPv6Network

from aupgate.config import Exemption
from aupgate.enforcement import Exempts
from aupgate.identity.addresses import parse_address
from aupgate.model import Request
from aupgate.policy import PathDecider
from aupgate.routes import RouteTable


def decides_by_path(exemption: Exemption) -> PathDecider | None:
    """Return what the path decides about an exemption; None when it does not go by paths."""
    if exemption.path is None:
        return None
    path = RouteTable([(exemption.path, True)])
    return lambda _, given: bool(path.find(given))


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
        # Whoever makes a proxy's header malformed counts as that proxy, but earns nothing by it.
        return network is None or (not request.client.fault and _inside(request.client.address, network))

    return matches


def _inside(text: str, network: IPv4Network | IPv6Network) -> bool:
    address = parse_address(text)
    return address is not None and address in network
