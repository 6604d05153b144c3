"""Keys of counters: short, and such that meters of one subject share a slot of a cluster.

    aup:{subject}rest+quota

`subject` is what a meter's key begins with: the client or account itself, or the first part of a composed key. So what
counts by `client`, and by `client` and `path`, is on one node. `quota` is a digest of everything that makes a quota one
of its own. Long parts are digests: who sends requests chooses their length.
"""

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Final

from aupgate.memory import Memory
from aupgate.meters import Quota

PREFIX: Final = b"aup:"
"""What every key begins with, for the ACL of a server that others share: `~aup:*`."""
LONGEST: Final = 40
"""Bytes of a part that is kept as it is."""
MOST_REMEMBERED: Final = 8192
"""Subjects whose part of the key is remembered, each of at most 256 characters."""


def quota_id(quota: Quota) -> bytes:
    """Return the part of a key that stands for `quota`: equal for quotas that share their counters."""
    everything = (quota.rule, quota.name, quota.limit, quota.window, quota.kind, quota.algorithm, quota.gate)
    return urlsafe_b64encode(blake2b(repr(everything).encode(), digest_size=6).digest())


def subject_part(key: str) -> bytes:
    """Return the part of a key that stands for the subject `key` of a meter."""
    subject, rest = _split(key)
    return b"%s{%s}%s" % (PREFIX, _short(subject), _short(rest))


def remembered_subjects() -> Memory[str, bytes]:
    """Make a bounded memory of what `subject_part` returns."""
    return Memory(subject_part, longest=256, most=MOST_REMEMBERED)


def _split(key: str) -> tuple[str, str]:
    """Split off the first part of a composed key, in which the length of each part stands before it."""
    length, colon, rest = key.partition(":")
    if colon and length.isdecimal() and len(length) < 4 and int(length) <= len(rest):
        return rest[: int(length)], f":{rest[int(length) :]}"
    return key, ""


def _short(part: str) -> bytes:
    text = part.encode("utf-8", "surrogatepass")
    if len(text) <= LONGEST and b"{" not in text and b"}" not in text and not text.startswith(b"#"):
        return text
    return b"#" + urlsafe_b64encode(blake2b(text, digest_size=12).digest())
