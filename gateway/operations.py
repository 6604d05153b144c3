"""What an application offers: operations, told apart by path, method and the media type of the body."""

from collections.abc import Sequence

from aupgate.model import Header
from aupgate.values import value


@value
class Operation:
    """One thing that is offered at the paths of a template."""

    path: str
    """Path template, as `aupgate.routes.parse_template` takes it."""
    methods: tuple[str, ...] = ()
    """Methods it takes; empty: any."""
    content_types: tuple[str, ...] = ()
    """Media types, in lower case, that its body may have; `image/*` stands for all of a kind, none for any at all."""

    def takes(self, method: str) -> bool:
        """Return whether it takes `method`; GET includes HEAD (RFC 9110 section 9.1)."""
        return not self.methods or method in self.methods or (method == "HEAD" and "GET" in self.methods)

    def accepts(self, media_type: str) -> bool:
        """Return whether it accepts a body of `media_type`, which is empty for a body that has none."""
        if not self.content_types or "*/*" in self.content_types or media_type in self.content_types:
            return True
        return bool(media_type) and media_type.partition("/")[0] + "/*" in self.content_types


def allow_field(operations: Sequence[Operation]) -> Header:
    """Return the `Allow` field for a path that offers `operations` (RFC 9110 section 10.2.1)."""
    methods = dict.fromkeys(method for operation in operations for method in operation.methods)
    if "GET" in methods:
        methods["HEAD"] = None
    methods["OPTIONS"] = None
    return b"allow", ", ".join(methods).encode()


def accept_fields(operations: Sequence[Operation], method: str) -> tuple[Header, ...]:
    """Return the fields that say which media types are accepted (RFC 9110 section 15.5.16, W3C LDP section 7.1)."""
    types = ", ".join(dict.fromkeys(each for operation in operations for each in operation.content_types)).encode()
    return ((b"accept", types), (b"accept-post", types)) if method == "POST" else ((b"accept", types),)
