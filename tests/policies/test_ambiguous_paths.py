"""A path that can be read in two ways is refused where the readings are treated differently, and only there."""

from typing import Any

import pytest

from aupgate.build import build, read
from tests.middleware.wrapped import QUIET, App, call, http_scope

DENY = {"interfaces": {"mode": "enforce", "deny": [{"path": "/internal/{rest:path}"}]}}
OFFER = {"interfaces": {"mode": "enforce", "default": "refuse", "allow": [{"path": "/files/{name}"}]}}
LIMIT = {"rate_limits": {"mode": "enforce", "limits": [{"name": "x", "rate": "9/day", "match": {"path": "/costly"}}]}}
EXEMPT = {"rate_limits": {"mode": "enforce", "exempt": [{"path": "/free/{rest:path}"}]}}


async def answered(policies: dict[str, Any], target: bytes, root: str = "") -> tuple[int, bytes]:
    """Return the status, and the body in which a refusal names its rule."""
    config = {**QUIET, "client": {"trusted_proxies": []}, "policies": {"scrapers": {"mode": "off"}, **policies}}
    path, _, query = target.partition(b"?")
    scope = http_scope(path=path.decode("latin-1"), raw_path=path, query_string=query, root_path=root)
    server = await call(App(), build(read(config, environ={})), scope)
    return server.status, server.body


@pytest.mark.parametrize(
    ("policies", "target"),
    [
        pytest.param(DENY, b"/x%2F..%5C..%5Cinternal/a", id="backslashes as slashes"),
        pytest.param(DENY, b"/%252e/internal/a", id="decoded twice"),
        pytest.param(DENY, b"/internal%252Fa", id="a slash encoded twice"),
        pytest.param(DENY, b"/internal%C0%AFa", id="an overlong slash"),
        pytest.param(DENY, b"/;x/internal/a", id="parameters of an empty segment"),
        pytest.param(OFFER, b"/files/a%2Fb", id="an encoded slash that would be none offered"),
        pytest.param(LIMIT, b"/costly%C0%AF", id="a limit that would not count"),
        pytest.param(EXEMPT, b"/paid%2F..%252ffree/a", id="an exemption that would hold"),
    ],
)
async def test_it_is_refused_where_it_matters(policies: dict[str, Any], target: bytes) -> None:
    status, body = await answered(policies, target)
    assert (status, b"protocol.ambiguous_path" in body) == (400, True)


@pytest.mark.parametrize(
    "target",
    [
        b"/files/a%2Fb",
        b"/wiki//B",
        b"/a;v=1/b",
        b"/C%2523",
        b"/%C0%A5",
        b"/a%5Cb",
        b"/style.css;jsessionid=1",
        b"/?q=//",
    ],
    ids=bytes.decode,
)
@pytest.mark.parametrize("policies", [DENY, LIMIT, EXEMPT, {}], ids=["deny", "limit", "exempt", "defaults"])
async def test_it_passes_where_nothing_hangs_on_it(policies: dict[str, Any], target: bytes) -> None:
    assert (await answered(policies, target))[0] == 200


async def test_what_only_observes_refuses_no_path() -> None:
    observed = {"interfaces": {**DENY["interfaces"], "mode": "observe"}}
    assert (await answered(observed, b"/internal%252Fa"))[0] == 200


async def test_below_a_mount_the_rest_of_the_path_counts() -> None:
    assert (await answered(DENY, b"/app/internal%252Fa", "/app"))[0] == 400
    assert (await answered(DENY, b"/app/wiki//B", "/app"))[0] == 200
