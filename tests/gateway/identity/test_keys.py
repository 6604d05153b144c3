"""The file of known API keys."""

from hashlib import sha256
from pathlib import Path

import pytest

from aupgate.errors import ConfigError
from aupgate.identity.keys import KnownKeys, load_keys
from aupgate.model import Account
from aupgate.watching import Watcher


def test_the_file_of_keys_is_read(tmp_path: Path) -> None:
    digest = sha256(b"secret").hexdigest()
    path = tmp_path / "keys.toml"
    path.write_text(f'[[keys]]\nid = "ann"\nsha256 = "{digest.upper()}"\nplan = "pro"\nparent = "acme"\n')
    assert load_keys(path) == {digest: Account("ann", "key", verified=True, plan="pro", parent="acme")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("keys = 1", "keys[0]"),
        ('[[keys]]\nid = "a"', "keys[0].sha256"),
        ('[[keys]]\nid = "a"\nsha256 = "short"', "64 hexadecimal"),
        ('[[keys]]\nid = "a"\nsha256 = "short"\ncolour = "red"', "keys[0].colour"),
        ('colour = "red"', "colour"),
        ("not toml", "readable TOML"),
    ],
)
def test_a_file_of_keys_that_is_wrong_says_where(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_keys(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_of_keys_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_keys(tmp_path / "keys.toml")


def test_a_file_of_keys_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"

    def write(*secrets: bytes) -> None:
        new = path.with_suffix(".new")
        new.write_text(
            "".join(f'[[keys]]\nid = "{each.decode()}"\nsha256 = "{sha256(each).hexdigest()}"\n' for each in secrets)
        )
        new.replace(path)

    write(b"ann")
    keys, watcher = KnownKeys(path), Watcher()
    watcher.watch(keys.read)
    before = [keys.find(each) is not None for each in (b"ann", b"bob")]
    write(b"bob")
    watcher.look()
    after = [keys.find(each) is not None for each in (b"ann", b"bob")]
    path.write_text("wrong")
    watcher.look()
    watcher.stop()

    assert (before, after) == ([True, False], [False, True])
    assert keys.find(b"bob") == Account("bob", "key", verified=True)


def test_without_a_file_no_key_is_known() -> None:
    keys = KnownKeys()
    assert keys.read() == ()
    assert keys.find(b"ann") is None
