"""`networks`: from which addresses and countries the service is reached, and that nobody reads along on the way.

Sources: RFC 7725 (451), RFC 9110 sections 7.2 and 15.4.2. docs/networks.md tells how to keep the lists.
"""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from aupgate.config import FileName, HostName, Network, Notation, PolicySettings, expectation
from aupgate.countries import CODES, Countries
from aupgate.errors import ServiceError
from aupgate.memory import Memory
from aupgate.model import Action, Finding, Header, Request, Rule
from aupgate.ranges import MAX_RANGES, Address, Ranges, address_of, read_ranges
from aupgate.redirects import https_location


def _country(text: str) -> str:
    if text not in CODES:
        raise expectation(
            f'"{text}" is no country: expected its code in ISO 3166-1, such as "GB" for the United Kingdom'
        )
    return text


_Country = Annotated[
    str,
    Notation(
        r"^[A-Z]{2}$",
        'expected the two capitals that ISO 3166-1 has for a country, such as "DE"',
        ("DE", "KP"),
        parse=_country,
    ),
]
_Files = Annotated[tuple[FileName, ...], Field(max_length=100)]


class Settings(PolicySettings):
    """Whose requests pass, by address and country, and whether they must be encrypted. Without any, all do."""

    allow: tuple[Network, ...] = ()
    """Ranges of addresses that may use the service; with one here or in `allow_files`, no others may."""
    deny: tuple[Network, ...] = ()
    """Ranges that may not. Where several ranges hold an address the narrowest decides, and of equals this list."""
    allow_files: _Files = ()
    """Files with more of `allow`, an address or network a line; read again when they change."""
    deny_files: _Files = ()
    """Files with more of `deny`."""
    country_file: FileName | None = Field(default=None, examples=["GeoLite2-Country.mmdb"])
    """Database in the MaxMind DB format that tells the country of an address; read again when it changes."""
    allow_countries: tuple[_Country, ...] = ()
    """Countries that may use the service; with one here, no others may."""
    deny_countries: tuple[_Country, ...] = ()
    """Countries that may not."""
    unknown_country: Literal["allow", "refuse"] = "allow"
    """What becomes of addresses whose country the database does not know."""
    require_tls: bool = False
    """Whether requests must come over TLS: without it GET and HEAD are redirected, all others refused."""
    tls_host: HostName | None = None
    """Host to redirect to; unset: the one that the request names."""
    tls_port: Annotated[int, Field(ge=1, le=65535)] = 443
    """Port to redirect to."""

    @model_validator(mode="after")
    def _countries_can_be_told(self) -> Self:
        both = sorted({*self.allow_countries} & {*self.deny_countries})
        if both:
            raise expectation(f'"{both[0]}" is in allow_countries as well: expected one of them', at="deny_countries")
        if self.judges_countries and self.country_file is None:
            named = next(name for name in _BY_COUNTRY if name in self.model_fields_set)
            raise expectation("countries are told by a database: expected `country_file` as well", at=named)
        return self

    @property
    def judges_countries(self) -> bool:
        """True when it matters which country an address is in."""
        return bool(self.allow_countries or self.deny_countries) or self.unknown_country == "refuse"

    @property
    def judges_addresses(self) -> bool:
        """True when it matters from which address a request comes."""
        return bool(self.allow or self.deny or self.allow_files or self.deny_files) or self.judges_countries


_BY_COUNTRY: Final = ("deny_countries", "allow_countries", "unknown_country")
_ENCRYPTED: Final = frozenset({"https", "wss"})
MAX_REMEMBERED: Final = 65_536
"""Addresses of which it is remembered what the lists say."""

_Lists = Sequence[tuple[str, Ranges]]
"""Ranges, and the name of the list they are from."""


def build(settings: Settings) -> "Networks":
    """Return the policy; the phases that have nothing to do are not part of it, so that no request pays for them."""
    return JudgingNetworks(settings) if settings.judges_addresses or settings.require_tls else Networks(settings)


class Networks:
    """Nothing is configured, and nothing is judged."""

    name = "networks"

    def __init__(self, settings: Settings) -> None:
        by_range = bool(settings.deny or settings.deny_files), bool(settings.allow or settings.allow_files)
        self.rules = (
            Rule("networks.denied", "Network that may not use the service", configured=by_range[0]),
            Rule("networks.not_allowed", "Network that is not among those allowed", configured=by_range[1]),
            Rule(
                "networks.countries", "Country where the service is not offered", configured=settings.judges_countries
            ),
            Rule("networks.tls_required", "Connection that is not encrypted", configured=settings.require_tls),
        )


