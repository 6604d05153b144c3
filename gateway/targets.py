"""Request targets as they came: what makes one malformed, and whether it is meant for a proxy.

Source: RFC 9112 section 3.2, RFC 3986 sections 2.2 and 3.3, RFC 3629 section 3.
"""

import re
from collections.abc import Sequence
from typing import Final

# A target of these octets alone needs no closer look, unless it has dot segments. `%` is looked at a second time.
_PLAIN: Final = bytes(set(range(0x21, 0x7F)) - set(b"%#\\"))
_UNUSUAL: Final = re.compile(rb"[^\x21-\x7e]|[#\\]|^[^/]|^\Z|/\.|%(?:[01]|7[fF]|2[eE]|2[fF](?:\.|%2[eE]))").search
_DOT: Final = rb"(?:\.|%2[eE])"
_SLASH: Final = rb"(?:/|%2[fF])"
_IN_TARGET: Final = (
    (re.compile(rb"[\x00-\x20\x7f]").search, "the request target has a space or control character"),
    (re.compile(rb"[\x80-\xff]").search, "the request target has a character that must be percent-encoded"),
    (re.compile(rb"#").search, "the request target has a fragment, which is never sent"),
)
_IN_PATH: Final = (
    (re.compile(rb"%(?:[01][0-9a-fA-F]|7[fF])").search, "the path has an encoded control character"),
    (re.compile(rb"\\").search, "the path has a backslash, which is never sent"),
    (
        re.compile(rb"(?:^|%b)%b{1,2}(?:;|%%3[bB]|%b|\Z)" % (_SLASH, _DOT, _SLASH)).search,
        "the path has dot segments",
    ),
)
_ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\\]*)").match
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}


def target_faults(method: str, target: bytes) -> Sequence[str]:
    """Return what is wrong with `target`, said for the client: what no honest client sends. Empty when nothing is.

    What can be read in several ways is told by `aupgate.readings`: an encoded slash is right in some APIs, and so is
    whatever a query holds that can be sent at all. The forms for proxies, absolute and authority, are no fault here:
    `is_for_proxy` judges them.
    """
    if target.startswith(b"/") and b"/." not in target and not target.translate(None, _PLAIN):
        return ()
    if _UNUSUAL(target) is None:
        return ()
    path = target.partition(b"?")[0]
    faults = [detail for search, detail in _IN_TARGET if search(target)]
    faults += [detail for search, detail in _IN_PATH if search(path)]
    if not _has_known_form(method, target):
        faults.append("the request target is neither a path nor a URL")
    return faults


def _has_known_form(method: str, target: bytes) -> bool:
    if target.startswith(b"/") or method == "CONNECT" or _ABSOLUTE(target):
        return True
    return target == b"*" and method == "OPTIONS"


def is_for_proxy(method: str, target: bytes, host: bytes) -> bool:
    """Return whether the request asks to be passed on: CONNECT, a URL of another authority than `host`, or no HTTP."""
    if method == "CONNECT":
        return True
    absolute = _ABSOLUTE(target)
    if absolute is None:
        return False
    port = _DEFAULT_PORTS.get(absolute[1].lower())
    return port is None or absolute[2].lower().removesuffix(port) != host.lower().removesuffix(port)
