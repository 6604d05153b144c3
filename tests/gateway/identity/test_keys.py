"""The file of known API keys."""

from hashlib import sha256
from pathlib import Path

import pytest

from aupgate.errors import ConfigError
from aupgate.identity.keys import load_keys
from aupgate.model import Account


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
