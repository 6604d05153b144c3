"""`interfaces`: the paths, methods and media types that the application offers, and nothing else.

What is denied is denied in every spelling of its path, because rules match the normalised path. Source: RFC 9110
sections 7.7, 15.5.5, 15.5.6 and 15.5.16; RFC 9112 section 3.2.2.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final, Literal, Self

from pydantic import model_validator

from aupgate import openapi
from aupgate.config import MediaType, Method, PathTemplate, PolicySettings, expectation
from aupgate.config import Settings as Table
from aupgate.errors import ServiceError
from aupgate.http import media_type
from aupgate.model import Action, Disclosure, Finding, Header, Request, Rule
from aupgate.operations import Operation, accept_fields, allow_field
from aupgate.policy import Services
from aupgate.routes import RouteTable
from aupgate.targets import is_for_proxy


class Allow(Table):
    """One interface that is offered."""

    path: PathTemplate
    """Its path, as Starlette writes it: `/api/items/{id}`, `/files/{rest:path}`."""
    methods: tuple[Method, ...] = ()
    """Methods it takes; GET includes HEAD, OPTIONS always passes. Empty: any."""
    content_types: tuple[MediaType, ...] = ()
    """Media types that request bodies may have, such as `application/json` or `image/*`. Empty: any."""


class Deny(Table):
    """Paths that are reached by nobody."""

    path: PathTemplate
    """The paths, as Starlette writes them: `/internal/{rest:path}`."""


class Settings(PolicySettings):
    """Which paths exist for clients, and what may be sent to them."""

    default: Literal["allow", "refuse"] = "allow"
    """What happens to paths that neither `allow` nor `openapi` knows; "refuse" needs one of the two."""
    openapi: str = ""
    """OpenAPI 3 description in JSON: a file, or a path on the upstream that is read at start. It adds to `allow`."""
    allow: tuple[Allow, ...] = ()
    """Interfaces that are offered. Where several match a path, it is enough that one takes the request."""
    deny: tuple[Deny, ...] = ()
    """Paths that are answered with 404 whatever else is allowed."""

    @model_validator(mode="after")
    def _refuses_something_known(self) -> Self:
        if self.default == "refuse" and not self.allow and not self.openapi:
            raise expectation('expected "allow" or "openapi" to say what is offered, or default = "allow"', "default")
        return self


_RETRY_AFTER: Final = 5.0
"""Seconds after which the OpenAPI document may have been read."""


class Interfaces:
    """Refuses what the application does not offer, and everything that would use the gateway as an open proxy."""

    name = "interfaces"
    rules = (
        Rule("interfaces.open_proxy", "Not an open proxy"),
        Rule("interfaces.denied", "Path that nobody may reach", Disclosure.NONE),
        Rule("interfaces.unknown_path", "Not an interface of this service"),
        Rule("interfaces.method", "Method not offered here"),
        Rule("interfaces.media_type", "Media type not accepted here"),
        Rule("interfaces.unready", "Interfaces not known yet"),
    )

    def __init__(self, settings: Settings) -> None:
        self._allowed = [Operation(each.path, each.methods, each.content_types) for each in settings.allow]
        self._refuses_unknown = settings.default == "refuse"
        self._openapi = settings.openapi
        # In small letters, because some applications route without regard to case.
        self._denied = RouteTable([(each.path.lower(), True) for each in settings.deny])
        self._offered = _table(self._allowed)
        self._complete = not settings.openapi

    async def prepare(self, services: Services) -> None:
        """Read the OpenAPI document, if one is configured. Raises `ServiceError` when it cannot be had or used."""
        if not self._openapi:
            return
        document = await services.documents.fetch(self._openapi)
        try:
            # Megabytes of JSON hold up the event loop for longer than requests should wait.
            self._offered = await asyncio.to_thread(self._read, document)
            self._complete = True
        except ValueError as error:
            raise ServiceError(f"the openapi document {self._openapi!r} cannot be used: {error}") from None

    def _read(self, document: bytes) -> RouteTable[Operation]:
        return _table([*self._allowed, *openapi.read(document)])

    def on_request(self, request: Request) -> Sequence[Finding]:
        """Judge target, path, method and media type.

        Before the OpenAPI document is read, a path that only it may know is refused where unknown paths are, and else
        cannot be judged: then this raises `ServiceError`.
        """
        findings: list[Finding] = []
        if request.kind == "http" and is_for_proxy(request.method, request.target, request.header(b"host") or b""):
            findings.append(_refuse("open_proxy", 403, "this service passes requests on to nobody else"))
        if self._is_denied(request):
            findings.append(_refuse("denied", 404, "not found"))
        offered = self._offered.find(request.path)
        if offered or self._complete or self._refuses_unknown:
            findings += self._judge(request, offered)
        elif not findings:
            raise ServiceError("the openapi document has not been read yet")
        return findings

    def _is_denied(self, request: Request) -> bool:
        path = request.path.lower()
        if self._denied.find(path):
            return True
        # Some applications take `//host/path` for a URL without its scheme (RFC 3986 section 4.2).
        return request.target.startswith(b"//") and bool(self._denied.find("/" + path[1:].partition("/")[2]))

    def _judge(self, request: Request, offered: Sequence[Operation]) -> Iterator[Finding]:
        if not offered:
            if self._refuses_unknown and not self._complete:
                yield _refuse("unready", 503, "this service does not know yet what it offers", retry_after=_RETRY_AFTER)
            elif self._refuses_unknown and request.path != "*":
                yield _refuse("unknown_path", 404, "this service offers nothing at this path")
            return
        method = "GET" if request.kind == "websocket" else request.method
        taking = [operation for operation in offered if operation.takes(method)]
        if taking:
            yield from _judge_body(request, taking)
        elif method != "OPTIONS":
            yield _refuse("method", 405, f"this path does not take {method[:32]}", (allow_field(offered),))


def _table(operations: Sequence[Operation]) -> RouteTable[Operation]:
    return RouteTable([(operation.path, operation) for operation in operations])


def _judge_body(request: Request, taking: Sequence[Operation]) -> Iterator[Finding]:
    if all(operation.content_types for operation in taking) and request.may_have_body:
        sent = media_type(request.header(b"content-type") or b"")
        if not any(operation.accepts(sent) for operation in taking):
            yield _refuse(
                "media_type", 415, "this path does not take bodies of this type", accept_fields(taking, request.method)
            )


def _refuse(
    rule: str, status: int, detail: str, headers: tuple[Header, ...] = (), retry_after: float | None = None
) -> Finding:
    return Finding(f"interfaces.{rule}", Action.REFUSE, status, detail, headers, retry_after=retry_after)
