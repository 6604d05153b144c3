"""`interfaces`: the paths, methods and media types that the application offers, and nothing else.

What is denied is denied in every spelling of its path, because rules match the normalised path. Source: RFC 9110
sections 7.7, 15.5.5, 15.5.6 and 15.5.16; RFC 9112 section 3.2.2.
"""

import asyncio
from collections.abc import Hashable, Iterator, Sequence
from typing import Final, Literal, Self

from pydantic import model_validator

from aupgate import openapi
from aupgate.config import MediaType, Method, PathTemplate, PolicySettings, expectation
from aupgate.config import Settings as Table
from aupgate.errors import ServiceError
from aupgate.http import media_type
from aupgate.memory import Memory
from aupgate.model import Action, Disclosure, Finding, Header, Request, Rule
from aupgate.operations import Operation, accept_fields, allow_field
from aupgate.policy import Services
from aupgate.routes import LONGEST_PATH, RouteTable
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


_Answer = tuple[tuple[Finding, ...], tuple[Operation, ...]]
"""What a method and path show, and the operations that take them."""


def _length(asked: tuple[str, str]) -> int:
    return len(asked[0]) + len(asked[1])


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
        self._answers = self._memory()

    async def prepare(self, services: Services) -> None:
        """Read the OpenAPI document, if one is configured. Raises `ServiceError` when it cannot be had or used."""
        if not self._openapi:
            return
        document = await services.documents.fetch(self._openapi)
        try:
            # Megabytes of JSON hold up the event loop for longer than requests should wait.
            self._offered = await asyncio.to_thread(self._read, document)
            self._complete = True
            self._answers = self._memory()
        except ValueError as error:
            raise ServiceError(f"the openapi document {self._openapi!r} cannot be used: {error}") from None

    def _memory(self) -> Memory[tuple[str, str], _Answer]:
        return Memory(self._answer, longest=LONGEST_PATH, size=_length)

    def _read(self, document: bytes) -> RouteTable[Operation]:
        return _table([*self._allowed, *openapi.read(document)])

    def on_request(self, request: Request) -> Sequence[Finding]:
        """Judge target, path, method and media type.

        Before the OpenAPI document is read, a path that only it may know is refused where unknown paths are, and else
        cannot be judged: then this raises `ServiceError`.
        """
        path, target = request.path, request.target
        findings, taking = self._answers["GET" if request.kind == "websocket" else request.method, path]
        if target[:1] != b"/" or target[:2] == b"//" or request.method == "CONNECT":
            findings = (*self._judge_target(request), *findings)
        if taking and request.may_have_body:
            findings = (*findings, *_judge_body(request, taking))
        if self._complete or self._refuses_unknown or findings or self._offered.find(path):
            return findings
        raise ServiceError("the openapi document has not been read yet")

    def path_decision(self, method: str, path: str) -> Hashable:
        """Return what is found about `path`, and the operations that take it."""
        findings, taking = self._answers[method, path]
        return tuple(finding.rule for finding in findings), tuple(map(id, taking))

    def _judge_target(self, request: Request) -> Iterator[Finding]:
        """Judge a target that is more than a path."""
        if request.kind == "http" and is_for_proxy(request.method, request.target, request.header(b"host") or b""):
            yield _refuse("open_proxy", 403, "this service passes requests on to nobody else")
        # Some applications take `//host/path` for a URL without its scheme (RFC 3986 section 4.2).
        path = request.path.lower()
        if request.target.startswith(b"//") and self._denied.find("/" + path[1:].partition("/")[2]):
            yield _denied()

    def _answer(self, asked: tuple[str, str]) -> _Answer:
        """Judge method and path; what else matters differs from request to request."""
        method, path = asked
        offered = self._offered.find(path)
        taking = tuple(operation for operation in offered if operation.takes(method))
        return tuple(self._judge(method, path, offered, taking)), taking

    def _judge(
        self, method: str, path: str, offered: Sequence[Operation], taking: Sequence[Operation]
    ) -> Iterator[Finding]:
        if self._denied.find(path.lower()):
            yield _denied()
        if not offered:
            if self._refuses_unknown and not self._complete:
                yield _refuse("unready", 503, "this service does not know yet what it offers", retry_after=_RETRY_AFTER)
            elif self._refuses_unknown and path != "*":
                yield _refuse("unknown_path", 404, "this service offers nothing at this path")
        elif not taking and method != "OPTIONS":
            yield _refuse("method", 405, f"this path does not take {method[:32]}", (allow_field(offered),))


def _denied() -> Finding:
    return _refuse("denied", 404, "not found")


def _table(operations: Sequence[Operation]) -> RouteTable[Operation]:
    return RouteTable([(operation.path, operation) for operation in operations])


def _judge_body(request: Request, taking: Sequence[Operation]) -> Iterator[Finding]:
    if all(operation.content_types for operation in taking):
        sent = media_type(request.header(b"content-type") or b"")
        if not any(operation.accepts(sent) for operation in taking):
            yield _refuse(
                "media_type", 415, "this path does not take bodies of this type", accept_fields(taking, request.method)
            )


def _refuse(
    rule: str, status: int, detail: str, headers: tuple[Header, ...] = (), retry_after: float | None = None
) -> Finding:
    return Finding(f"interfaces.{rule}", Action.REFUSE, status, detail, headers, retry_after=retry_after)
