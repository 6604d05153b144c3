"""The configuration: what may be written in it, and loading it with every mistake reported at once.

Pydantic is at work here and in the settings of policies, and only while loading; afterwards settings are plain values.
"""

from aupgate.config.loading import Loaded, load
from aupgate.config.notation import Later, Notation, OneOrMore, expectation
from aupgate.config.overrides import PREFIX, RESERVED
from aupgate.config.quantities import Duration, Percent, Rate, Size
from aupgate.config.schema import Policies, json_schema
from aupgate.config.tables import (
    AccountSettings,
    AdminSettings,
    AupSettings,
    ClientSettings,
    Config,
    Exemption,
    GatewaySettings,
    JwtSettings,
    KeysSettings,
    LogSettings,
    PolicySettings,
    Settings,
    SpoolSettings,
    StoreSettings,
    Timeouts,
    TlsFiles,
    UpstreamTlsSettings,
)
from aupgate.config.values import (
    AgentPattern,
    FileName,
    HeaderName,
    HostName,
    ListenAddress,
    MediaType,
    Method,
    Network,
    PathTemplate,
    UpstreamUrl,
)

__all__ = [
    "PREFIX",
    "RESERVED",
    "AccountSettings",
    "AdminSettings",
    "AgentPattern",
    "AupSettings",
    "ClientSettings",
    "Config",
    "Duration",
    "Exemption",
    "FileName",
    "GatewaySettings",
    "HeaderName",
    "HostName",
    "JwtSettings",
    "KeysSettings",
    "Later",
    "ListenAddress",
    "Loaded",
    "LogSettings",
    "MediaType",
    "Method",
    "Network",
    "Notation",
    "OneOrMore",
    "PathTemplate",
    "Percent",
    "Policies",
    "PolicySettings",
    "Rate",
    "Settings",
    "Size",
    "SpoolSettings",
    "StoreSettings",
    "Timeouts",
    "TlsFiles",
    "UpstreamTlsSettings",
    "UpstreamUrl",
    "expectation",
    "json_schema",
    "load",
]
