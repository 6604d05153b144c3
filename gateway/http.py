"""HTTP's small print as pure functions: paths, media types, `Accept`, preflights, and the fields that refusals carry.

Nothing here raises on input from the network; what cannot be understood yields the answer that grants least.
"""

import math
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from aupgate.memory import Memory
from aupgate.meters import Admitted, Plan, Quota, Reading
from aupgate.model import Header, Request

_PLAIN: Final = bytes(set(range(0x80)) - set(b"%;\\"))
_ABSOLUTE: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/\\]*")
_SLASHES: Final = re.compile(r"/{2,}")
_PARAMETERS: Final = re.compile(r";[^/]*")
_INVALID: Final = re.compile(r"[%\udc80-\udcff]")


def normalise_path(raw: bytes) -> str:
    r"""Return the path that rules match, from the path of a request target (without its query) as it came.

    Percent-encoding is decoded once, as UTF-8; parameters (`;v=1`) are dropped from each segment; a backslash counts
    as a slash; runs of slashes become one; dot segments are resolved (RFC 3986 section 5.2.4), and the result starts
    with a slash. Scheme and authority of the absolute form are dropped. So a rule holds for every spelling of a path,
    also for an encoded slash.

    Two kinds of bytes stay percent-encoded, in upper case, so that different paths stay different and the result
    normalises to itself: those that are not UTF-8 (`%FF`), and the percent sign (`%25`). Never raises.
    """
    return _normal_paths[raw]


def _normalise(raw: bytes) -> str:
    if raw.startswith(b"/") and b"//" not in raw and b"/." not in raw and not raw.translate(None, _PLAIN):
        return raw.decode("ascii")
    if raw == b"*":  # RFC 9112 section 3.2.4: the server as a whole, which is no path
        return "*"
    decoded = unquote_to_bytes(without_authority(raw)).decode("utf-8", "surrogateescape")
    text = _INVALID.sub(_encode_again, decoded).replace("\\", "/")
    return resolve_dots(_SLASHES.sub("/", "/" + _PARAMETERS.sub("", text)))


_normal_paths: Final = Memory(_normalise, longest=256)


def without_authority(raw: bytes) -> bytes:
    """Return the path of a target in absolute form, and any other as it is."""
    absolute = _ABSOLUTE.match(raw)
    return raw[absolute.end() :] if absolute else raw


def _encode_again(found: re.Match[str]) -> str:
    # "surrogateescape" made U+DC80 to U+DCFF of the bytes 0x80 to 0xFF.
    return f"%{ord(found[0]) & 0xFF:02X}"


def resolve_dots(path: str) -> str:
    """Return `path` without dot segments (RFC 3986 section 5.2.4)."""
    if "/." not in path:
        return path
    resolved: list[str] = []
    segments = path[1:].split("/")
    for segment in segments:
        if segment == "..":
            del resolved[-1:]
        elif segment != ".":
            resolved.append(segment)
    if segments[-1] in {".", ".."}:
        resolved.append("")
    return "/" + "/".join(resolved)


def below_root(path: str, root: str) -> str:
    """Return `path` without the `root_path` it is mounted under, cut at a slash only."""
    root = root.rstrip("/")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/"}:
        return path[len(root) :] or "/"
    return path


_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 section 5.6.2
_MEDIA_TYPE: Final = re.compile(rf"{_TOKEN}/{_TOKEN}".encode()).fullmatch


def media_type(value: bytes) -> str:
    """Return `type/subtype` of a Content-Type in lower case and without parameters; empty when it is malformed."""
    essence = value.partition(b";")[0].strip(b" \t")
    return essence.decode("ascii").lower() if _MEDIA_TYPE(essence) else ""


_ACCEPT_RANGES: Final = 32  # bounds the work for one Accept; browsers send fewer than ten
_WEIGHT: Final = re.compile(rb";\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*(?:;|$)", re.IGNORECASE).search
_HTML: Final = ("text/html", "application/xhtml+xml")
_JSON: Final = ("application/problem+json", "application/json")


def prefers_html(accept: bytes | None) -> bool:
    """Return True when a client that sent `accept` would rather have HTML than JSON (RFC 9110 section 12.5.1).

    A browser that navigates does; a client that takes either alike (`*/*`), or names none, does not. Only the first
    32 media ranges count.
    """
    if not accept:
        return False
    weights = dict(_weighed(part) for part in reversed(accept.split(b",", _ACCEPT_RANGES)[:_ACCEPT_RANGES]))
    return _best_weight(weights, _HTML) > _best_weight(weights, _JSON)


def _weighed(part: bytes) -> tuple[str, float]:
    weight = _WEIGHT(part)
    return media_type(part), float(weight[1]) if weight else 1.0


def _best_weight(weights: dict[str, float], types: Sequence[str]) -> float:
    return max(_weight(weights, each) for each in types)


