"""Databases in the MaxMind DB format, made for tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

PLACES = {
    "198.51.100.0/24": {"country": {"iso_code": "DE"}},
    "203.0.113.0/24": {"country": {"iso_code": "KP"}},
    "203.0.113.128/25": {"registered_country": {"iso_code": "FR"}},
    "192.0.2.0/24": {"country": {"iso_code": "AT"}, "registered_country": {"iso_code": "KP"}},
    "2001:db8::/32": {"country": {"iso_code": "KP"}},
    "2001:db9::/32": {"continent": {"code": "EU"}},
}


def write_database(path: Path, records: Mapping[str, Any] | None = None, *, version: int = 6) -> Path:
    """Write a database with `records`, by network."""
    writer = MMDBWriter(version, ipv4_compatible=version == 6, database_type="Test-Country", languages=["en"])
    for network, record in (PLACES if records is None else records).items():
        if version == 6 or ":" not in network:
            writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path
