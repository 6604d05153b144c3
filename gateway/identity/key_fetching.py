"""Key sets that issuers publish: fetched by a thread of their own, never on the event loop.

They are fetched at the start, at every interval, and when a token names a key that the set does not have, though never
twice within `PAUSE`: senders of made-up keys cannot make us call more often. When fetching fails, the keys from before
hold, and it is tried again with growing pauses.
"""

import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from http.client import HTTPConnection, HTTPMessage, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import IO, Any, Final
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)
from weakref import WeakMethod

from aupgate.identity.key_sets import MAX_DOCUMENT, Use, parse
from aupgate.metrics import Family

TIMEOUT: Final = 5.0
"""Seconds for which the issuer may say nothing."""
DEADLINE: Final = 10.0
"""Seconds that one fetch may take."""
START: Final = 5.0
"""Seconds for which the start waits for the first keys."""
PAUSE: Final = 30.0
"""Seconds between two fetches at least."""

_log = logging.getLogger("aupgate")


class KeyFetcher:
    """Keeps the keys of `url` up to date: `use` is given them whenever they change. `every` is in seconds."""

    def __init__(self, url: str, algorithms: Sequence[str], use: Use, *, every: float, ca_file: Path | None) -> None:
        """Raises `OSError` when `ca_file` cannot be used."""
        self._url = url
        self._algorithms = algorithms
        self._use = use
        self._every = every
        self._context = ssl.create_default_context(cafile=ca_file)
        self._digest = b""
        self._failures = 0
        self._stop = threading.Event()
        self._wanted = threading.Event()
        self._tried = threading.Event()
        self.counts = {"ok": 0, "failed": 0}

    def start(self, wait: float = START) -> None:
        """Begin to fetch, and wait for the first keys for at most `wait` seconds: without them, tokens name nobody."""
        restart = WeakMethod(self._restart)
        os.register_at_fork(after_in_child=lambda: (again := restart()) and again())
        self._restart()
        if not self._tried.wait(wait):
            _log.warning("%s has not answered yet: until it does, tokens name nobody", self._url)

    def missed(self) -> None:
        """Fetch soon: a token names a key that the set does not have. Cheap, and safe to call for every token."""
        if not self._wanted.is_set():
            self._wanted.set()

    def stop(self) -> None:
        """Fetch no more."""
        self._stop.set()
        self._wanted.set()

    def families(self) -> Iterator[Family]:
        """Tell how fetching went, for the metrics."""
        samples = [((outcome,), float(count)) for outcome, count in self.counts.items()]
        yield Family(
            "counter", "aupgate_token_key_fetches", "Fetches of the key set, by outcome", ("outcome",), samples
        )

    def fetch(self) -> bool:
        """Fetch the keys now and tell whether that went well; a failure is logged and changes nothing."""
        try:
            document = download(self._url, self._context)
            digest = sha256(document).digest()
            if digest != self._digest:
                self._use(parse(document, self._algorithms, secrets=False))
                self._digest = digest
        except Exception as error:  # noqa: BLE001 - whatever the issuer answers, the keys from before hold
            self.counts["failed"] += 1
            holds = "the keys from before hold" if self._digest else "until it can, tokens name nobody"
            _log.warning("the keys of %s cannot be had, %s: %s", self._url, holds, error)
            return False
        self.counts["ok"] += 1
        return True

    def _restart(self) -> None:
        """Start the thread, which a process that was forked off does not have."""
        if not self._stop.is_set():
            threading.Thread(target=self._run, name="aupgate-token-keys", daemon=True).start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wanted.clear()
            self._failures = 0 if self.fetch() else self._failures + 1
            self._tried.set()
            self._stop.wait(PAUSE)
            self._wanted.wait(max(0.0, self.pause() - PAUSE))

    def pause(self) -> float:
        """Return the seconds until the next fetch, unless a key is missed: longer with every failure in a row."""
        return min(self._every, PAUSE * 2.0 ** min(self._failures - 1, 16)) if self._failures else self._every


def download(url: str, context: ssl.SSLContext) -> bytes:
    """Return the document at `url`, within `DEADLINE` and `MAX_DOCUMENT`.

    Certificates are verified. A redirect is followed to the same scheme, host and port only; `https_proxy` and
    `no_proxy` of the environment count. Raises `OSError` or `HTTPException`.
    """
    began, sockets = time.monotonic(), list[socket.socket]()
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        _Http(sockets),
        _Https(sockets, context),
        HTTPDefaultErrorHandler(),
        _SameOrigin(url),
        HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    # A time-out is about one read; an issuer that sends a byte now and then is cut off by this.
    watchdog = threading.Timer(DEADLINE, _cut_off, (sockets,))
    watchdog.daemon = True
    watchdog.start()
    try:
        request = Request(url, headers={"Accept": "application/jwk-set+json, application/json"})  # noqa: S310 - checked
        with opener.open(request, timeout=TIMEOUT) as response:
            document: bytes = response.read(MAX_DOCUMENT + 1)
    finally:
        watchdog.cancel()
        for each in sockets:
            each.close()
    if time.monotonic() - began >= DEADLINE:
        raise TimeoutError(f"no key set within {DEADLINE:g} seconds")
    if len(document) > MAX_DOCUMENT:
        raise OSError(f"more than {MAX_DOCUMENT} bytes")
    return document


def _cut_off(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        with suppress(OSError):  # it has ended by itself
            each.shutdown(socket.SHUT_RDWR)


class _PlainConnection(HTTPConnection):
    """A connection whose socket can be cut off from outside."""

    def __init__(self, sockets: list[socket.socket], host: str, **given: Any) -> None:
        super().__init__(host, **given)
        self._sockets = sockets

    def connect(self) -> None:
        super().connect()
        self._sockets.append(self.sock)


class _TlsConnection(HTTPSConnection):
    """The same over TLS."""

    def __init__(self, sockets: list[socket.socket], host: str, **given: Any) -> None:
        super().__init__(host, **given)
        self._sockets = sockets

    def connect(self) -> None:
        super().connect()
        self._sockets.append(self.sock)


class _Http(HTTPHandler):
    def __init__(self, sockets: list[socket.socket]) -> None:
        super().__init__()
        self._sockets = sockets

    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(partial(_PlainConnection, self._sockets), request)


class _Https(HTTPSHandler):
    def __init__(self, sockets: list[socket.socket], context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._sockets = sockets
        self._given = context

    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(partial(_TlsConnection, self._sockets), request, context=self._given)


class _SameOrigin(HTTPRedirectHandler):
    """Follows a redirect only to where the operator said the keys are: elsewhere anybody may answer."""

    def __init__(self, url: str) -> None:
        self._origin = urlsplit(url)[:2]

    def redirect_request(  # noqa: PLR0913, PLR0917 - urllib calls it so
        self, request: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if urlsplit(newurl)[:2] != self._origin:
            raise HTTPError(request.full_url, code, f"a redirect to {newurl!r}, not followed", headers, fp)
        return super().redirect_request(request, fp, code, msg, headers, newurl)
