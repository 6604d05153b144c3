"""What is measured in process: each subject is the same small application, bare and wrapped.

A subject also proves that it works, by hostile requests that the wrapped application must refuse.
This module runs in the environments of all subjects, so it imports none of them before it is asked to.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from bench.workloads import ANSWER, GET, POST

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
Configuration = Mapping[str, Any]

_PLENTY: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Proof:
    """A request as changes to a clean one's scope; the last of `times` such requests must be refused."""

    app: App
    scope: Mapping[str, Any]
    times: int = 1


@dataclass(frozen=True, slots=True)
class Subject:
    """An application without and with what is measured around it."""

    bare: App
    wrapped: App
    proofs: Sequence[Proof] = ()


def application(*middleware: Any) -> Any:
    """Return a small FastAPI application inside the given middleware."""
    request, response = import_module("starlette.requests").Request, import_module("starlette.responses").Response

    async def items() -> Any:
        return response(ANSWER, media_type="application/json")

    async def message(request: Any) -> Any:
        await request.body()
        return response(ANSWER, media_type="application/json")

    message.__annotations__["request"] = request  # FastAPI reads what to pass from annotations
    app = import_module("fastapi").FastAPI(middleware=list(middleware))
    app.get(GET.path)(items)
    app.post(POST.path)(message)
    return app


def starlette_application(*middleware: Any) -> Any:
    """Return the same in Starlette, whose applications have fewer routes of their own."""
    response, route = import_module("starlette.responses").Response, import_module("starlette.routing").Route

    async def items(_: Any) -> Any:
        return response(ANSWER, media_type="application/json")

    async def message(request: Any) -> Any:
        await request.body()
        return response(ANSWER, media_type="application/json")

    routes = [route(GET.path, items), route(POST.path, message, methods=["POST"])]
    return import_module("starlette.applications").Starlette(routes=routes, middleware=list(middleware))


def _agent(text: bytes) -> dict[str, Any]:
    return {"headers": [(b"host", b"stockroom.example"), (b"user-agent", text), (b"accept", b"*/*")]}


def aupgate(config: Configuration) -> Subject:
    """aupgate as a middleware."""
    wrap = import_module("aupgate.middleware").AcceptableUse
    wrapped = wrap(application(), dict(config))
    two_hosts = {"headers": [(b"host", b"stockroom.example"), (b"host", b"other.example")]}
    proofs = [Proof(wrapped, two_hosts)] if config.get("gateway", {}).get("mode") != "off" else []
    if "scrapers" in config.get("policies", {}):
        proofs.append(Proof(wrapped, _agent(b"sqlmap/1.8.4#stable (https://sqlmap.org)")))
    return Subject(application(), wrapped, proofs)


def slowapi(config: Configuration) -> Subject:
    """One of SlowAPI's middlewares, the one that `config` names, with one limit for every client in memory."""
    name = config["middleware"]
    make = starlette_application if config.get("framework") == "starlette" else application

    def limited(amount: int) -> App:
        module, middleware = import_module("slowapi"), import_module("starlette.middleware").Middleware
        app = make(middleware(getattr(import_module("slowapi.middleware"), name)))
        address = import_module("slowapi.util").get_remote_address
        app.state.limiter = module.Limiter(key_func=address, default_limits=[f"{amount}/minute"])
        wrapped: App = app
        return wrapped

    return Subject(make(), limited(_PLENTY), [Proof(limited(1), {}, times=2)])


def guard(config: Configuration) -> Subject:
    """fastapi-guard; `config` holds settings of its `SecurityConfig`."""
    middleware = import_module("starlette.middleware").Middleware
    module = import_module("guard")
    settings = module.SecurityConfig(
        enable_redis=False, rate_limit=_PLENTY, blocked_user_agents=["forbidden-agent"], **config
    )
    app = application(middleware(module.SecurityMiddleware, config=settings))
    attack = {"query_string": b"q=%3Cscript%3Ealert(1)%3C/script%3E"}
    detects = bool(config["enable_penetration_detection"])
    return Subject(application(), app, [Proof(app, attack if detects else _agent(b"forbidden-agent"))])


SUBJECTS: Final[Mapping[str, Callable[[Configuration], Subject]]] = {
    "aupgate": aupgate,
    "slowapi": slowapi,
    "guard": guard,
}
