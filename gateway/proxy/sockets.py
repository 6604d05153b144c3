"""The sockets that a gateway listens on."""

import socket
from dataclasses import dataclass
from pathlib import Path

from aupgate.errors import ListenError


def bind(listen: str) -> socket.socket:
    """Return a socket bound to `listen`. Raises `ListenError`."""
    try:
        if listen.startswith("unix:"):
            return _bind_unix(Path(listen.removeprefix("unix:")))
        host, _, port = listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:  # getaddrinfo would take the rest of a division
            raise ListenError(f'cannot listen on "{listen}", write "host:port", "[address]:port" or "unix:/path"')
        return _bind_tcp(host.strip("[]"), int(port))
    except OSError as error:
        raise ListenError(
            f'cannot listen on "{listen}": {error}; choose another address, or end what uses it'
        ) from None


def _bind_tcp(host: str, port: int) -> socket.socket:
    family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    bound = socket.socket(family, kind, number)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _bind_unix(path: Path) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            _remove_abandoned(path)
        bound.bind(str(path))
    except OSError:
        bound.close()
        raise
    return bound


def _remove_abandoned(path: Path) -> None:
    """Remove a socket that a process left behind when it was killed, so that nobody listens on it any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


@dataclass(frozen=True, slots=True)
class UnixFile:
    """The file of a unix socket, known by its inode, so that nobody else's is removed."""

    path: Path
    inode: tuple[int, int]

    @classmethod
    def of(cls, listen: str) -> "UnixFile | None":
        """Return the file of a `unix:/path` that was just bound, None for other addresses."""
        if not listen.startswith("unix:"):
            return None
        path = Path(listen.removeprefix("unix:"))
        return cls(path, cls._inode(path))

    def remove(self) -> None:
        """Remove the file, if it is still the same."""
        if self.path.exists() and self._inode(self.path) == self.inode:
            self.path.unlink()

    @staticmethod
    def _inode(path: Path) -> tuple[int, int]:
        status = path.stat()
        return status.st_dev, status.st_ino