class JudgingNetworks(Networks):
    """Judges where requests come from, by what the files held when they were last read."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._settings = settings
        self._requires_tls = settings.require_tls
        self._findings = _remembered(_Judge(settings, (), (), None))

    def read_files(self, base: Path) -> Sequence[Path]:
        """Read lists and database anew, and take them all at once. Raises `ConfigError`, and then nothing changes."""
        settings = self._settings
        left, lists = MAX_RANGES, []
        for file in (*settings.allow_files, *settings.deny_files):
            ranges = read_ranges(base / file, left)
            left -= len(ranges)
            lists.append((str(file), ranges))
        country_file = settings.country_file if settings.judges_countries else None
        countries = None if country_file is None else Countries(base / country_file)
        of_allow = len(settings.allow_files)
        self._findings = _remembered(_Judge(settings, lists[:of_allow], lists[of_allow:], countries))
        files = (*settings.allow_files, *settings.deny_files, *([country_file] if country_file else []))
        return [base / file for file in files]

    def on_request(self, request: Request) -> Sequence[Finding]:
        """Return what is found about the client's address and the connection."""
        findings = self._findings[request.client.address]
        if self._requires_tls and request.scheme not in _ENCRYPTED:
            findings = (*findings, _not_encrypted(request, self._settings))
        if findings and not request.client.certain:
            return [_noted(finding) for finding in findings]
        return findings


class _Judge:
    """What the lists say of an address."""

    def __init__(self, settings: Settings, allow: _Lists, deny: _Lists, countries: Countries | None) -> None:
        self._settings = settings
        self._allow = (("allow", Ranges.of(settings.allow)), *allow)
        self._deny = (("deny", Ranges.of(settings.deny)), *deny)
        self._only_allowed = bool(settings.allow or settings.allow_files)
        self._countries = countries

    def __call__(self, text: str) -> tuple[Finding, ...]:
        # Who has no address, as on a unix socket, is in no range and in no known country.
        address = address_of(text)
        found = (self._by_range(address), self._by_country(address) if self._settings.judges_countries else None)
        return tuple(finding for finding in found if finding is not None)

    def _by_range(self, address: Address | None) -> Finding | None:
        allowed, _ = _narrowest(self._allow, address)
        denied, list_ = _narrowest(self._deny, address)
        if address is not None and denied >= max(allowed, 0):
            network = str(ip_network((address, denied), strict=False))
            return _refuse("denied", 403, "the network you use may not reach this service", network=network, list=list_)
        if self._only_allowed and allowed < 0:
            return _refuse(
                "not_allowed", 403, "this service is open to certain networks only, and yours is none of them"
            )
        return None

    def _by_country(self, address: Address | None) -> Finding | None:
        if self._countries is None:
            raise ServiceError("the file that tells countries has not been read")
        settings, country = self._settings, self._countries.of(address) if address is not None else ""
        if not country:
            refused, detail = settings.unknown_country == "refuse", "it cannot be told from which country you use it"
        else:
            refused = country in settings.deny_countries or bool(
                settings.allow_countries and country not in settings.allow_countries
            )
            detail = "by its address your network is in a country where it is not"
        detail = f"this service is offered in certain countries only, and {detail}"
        return _refuse("countries", 451, detail, country=country or "unknown") if refused else None


def _remembered(judge: _Judge) -> Memory[str, tuple[Finding, ...]]:
    return Memory(judge, longest=64, most=MAX_REMEMBERED)


def _narrowest(lists: _Lists, address: Address | None) -> tuple[int, str]:
    """Return the prefix length of the narrowest range that holds `address`, and its list; -1 when there is none."""
    if address is None:
        return -1, ""
    return max(((ranges.narrowest(address), name) for name, ranges in lists), default=(-1, ""))


def _refuse(rule: str, status: int, detail: str, headers: tuple[Header, ...] = (), **evidence: Any) -> Finding:
    action = Action.ANSWER if status < 400 else Action.REFUSE
    return Finding(f"networks.{rule}", action, status, detail, headers, evidence=evidence)


def _noted(finding: Finding) -> Finding:
    detail = f"{finding.detail}; only noted, because the client may be a proxy for many"
    return replace(finding, action=Action.NOTE, status=0, detail=detail, headers=())


def _not_encrypted(request: Request, settings: Settings) -> Finding:
    """Redirect what is safe to ask again, and refuse everything else: what it brought may have been read already."""
    if request.method in {"GET", "HEAD"} and request.kind == "http":
        location = https_location(request, settings.tls_host, settings.tls_port)
        if location:
            return _refuse("tls_required", 301, "this service is reached over HTTPS only", ((b"location", location),))
    detail = "this service is reached over HTTPS only; what was sent may have been read on the way"
    return _refuse("tls_required", 403, detail)
