"""`aupgate serve`: the gateway as a reverse proxy, and the admin listener beside it."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from aupgate.admin import admin
from aupgate.build import build
from aupgate.cli.loading import open_config, tls_context, upstream_tls, upstream_warnings
from aupgate.config import Config, Loaded
from aupgate.errors import AupgateError
from aupgate.gateway import Gateway
from aupgate.metrics import Metrics, UpstreamState
from aupgate.middleware import AcceptableUse
from aupgate.model import Action, Finding, Header, Judgement, Mode, Rule
from aupgate.proxy.admission import Admission
from aupgate.proxy.app import ReverseProxy
from aupgate.proxy.connection import Timeouts
from aupgate.proxy.descriptors import provide
from aupgate.proxy.forwarding import Forwarding
from aupgate.proxy.intake import IntakeLimits
from aupgate.proxy.lane import Lane
from aupgate.proxy.listener import Listener
from aupgate.proxy.listener import run as listen
from aupgate.proxy.pool import Pool
from aupgate.proxy.problem import OnError, problem
from aupgate.proxy.upstream import Upstreams

TITLES = {502: "The application cannot be reached", 504: "The application does not answer in time"}
RETRY_AFTER = 5.0
"""Seconds that a client is asked to wait for an application that is away."""


def run(config: Path | None, overrides: dict[str, str]) -> None:
    """Serve until told to stop. Raises `ConfigError`, and `ListenError` when an address cannot be had."""
    loaded = open_config(config, overrides, serving=True).loaded
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    provide(loaded.config.gateway.connections.total)
    gateway = build(loaded, access="stdout")
    # What start-up made lives as long as the process: the collector need not walk it again while requests wait.
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(gateway))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return uvloop's where it is installed: it is faster, and not to be had on every platform."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    except ImportError:
        return asyncio.new_event_loop
    return factory


async def _serve(gateway: Gateway) -> None:
    config = gateway.config
    forward = reverse_proxy(gateway.loaded, gateway.metrics, on_error=_refusals_for_upstream(gateway))
    app = AcceptableUse(forward, gateway)
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGUSR1, lambda: gateway.observe(on=not gateway.switch.observe)
    )
    try:
        lane = forward.lane(gateway, app.preparation.waiting)
        await listen(_listeners(app, lane, config), shutdown_grace=config.gateway.shutdown_grace)
    finally:
        await gateway.close_store()
        gateway.flush()


def _listeners(app: AcceptableUse, lane: Lane, config: Config) -> list[Listener]:
    timeouts, scheme = config.gateway.timeouts, "https" if config.gateway.tls else "http"
    admission = _admission(config)
    app.gateway.metrics.show(admission.families)
    main = Listener(
        app,
        config.gateway.listen,
        tls_context(app.gateway.loaded),
        lambda address: _announce(scheme, address, config),
        idle=timeouts.idle,
        limits=IntakeLimits(timeouts.header, timeouts.body, timeouts.write, config.gateway.connections.min_rate),
        on_unreadable=_refusals_for_unreadable(app.gateway),
        lane=lane,
        admission=admission,
        proxied=config.gateway.proxy_protocol,
    )
    if config.admin.listen == "off":
        return [main]
    operators = admin(app.gateway.metrics, lambda: [policy.name for policy in app.preparation.waiting])
    return [main, Listener(operators, config.admin.listen, on_started=_announce_admin, outlives=True)]


def _admission(config: Config) -> Admission:
    bounds, client = config.gateway.connections, config.client
    trusted = None if client.trusted_proxies is None else [str(network) for network in client.trusted_proxies]
    return Admission(bounds.total, bounds.per_client, trusted=trusted, ipv6_prefix=client.ipv6_prefix)


def _announce(scheme: str, address: str, config: Config) -> None:
    at = address if address.startswith("unix:") else f"{scheme}://{address}"
    logging.getLogger("aupgate").info("listening on %s, in front of %s", at, ", ".join(config.gateway.upstream))


def _announce_admin(address: str) -> None:
    at = address if address.startswith("unix:") else f"http://{address}"
    logging.getLogger("aupgate").info("metrics and health on %s", at)


def reverse_proxy(loaded: Loaded, metrics: Metrics, on_error: OnError = problem) -> ReverseProxy:
    """Return the application that forwards to the configured upstreams; `metrics` show how these are."""
    for warning in upstream_warnings(loaded.config):
        logging.getLogger("aupgate").warning(warning)
    upstreams = _upstreams(loaded)
    metrics.watch_upstreams(lambda: map(_state, upstreams.pools))
    return ReverseProxy(upstreams, forwarding=Forwarding(loaded.config.gateway.forwarding), on_error=on_error)


@asynccontextmanager
async def upstream_app(loaded: Loaded) -> AsyncIterator[ReverseProxy]:
    """Give an application that forwards to the configured upstreams, for as long as the context lasts."""
    upstreams = _upstreams(loaded)
    try:
        yield ReverseProxy(upstreams, forwarding=Forwarding(loaded.config.gateway.forwarding))
    finally:
        upstreams.close()


def _upstreams(loaded: Loaded) -> Upstreams:
    gateway = loaded.config.gateway
    waits = gateway.timeouts
    timeouts = Timeouts(connect=waits.connect, response=waits.response, pause=waits.pause, idle=waits.idle)
    try:
        return Upstreams.from_urls(gateway.upstream, timeouts, upstream_tls(loaded))
    except ValueError as error:
        raise AupgateError(f"gateway.upstream cannot be used: {error}") from error


def _state(pool: Pool) -> UpstreamState:
    return UpstreamState(pool.health.url, pool.health.up, pool.health.failures, pool.busy, pool.idle)


def _refusals_for_unreadable(gateway: Gateway) -> OnError:
    """Answer for requests that the listener cannot read, with the clause, and a line in the audit log."""

    def render(scope: MutableMapping[str, Any], status: int, rule: str, detail: str) -> tuple[list[Header], bytes]:
        peer = scope.get("client")
        finding = Finding(rule, Action.REFUSE, status, detail, points=1)
        answer = gateway.refuse_unreadable(peer[0] if peer else None, finding)
        return list(answer.headers), answer.body

    return render


def _refusals_for_upstream(gateway: Gateway) -> OnError:
    """Answer for an application that gives no answer in the same way as refusals are answered."""

    def render(scope: MutableMapping[str, Any], status: int, rule: str, detail: str) -> tuple[list[Header], bytes]:
        context = scope.get("aupgate")
        if context is None:  # the gateway's own look-up of a document
            return problem(scope, status, rule, detail)
        finding = Finding(rule, Action.ANSWER, status, detail, retry_after=RETRY_AFTER)
        judgement = Judgement(finding, Rule(rule, TITLES.get(status, "The application failed")), Mode.ENFORCE)
        answer = gateway.refusals(context.request, judgement, ())
        return list(answer.headers), answer.body

    return render
