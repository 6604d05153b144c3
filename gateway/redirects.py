"""Where a request is sent on to, said so that no client can choose another place than the one it asked."""

import re
from typing import Final

from aupgate.model import Request

_HOST: Final = re.compile(rb"([A-Za-z0-9_][A-Za-z0-9._-]{0,254}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?").fullmatch
_TARGET: Final = re.compile(rb"/[\x21-\x7e]*").fullmatch


def https_location(request: Request, host: str | None = None, port: int = 443) -> bytes:
    """Return where the target of `request` is to be had over HTTPS: on `host`, or else on the one it names.

    Empty when the request names no one well-formed host, or a target that is no path as RFC 9110 writes it: nothing is
    put into a `Location` that its reader could understand in another way.
    """
    if not _TARGET(request.target):
        return b""
    name = _named(request) if host is None else host.encode()
    return b"https://%b%b%b" % (name, b"" if port == 443 else b":%d" % port, request.target) if name else b""


def _named(request: Request) -> bytes:
    """Return the host that the request names, without its port."""
    hosts = {*request.header_values(b"host")}
    found = _HOST(hosts.pop()) if len(hosts) == 1 else None
    return found[1] if found else b""
