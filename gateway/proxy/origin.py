"""Where an upstream is and how to connect to it: TCP, TLS or a unix socket."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar
from urllib.parse import urlsplit

from aupgate.proxy.errors import UpstreamTimeout, UpstreamUnreachable

_Protocol = TypeVar("_Protocol", bound=asyncio.BaseProtocol)


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """How the upstream's certificate is checked, and what the gateway shows of itself."""

    verify: bool = True
    """False accepts any certificate; then anyone on the way can read and change the traffic."""
    ca_file: str | None = None
    """PEM file of the authorities to believe instead of the system's."""
    server_name: str | None = None
    """Name to ask for (SNI) and to find in the certificate, instead of the URL's host."""

    cert: str | None = None
    """PEM file of the certificate, with its chain, that is shown to an upstream that asks for one."""
    key: str | None = None
    """PEM file of its private key, not encrypted; None: it is in `cert`."""

    def context(self) -> ssl.SSLContext:
        """Return the TLS settings as a context. Raises `ValueError` when a file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise ValueError(
                f'ca file "{self.ca_file}" cannot be used: {error}; name a PEM file with certificates'
            ) from None
        context.set_alpn_protocols(["http/1.1"])
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert is not None:
            self._show(context, self.cert)
        return context

    def _show(self, context: ssl.SSLContext, cert: str) -> None:
        try:
            # Without a password OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(cert, self.key, password="")
        except OSError as error:
            raise ValueError(
                f'certificate "{cert}" cannot be used: {error}; name PEM files with a certificate and its key'
            ) from None


@dataclass(frozen=True, slots=True)
class Origin:
    """One upstream."""

    url: str
    host: str = ""
    port: int = 0
    path: str = ""
    """Path of the unix socket; empty for TCP."""
    context: ssl.SSLContext | None = None
    server_name: str | None = None

    @classmethod
    def from_url(cls, url: str, tls: UpstreamTls | None = None) -> Self:
        """Return the origin at `url`: `http://host:port`, `https://host` or `unix:/path`.

        Raises `ValueError` for anything else, also for a URL with a user, a path or a query.
        """
        if url.startswith("unix:/"):
            return cls(url, path=url.removeprefix("unix:"))
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
            raise ValueError(
                f'upstream "{url}" is no address, write "http://host:port", "https://host" or "unix:/path"'
            )
        if parts.username is not None or parts.path not in {"", "/"} or parts.query or parts.fragment:
            raise ValueError(f'upstream "{url}" is more than an address, leave out user, path and query')
        if parts.scheme == "http":
            return cls(url, parts.hostname, parts.port or 80)
        tls = tls or UpstreamTls()
        return cls(url, parts.hostname, parts.port or 443, "", tls.context(), tls.server_name or parts.hostname)

    @property
    def authority(self) -> bytes:
        """The Host field for a request that came without one."""
        if self.path:
            return b"localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}".encode("idna" if not host.isascii() else "ascii")

    async def connect(self, factory: Callable[[], _Protocol], timeout: float) -> _Protocol:  # noqa: ASYNC109 - one deadline for all steps
        """Return a protocol made by `factory`, connected; the TLS handshake is done.

        Raises `UpstreamTimeout` after `timeout` seconds, `UpstreamUnreachable` when there is no connection to be had,
        also for a certificate that does not hold.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._open(factory)
        except TimeoutError:
            raise UpstreamTimeout(f'no connection to "{self.url}" within {timeout:g} s') from None
        except ssl.SSLCertVerificationError as error:
            raise UpstreamUnreachable(
                f'no connection to "{self.url}": its certificate does not hold: {error.verify_message}; '
                "name its authority (ca_file) or the name that it is made out to (server_name)"
            ) from error
        except OSError as error:
            raise UpstreamUnreachable(f'no connection to "{self.url}": {error}') from error

    async def _open(self, factory: Callable[[], _Protocol]) -> _Protocol:
        loop = asyncio.get_running_loop()
        if self.path:
            _, protocol = await loop.create_unix_connection(factory, self.path)
        else:
            _, protocol = await loop.create_connection(
                factory, self.host, self.port, ssl=self.context, server_hostname=self.server_name
            )
        return protocol
