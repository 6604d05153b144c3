"""The sockets that a gateway listens on: which can be had, and what is left alone."""

import socket
from pathlib import Path

import pytest

from aupgate.errors import ListenError
from aupgate.proxy.sockets import UnixFile, bind


def test_a_port_of_an_address_is_bound() -> None:
    with bind("[::1]:0") as bound:
        assert bound.getsockname()[0] == "::1"


def test_a_socket_that_nobody_listens_on_is_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(tmp_path / "s"))
    with bind(f"unix:{tmp_path}/s") as bound:
        assert bound.getsockname() == f"{tmp_path}/s"


def test_only_the_own_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind(f"unix:{path}"):
        own = UnixFile.of(f"unix:{path}")
        assert own is not None
        path.rename(tmp_path / "own")
        with bind(f"unix:{path}"):
            own.remove()
            assert path.is_socket()
        path.unlink()
        (tmp_path / "own").rename(path)
        own.remove()
        assert not path.exists()


def test_an_address_in_use_cannot_be_listened_on(tmp_path: Path) -> None:
    with socket.socket() as taken, socket.socket(socket.AF_UNIX) as other:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other.bind(str(tmp_path / "s"))
        other.listen()
        for listen in (f"127.0.0.1:{taken.getsockname()[1]}", f"unix:{tmp_path}/s"):
            with pytest.raises(ListenError, match="cannot listen on"):
                bind(listen)
        assert (tmp_path / "s").is_socket()


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ListenError):
        bind(f"unix:{tmp_path}/s")
    assert (tmp_path / "s").read_text() == "precious"


@pytest.mark.parametrize(
    "listen", ["", "8080", ":8080", "host:", "host:http", "127.0.0.1:99999", "unix:/none/s", "999.1.1.1:0"]
)
def test_what_is_no_address_cannot_be_listened_on(listen: str) -> None:
    with pytest.raises(ListenError, match="cannot listen on"):
        bind(listen)
