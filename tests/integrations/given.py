"""Configurations, and what clients send."""

import zlib
from typing import Final

STRICT: Final = """
log.audit = "off"
client.trusted_proxies = ["127.0.0.1"]

[policies]
scrapers.mode = "enforce"
uploads.max_size = "64 KiB"

[policies.interfaces]
mode = "enforce"
deny = [{ path = "/internal/{rest:path}" }, { path = "/part/internal/{rest:path}" }]

[policies.rate_limits]
mode = "enforce"
limits = [{ name = "limited", rate = "2/hour", match = { path = "/limited" } }]
"""
"""A configuration that says something of every policy."""

DESCRIBED: Final = """
log.audit = "off"

[policies.interfaces]
mode = "enforce"
default = "refuse"
openapi = "{openapi}"
"""
"""Serves what the application's own description names, and nothing else."""

EXACT: Final = """
log.audit = "off"

[policies.interfaces]
mode = "enforce"
deny = [{ path = "/internal/users" }]
"""
"""Denies one path and nothing around it."""

SPELLINGS: Final = """
/internal/users /internal/users/ /internal/users// /internal//users //internal/users /internal/users;
/internal/users;x=1 /internal;x/users /internal/user%73 /internal/users%00 /internal/users%09 /internal/users%0A
/internal/users%0D%0A /internal/users%20 /internal/users%2F /internal%2fusers /internal%2F%2Fusers
/%2Finternal/users /internal%252Fusers /internal%5Cusers /internal/./users /internal/%2e/users /internal/users/.
/internal/users/%2E /x/../internal/users /x/%2e%2e/internal/users /internal/users? /internal/users?x=1
/internal/users%3F /internal/users%23 /INTERNAL/users http://127.0.0.1/internal/users
http://other.example/internal/users
"""

ORIGIN: Final = "https://app.example"

SPOOFED: Final = {
    "X-Forwarded-For": "203.0.113.6",
    "X_Forwarded_For": "203.0.113.6",
    "X-Real-IP": "203.0.113.6",
    "Forwarded": "for=203.0.113.6",
    "X-Original-URL": "/internal/users",
    "X-HTTP-Method-Override": "DELETE",
    "X-Remote-User": "admin",
    "Remote-User": "admin",
}


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)


PNG: Final = b"".join(
    [
        b"\x89PNG\r\n\x1a\n",
        _chunk(b"IHDR", (1).to_bytes(4) * 2 + b"\x08\x02\x00\x00\x00"),
        _chunk(b"IDAT", zlib.compress(b"\x00\x10\x20\x30")),
        _chunk(b"IEND", b""),
    ]
)
"""A picture of one pixel."""
