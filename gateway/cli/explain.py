"""`aupgate explain`: one raw HTTP request through the policies, each policy's step and the verdict.

Each policy is asked on its own, as if it were the only one, and then all of them together as in the gateway. Nothing is
counted, recorded or forwarded; only the documents that policies need are read, if need be from the application.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import typer

from aupgate.cli.loading import open_config
from aupgate.cli.output import say, table
from aupgate.cli.raw_request import RawRequest, parse
from aupgate.driver import judge, judge_body
from aupgate.enforcement import Enforcement
from aupgate.engine import Engine
from aupgate.errors import ServiceError
from aupgate.gateway import Gateway
from aupgate.identity.addresses import parse_address
from aupgate.middleware.documents import AppDocuments
from aupgate.model import Action, Judgement, Mode, Request, Verdict
from aupgate.store.memory import MemoryStore

MAX_KEYS: Final = 1000
"""Meters of the store that is made for each judgement."""


def run(config: Path | None, raw: bytes, *, client: str, scheme: str, as_json: bool) -> bool:
    """Explain the request `raw` and return whether it is allowed. Raises `ConfigError`, `typer.BadParameter`."""
    if parse_address(client) is None:
        raise typer.BadParameter(f'"{client}" is no IP address: expected one such as 192.0.2.1', param_hint="--client")
    parsed = parse(raw)
    # A policy that fails is a finding and shown; the log would say it again, with a stack trace.
    logging.getLogger("aupgate").addHandler(logging.NullHandler())
    gateway = open_config(config, serving=False).gateway
    request = _request(gateway, parsed, client, scheme)
    report = asyncio.run(_report(gateway, request, parsed))
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)
    return bool(report["verdict"]["allow"])


def _request(gateway: Gateway, raw: RawRequest, client: str, scheme: str) -> Request:
    """Return what the adapter would make of `raw`."""
    path, _, query = raw.target.partition(b"?")
    return gateway.request(
        raw.method,
        path,
        query,
        list(raw.headers),
        peer=client,
        scheme=scheme.replace("http", "ws") if raw.kind == "websocket" else scheme,
        http_version=raw.http_version,
        kind=raw.kind,
    )


async def _report(gateway: Gateway, request: Request, raw: RawRequest) -> dict[str, Any]:
    engine = gateway.engine
    not_ready = await _prepare(gateway)
    steps = [await _step(gateway, each, request, raw.body, not_ready) for each in engine.enforcements]
    together = Engine(engine.enforcements, engine.clauses)  # without the sinks that record
    verdict = await _judge(gateway, together, request, raw.body)
    summary = {**_summary(request), "note": raw.note}
    return {"request": summary, "steps": steps, "verdict": _verdict(gateway, request, verdict)}


async def _prepare(gateway: Gateway) -> dict[str, str]:
    """Have the policies load what they need; return why some could not, by policy."""
    not_ready: dict[str, str] = {}
    gateway.services.documents = AppDocuments(_ask_upstream(gateway), gateway.loaded.base)
    for policy in gateway.preparing():
        try:
            await policy.prepare(gateway.services)
        except ServiceError as error:
            not_ready[policy.name] = str(error)
    return not_ready


def _ask_upstream(gateway: Gateway) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        from aupgate.cli.serve import upstream_app  # noqa: PLC0415 - an extra, and most configurations need no document

        async with upstream_app(gateway.loaded) as forward:
            await forward(scope, receive, send)

    return app


async def _judge(gateway: Gateway, engine: Engine, request: Request, body: bytes) -> Verdict:
    exchange, store = engine.open(request), MemoryStore(MAX_KEYS)
    verdict = judge(exchange, exchange.head(), store, request.now)
    plan = verdict.body_plan or verdict.observed_plan
    if not verdict.allow or plan is None or not body:
        return verdict
    if len(body) > plan.max_size:
        return exchange.oversize()
    with gateway.spools.open() as spool:
        spool.write(body)
        judged = await judge_body(exchange.body(spool, gateway.services), store, request.now)
    return Verdict(judged.refusal, judged.judgements, verdict.response_headers, verdict.edits)


# -- as plain data -----------------------------------------------------------------------------------------------------


def _summary(request: Request) -> dict[str, Any]:
    account, client = request.account, request.client
    return {
        "method": request.method,
        "path": request.path,
        "kind": request.kind,
        "scheme": request.scheme,
        "client": client.address,
        "network": client.network,
        "certain": client.certain,
        "account": account and {"id": account.id, "source": account.source, "verified": account.verified},
    }


async def _step(
    gateway: Gateway, enforcement: Enforcement, request: Request, body: bytes, not_ready: dict[str, str]
) -> dict[str, Any]:
    """Return what one policy makes of the request, when it alone is asked."""
    verdict = await _judge(gateway, gateway.engine.only(enforcement), request, body)
    exempt = enforcement.exempts is not None and enforcement.exempts(request)
    return {
        "policy": enforcement.name,
        "mode": enforcement.mode(request),
        "result": "exempt" if exempt else "pass" if verdict.allow else "refuse",
        "findings": [_finding(judgement) for judgement in verdict.judgements],
        "removes": sorted(field.decode("latin-1") for field in verdict.edits.remove) if verdict.edits else [],
        "not_ready": not_ready.get(enforcement.name, ""),
    }


def _finding(judgement: Judgement) -> dict[str, Any]:
    return {
        "rule": judgement.finding.rule,
        "action": judgement.finding.action,
        "mode": judgement.mode,
        "status": judgement.finding.status,
        "detail": judgement.finding.detail,
        "evidence": {name: str(found) for name, found in judgement.finding.evidence.items()},
        "clauses": [clause.id for clause in judgement.clauses],
    }


def _verdict(gateway: Gateway, request: Request, verdict: Verdict) -> dict[str, Any]:
    if verdict.refusal is None:
        return {"allow": True}
    answer = gateway.refusals(request, verdict.refusal, verdict.response_headers)
    return {
        "allow": False,
        "policy": verdict.refusal.finding.policy,
        "rule": verdict.refusal.finding.rule,
        "status": answer.status,
        "clauses": [{"id": clause.id, "title": clause.title} for clause in verdict.refusal.clauses],
        "headers": {name.decode("latin-1"): text.decode("latin-1") for name, text in answer.headers},
        "body": answer.body.decode("utf-8"),
    }


# -- for people --------------------------------------------------------------------------------------------------------


def _print(report: dict[str, Any]) -> None:
    request, steps, verdict = report["request"], report["steps"], report["verdict"]
    say(f"{request['method']} {request['path']} from {_sender(request)}")
    if request["note"]:
        say(f"note: {request['note']}", "yellow")
    table(["policy", "mode", "result", "what it saw"], [_row(step) for step in steps])
    for found in [found for step in steps for found in step["findings"] if _only_observed(found)]:
        say(f"observed only: {found['rule']} would {found['action']} with {found['status']}", "yellow")
    if verdict["allow"]:
        say("verdict: allow", "bold green")
        return
    say(f"verdict: refuse with {verdict['status']}, rule {verdict['rule']}", "bold red")
    for clause in verdict["clauses"]:
        say(f"  clause {clause['id']}: {clause['title']}")


def _sender(request: dict[str, Any]) -> str:
    account, unsure = request["account"], "" if request["certain"] else " (or a proxy for others)"
    if account is None:
        return f"{request['client']}{unsure}, no account"
    verified = "verified" if account["verified"] else "not verified"
    return f"{request['client']}{unsure}, account {account['id']} ({verified}, {account['source']})"


def _only_observed(found: dict[str, Any]) -> bool:
    return found["mode"] is Mode.OBSERVE and found["action"] in {Action.REFUSE, Action.ANSWER}


def _row(step: dict[str, Any]) -> Sequence[str]:
    saw = [f"{found['rule']} ({found['action']}, {found['mode']}): {found['detail']}" for found in step["findings"]]
    if step["removes"]:
        saw.append(f"removes {', '.join(step['removes'])}")
    if step["not_ready"]:
        saw.append(f"not ready: {step['not_ready']}")
    return [step["policy"], step["mode"], step["result"], "; ".join(saw) or "nothing"]
