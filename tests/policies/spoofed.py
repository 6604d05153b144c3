"""Names of request fields that clients make up, and of those that resemble them and are honest."""

import tomllib
from pathlib import Path
from typing import Final

_TABLE: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())

SPOOFED: Final = [name.encode() for name in _TABLE["spoofed"]]
LEGITIMATE: Final = [name.encode() for name in _TABLE["legitimate"]]
