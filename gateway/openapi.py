"""Reading an OpenAPI description (3.0 and later, JSON) into the operations that an interface offers.

Only what a request line and a Content-Type show is read: paths below the servers' base paths, methods, and the media
types of request bodies. References within the document are followed. Source: OpenAPI Specification 3.1, sections
4.8.5 to 4.8.13.
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, Final

from aupgate.http import media_type, normalise_path
from aupgate.operations import Operation

MAX_DOCUMENT: Final = 10 * 1024 * 1024
"""Bytes. The largest descriptions that are published are half of this."""

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
_PARAMETER: Final = re.compile(r"\{([^{}]*)\}")
_AUTHORITY: Final = re.compile(r"^(?:[^/?#]*:)?//[^/?#]*")
_MAX_REFERENCES: Final = 16


def read(document: bytes) -> tuple[Operation, ...]:
    """Return the operations that `document` describes. Raises `ValueError` saying why it cannot be read."""
    if len(document) > MAX_DOCUMENT:
        raise ValueError(f"it has {len(document)} bytes, more than the {MAX_DOCUMENT} that are read")
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON, convert it if it is YAML") from None
    if not isinstance(parsed, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - wrong in value, like all else here
    return routes_of(parsed)


def routes_of(document: Mapping[str, Any]) -> tuple[Operation, ...]:
    """Return the operations of a parsed description. Raises `ValueError` saying why it cannot be used."""
    version = document.get("openapi")
    if not isinstance(version, str) or not version.startswith("3."):
        raise ValueError(f"its version is {version!r}, expected OpenAPI 3.0 or later")
    operations = [
        operation
        for path, item in _table(document, "paths").items()
        if not path.startswith("x-")
        for operation in _of_item(document, path, _followed(document, item))
    ]
    return tuple(dict.fromkeys(operations))


def _table(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = holder.get(name, {})
    if not isinstance(found, dict):
        raise ValueError(f"its {name!r} is not an object")  # noqa: TRY004 - wrong in value, like all else here
    return found


def _followed(document: Mapping[str, Any], part: Any) -> Mapping[str, Any]:
    """Return `part`, or what it refers to."""
    for _ in range(_MAX_REFERENCES):
        if not isinstance(part, dict):
            raise ValueError(f"it has {part!r:.80} where an object belongs")  # noqa: TRY004 - wrong in value, as above
        if "$ref" not in part:
            return part
        part = _target(document, part["$ref"])
    raise ValueError(f"it has a chain of more than {_MAX_REFERENCES} references")


def _target(document: Mapping[str, Any], reference: Any) -> Any:
    if not isinstance(reference, str) or not reference.startswith("#/"):
        raise ValueError(f"it refers to {reference!r}, only references within the document are followed: bundle it")
    found: Any = document
    for name in reference[2:].split("/"):
        found = found.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found


def _of_item(document: Mapping[str, Any], path: str, item: Mapping[str, Any]) -> Iterator[Operation]:
    for method in _METHODS:
        if method not in item:
            continue
        operation = _followed(document, item[method])
        types = _content_types(document, operation)
        for base in _bases(operation.get("servers") or item.get("servers") or document.get("servers")):
            yield Operation(_template(base, path), (method.upper(),), types)


def _content_types(document: Mapping[str, Any], operation: Mapping[str, Any]) -> tuple[str, ...]:
    content = _table(_followed(document, operation.get("requestBody", {})), "content")
    return tuple(dict.fromkeys(known for name in content if (known := media_type(name.encode()))))


def _bases(servers: Any) -> tuple[str, ...]:
    """Return the distinct base paths of `servers`; the root when there are none."""
    if not isinstance(servers, list):
        return ("",)
    return tuple(dict.fromkeys(_base(server) for server in servers if isinstance(server, dict))) or ("",)


def _base(server: Mapping[str, Any]) -> str:
    variables = _table(server, "variables")

    def default(found: re.Match[str]) -> str:
        # A variable stands for one segment of the path, whatever its value, unless its default says that it is more.
        text = str(_table(variables, found[1]).get("default", ""))
        return found[0] if text and "/" not in text else text

    url = _PARAMETER.sub(default, str(server.get("url", "/")))
    path = _AUTHORITY.sub("", url).partition("?")[0].partition("#")[0].strip("/")
    return "/" + path if path else ""


def _template(base: str, path: str) -> str:
    """Return the template for `path` below `base`; parameters are numbered, because their names may be anything."""
    if not path.startswith("/"):
        raise ValueError(f"its path {path!r} does not start with a slash")
    numbers = count()
    text = _PARAMETER.sub(lambda _: f"{{p{next(numbers)}}}", base + path.partition("?")[0].partition("#")[0])
    return normalise_path(text.encode("utf-8", "backslashreplace"))
