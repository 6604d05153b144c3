"""Reads a configuration for a command: every mistake at once, those of the file and those of the files it names."""

import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from aupgate.build import build, read
from aupgate.config import Config, Loaded, UpstreamTlsSettings
from aupgate.config.document import Document
from aupgate.errors import ConfigError, Problem
from aupgate.gateway import Gateway
from aupgate.proxy.origin import UpstreamTls

_Made = TypeVar("_Made")


class Opened(NamedTuple):
    """A configuration without mistakes, and a gateway for looking at what it does."""

    loaded: Loaded
    gateway: Gateway
    """Writes no log: a log file that root makes by looking is one that the service cannot write."""


def open_config(config: Path | None, overrides: Mapping[str, str] | None = None, *, serving: bool) -> Opened:
    """Read the configuration, `overrides` being the command line's, and build what it says.

    Raises `ConfigError` with every mistake in the file and in what it names; when `serving`, also in what the gateway
    alone needs: its certificate, and the places where it writes.
    """
    try:
        loaded = read(config, overrides=overrides)
    except ConfigError as error:
        problems = [*error.problems, *_elsewhere(config, error.problems, serving=serving)]
        raise ConfigError(_in_order(config, problems)) from None
    try:
        return Opened(loaded, _build(loaded, serving=serving))
    except ConfigError as error:
        raise ConfigError(_in_order(config, error.problems)) from error


def tls_context(loaded: Loaded) -> ssl.SSLContext | None:
    """Return what the listener needs for TLS, None for plain HTTP. Raises `ConfigError` for files of no use."""
    files = loaded.config.gateway.tls
    if files is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a password OpenSSL would ask the terminal for that of an encrypted key.
        context.load_cert_chain(loaded.base / files.cert, loaded.base / files.key, password="")
    except (OSError, ssl.SSLError) as error:
        expected = f"expected a certificate and its key, not encrypted, in PEM files: {error}"
        raise ConfigError([loaded.problem(("gateway", "tls", "cert"), expected)]) from error
    return context


def upstream_tls(loaded: Loaded) -> UpstreamTls:
    """Return how upstreams are spoken to over TLS."""
    given = loaded.config.gateway.upstream_tls
    ca_file, cert, key = (str(loaded.base / name) if name else None for name in (given.ca_file, given.cert, given.key))
    return UpstreamTls(given.verify, ca_file, given.server_name, cert, key)


def upstream_warnings(config: Config) -> Iterator[str]:
    """Yield what is no mistake in `upstream_tls` and yet worth knowing."""
    gateway = config.gateway
    if not any(url.startswith("https:") for url in gateway.upstream):
        if gateway.upstream_tls != UpstreamTlsSettings():
            yield "[gateway.upstream_tls] has no effect, because no upstream begins with https"
    elif not gateway.upstream_tls.verify:
        yield (
            "gateway.upstream_tls.verify = false: any certificate is taken for the upstream's, so that who is on the "
            "way can read and change everything; name its authority with ca_file instead"
        )


def _unusable_for_upstreams(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem for each file of `upstream_tls` that is of no use."""
    tls = upstream_tls(loaded)
    for key, alone in (
        ("ca_file", UpstreamTls(ca_file=tls.ca_file)),
        ("cert", UpstreamTls(cert=tls.cert, key=tls.key)),
    ):
        try:
            if alone != UpstreamTls():
                alone.context()
        except ValueError as error:
            yield loaded.problem(("gateway", "upstream_tls", key), f"{error}")


def _build(loaded: Loaded, *, serving: bool) -> Gateway:
    """Build a gateway without logs. Raises `ConfigError` with everything that is wrong beyond the values themselves."""
    config = loaded.config
    log = config.log.model_copy(update={"audit": "off", "access": "off"})
    gateway, problems = _attempt(
        lambda: build(replace(loaded, config=config.model_copy(update={"log": log})), lives=not serving)
    )
    if serving:
        problems += _attempt(lambda: tls_context(loaded))[1]
        problems += _unusable_for_upstreams(loaded)
        problems += _unwritable(loaded)
    if gateway is None or problems:
        raise ConfigError(problems)
    return replace(gateway, loaded=loaded)


def _attempt(make: Callable[[], _Made]) -> tuple[_Made | None, list[Problem]]:
    try:
        return make(), []
    except ConfigError as error:
        return None, list(error.problems)


def _unwritable(loaded: Loaded) -> Iterator[Problem]:
    log, spool = loaded.config.log, loaded.config.spool.dir
    for key, target in (("audit", log.audit), ("access", log.access)):
        if target not in {None, "off", "stdout", "stderr"} and not _takes_lines(loaded.base / str(target)):
            yield loaded.problem(("log", key), "expected a file that can be written, in a directory that exists")
    if spool is not None and not _takes_files(loaded.base / spool):
        yield loaded.problem(("spool", "dir"), "expected a directory that exists and can be written")


def _takes_lines(file: Path) -> bool:
    return os.access(file, os.W_OK) and not file.is_dir() if file.exists() else _takes_files(file.parent)


def _takes_files(directory: Path) -> bool:
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)


# -- a file with mistakes: what its sound tables name may be wrong as well ---------------------------------------------


def _elsewhere(config: Path | None, problems: Sequence[Problem], *, serving: bool) -> list[Problem]:
    """Return the mistakes in what those tables of the file name in which nothing itself is wrong."""
    if config is None or not config.is_file():  # a pipe can be read only once
        return []
    blamed = {problem.source for problem in problems}
    environ = {name: text for name, text in os.environ.items() if name not in blamed}
    try:
        document = Document.of(config)
        sound = read(_without(document.raw, problems), environ=environ)
    except ConfigError:  # it is no TOML, or does not hold together without what was taken out
        return []
    return _attempt(lambda: _build(replace(sound, base=document.base, _document=document), serving=serving))[1]


def _without(tables: dict[str, Any], problems: Sequence[Problem]) -> dict[str, Any]:
    """Take out each table and each policy in which something is wrong."""
    for problem in problems:
        table, *below = re.split(r"[.\[]", problem.key)
        if table == "policies" and below and isinstance(tables.get(table), dict):
            tables[table].pop(below[0], None)
        else:
            tables.pop(table, None)
        if table == "aup":  # the clauses that limits name are not known then
            tables.pop("policies", None)
    return tables


def _in_order(config: Path | None, problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems of the file by line, then all others as they were found."""
    return sorted(problems, key=lambda each: (0, each.line or 0) if each.source == str(config) else (1, 0))
