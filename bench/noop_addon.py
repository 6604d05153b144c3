"""An addon for mitmdump that looks at every request and does nothing."""

from typing import Any


class Nothing:
    def request(self, flow: Any) -> None:
        """Let the request pass."""


addons = [Nothing()]
