"""Issuers of tokens for the tests: their keys, the tokens they sign, and a server that publishes the keys."""

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

NOW = 1_800_000_000.0
SECRET = b"a secret of sixty-four bytes or more, which is what HS512 needs!!"

CLAIMS: Mapping[str, Any] = {"iss": "https://login.example", "aud": "app", "sub": "ann", "exp": NOW + 600}


def private_key(algorithm: str, serial: int = 0) -> Any:
    """Return the key of this algorithm and number, always the same."""
    return _made(algorithm, serial)


@cache
def _made(algorithm: str, serial: int) -> Any:
    match algorithm[:2]:
        case "RS" | "PS":
            return rsa.generate_private_key(65537, 2048)
        case "ES":
            curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
            return ec.generate_private_key(curves[algorithm])
        case "Ed":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return SECRET


def public_key(algorithm: str, serial: int = 0) -> Any:
    key = private_key(algorithm, serial)
    return key if isinstance(key, bytes) else key.public_key()


def jwk(algorithm: str, key_id: str | None = None, serial: int = 0, **members: Any) -> dict[str, Any]:
    made = get_default_algorithms()[algorithm].to_jwk(public_key(algorithm, serial), as_dict=True)
    return {**made, **({} if key_id is None else {"kid": key_id}), **members}


def key_set(*keys: Mapping[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def token(
    algorithm: str = "RS256",
    claims: Mapping[str, Any] = CLAIMS,
    *,
    header: Mapping[str, Any] | None = None,
    serial: int = 0,
) -> bytes:
    """Return a token signed as it should be."""
    key = private_key(algorithm, serial)
    return jwt.encode(dict(claims), key, algorithm, headers={"kid": algorithm, **(header or {})}).encode()


def segment(data: bytes | Mapping[str, Any]) -> bytes:
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def compact(
    header: bytes | Mapping[str, Any],
    payload: bytes | Mapping[str, Any] = CLAIMS,
    sign: Callable[[bytes], bytes] | bytes = b"\x01",
) -> bytes:
    """Return three segments of whatever they are given."""
    signed = segment(header) + b"." + segment(payload)
    return signed + b"." + segment(sign(signed) if callable(sign) else sign)


def signer(algorithm: str, key: Any = None) -> Callable[[bytes], bytes]:
    made = get_default_algorithms()[algorithm]
    return lambda signed: made.sign(signed, private_key(algorithm) if key is None else key)


Answer = Callable[[BaseHTTPRequestHandler], None]


def document(body: bytes, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> Answer:
    """Answer with `body`."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, text in (("Content-Length", str(len(body))), *headers):
            handler.send_header(name, text)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


class Publisher(ThreadingHTTPServer):
    """Publishes a key set. `answer` may be replaced while it runs; `paths` are those asked for."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.paths: list[str] = []
        self.ended = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave in the middle are what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: Publisher

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.server.answer(self)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def publishing(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[tuple[Publisher, str]]:
    """Run a publisher; yield it and its URL."""
    with Publisher(answer) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server, f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}/keys"
        finally:
            server.ended.set()
            server.shutdown()
            thread.join()