def _weight(weights: dict[str, float], type_: str) -> float:
    """Return the weight of the most specific range that covers `type_`."""
    ranges = (type_, type_.partition("/")[0] + "/*", "*/*")
    return next((weights[each] for each in ranges if each in weights), 0.0)


def is_cors_preflight(request: Request) -> bool:
    """Return True when a browser asks whether it may send a request from another origin (Fetch standard)."""
    return (
        request.method == "OPTIONS"
        and request.header(b"access-control-request-method") is not None
        and request.header(b"origin") is not None
    )


_SF_TEXT: Final = re.compile(r"[\x20-\x7e]*").fullmatch
_SF_LARGEST: Final = 999_999_999_999_999


def sf_string(text: str) -> str:
    """Serialise `text` as a structured-field String (RFC 9651 section 4.1.6).

    Raises `ValueError` when it holds anything but printable ASCII, as the RFC demands.
    """
    if not _SF_TEXT(text):
        raise ValueError(f"{text!r} cannot be sent in a structured field, use printable ASCII")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _sf_integer(number: float) -> int:
    """Return `number` rounded up, within what a structured-field Integer holds: 15 digits, none negative."""
    if 0 <= number <= _SF_LARGEST:
        return math.ceil(number)
    return _SF_LARGEST if number > 0 else 0


def rate_limit_fields(readings: Sequence[Reading]) -> tuple[Header, ...]:
    """Return `RateLimit-Policy` with every rate that gates, and `RateLimit` with the tightest of them.

    Syntax of draft-ietf-httpapi-ratelimit-headers-11. `r` is what is left, rounded down; `t` the seconds until the
    quota is whole, or for a rate that refuses until the request would pass, rounded up as in `retry_after`. Empty
    without such a rate.
    """
    if type(readings) is Admitted:
        return _fields_of_plan(readings.meters.plan, readings.left)
    quotas: list[Quota] = []
    tightest: Reading | None = None
    least = math.inf
    for reading in readings:
        quota = reading.meter.quota
        if quota.announced:
            quotas.append(quota)
            left = reading.remaining if reading.admitted else -math.inf
            if left <= least and (left < least or tightest is None or _lasts_longer(reading, tightest)):
                tightest, least = reading, left
    if tightest is None:
        return ()
    return _POLICIES[tuple(quotas)], (b"ratelimit", _limit_item(tightest))


def _fields_of_plan(plan: Plan, readings: Sequence[tuple[float, float]]) -> tuple[Header, ...]:
    tightest, least, longest = -1, math.inf, 0.0
    for place in plan.announced:
        left, reset_after = readings[place]
        if left < least or (left == least and reset_after > longest):
            tightest, least, longest = place, left, reset_after
    if tightest < 0:
        return ()
    policy, names = _PLANS[plan]
    left = min(least, _SF_LARGEST)
    return policy, (b"ratelimit", b"%b;r=%d;t=%d" % (names[tightest], left, _sf_integer(longest)))


def _lasts_longer(reading: Reading, than: Reading) -> bool:
    """Tell which of two that have as little left, or that both refuse, holds longer."""
    if reading.admitted:
        return reading.reset_after > than.reset_after
    return reading.retry_after > than.retry_after


def _policy_field(quotas: tuple[Quota, ...]) -> Header:
    items = {
        quota.name: f"{sf_string(quota.name)};q={_sf_integer(quota.limit)};w={_sf_integer(quota.window)}"
        for quota in quotas
    }
    return b"ratelimit-policy", ", ".join(items.values()).encode()


def _limit_item(reading: Reading) -> bytes:
    left, seconds = reading.remaining, reading.reset_after
    if not reading.admitted:
        left, seconds = 0, max(reading.retry_after, 1)
    elif not 0 <= left <= _SF_LARGEST:
        left = _SF_LARGEST if left > 0 else 0
    return b"%b;r=%d;t=%d" % (_NAMES[reading.meter.quota.name], left, _sf_integer(seconds))


# A site has few limits, and few combinations of them that hold for one request.
_NAMES: Final[Memory[str, bytes]] = Memory(lambda name: sf_string(name).encode(), longest=128)
_PLANS: Final[Memory[Plan, tuple[Header, Sequence[bytes]]]] = Memory(
    lambda plan: (
        _policy_field(tuple(plan.quotas[place] for place in plan.announced)),
        [sf_string(quota.name).encode() for quota in plan.quotas],
    ),
    longest=0,
    size=lambda _: 0,
)
_POLICIES: Final[Memory[tuple[Quota, ...], Header]] = Memory(_policy_field, longest=64)


def retry_after(seconds: float) -> bytes:
    """Return the value of `Retry-After`: whole seconds, rounded up, at least 1 (RFC 9110 section 10.2.3)."""
    return b"%d" % max(_sf_integer(seconds), 1)
