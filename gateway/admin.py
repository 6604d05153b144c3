"""The admin listener: `/metrics` for Prometheus, `/healthz` (the process lives), `/readyz` (every policy can judge)."""

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aupgate.metrics import Metrics

NOT_READY = 503


def admin(metrics: Metrics, waiting: Callable[[], list[str]]) -> Starlette:
    """Return the admin application. `waiting` names the policies that have not loaded what they need."""

    async def exposition(_: Request) -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        missing = waiting()
        if missing:
            return JSONResponse({"status": "not ready", "waiting": missing}, status_code=NOT_READY)
        return JSONResponse({"status": "ready"})

    return Starlette(
        routes=[Route("/metrics", exposition), Route("/healthz", healthz), Route("/readyz", readyz)],
    )
