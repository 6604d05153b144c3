"""The command line: `aupgate serve | check | explain | coverage | schema | version`.

Exit codes: 0 done (for `explain`: the request is allowed); 1 a failure while running, such as an address that cannot be
listened on; 2 a mistake in the configuration, in the request to explain, or on the command line; 3 `explain`: the
request is refused. Every command imports what it needs when it runs, so that `--help` and `version` answer at once.
"""

import json
import sys
from enum import StrEnum
from importlib.metadata import version as installed
from pathlib import Path
from typing import Annotated, Final

import typer

from aupgate.errors import AupgateError, ConfigError

OK, FAILED, MISTAKE, REFUSED = 0, 1, 2, 3

MAX_REQUEST: Final = 256 * 1024**2
"""Bytes of a request to explain."""

app = typer.Typer(
    name="aupgate",
    help="Make an Acceptable Use Policy real: refuse what it forbids before the application sees it.",
    epilog="Exit codes: 0 done or allowed, 1 failure, 2 mistake in configuration or command line, 3 refused (explain).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="AUPGATE_CONFIG", help="Configuration file; without it, the defaults."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Scheme(StrEnum):
    """What a client's request can come by."""

    HTTP = "http"
    HTTPS = "https"


@app.command()
def serve(
    config: ConfigOption = None,
    upstream: Annotated[str | None, typer.Option(help="Where the application is; overrides gateway.upstream.")] = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT or unix:/path; overrides gateway.listen.")] = None,
    engine: Annotated[str | None, typer.Option(help="Overrides gateway.engine.")] = None,
) -> None:
    """Run the gateway in front of an application."""
    try:
        from aupgate.cli.serve import run  # noqa: PLC0415 - the proxy's packages are an extra, and slow to import
    except ModuleNotFoundError as error:
        raise AupgateError(f"serve needs the package {error.name!r}: install aupgate[proxy]") from error

    given = {"gateway.upstream": upstream, "gateway.listen": listen, "gateway.engine": engine}
    run(config, {key: text for key, text in given.items() if text is not None})


@app.command()
def check(config: ConfigOption = None) -> None:
    """Print every mistake in the configuration, or what it does."""
    from aupgate.cli.check import run  # noqa: PLC0415 - each command imports what it needs

    run(config)


@app.command()
def explain(
    request: Annotated[Path, typer.Option(help="File with one raw HTTP request; - reads standard input.")],
    config: ConfigOption = None,
    client: Annotated[str, typer.Option(help="Address the request comes from.")] = "192.0.2.1",
    scheme: Annotated[Scheme, typer.Option(help="Scheme the client used.")] = Scheme.HTTPS,
    as_json: JsonOption = False,
) -> None:
    """Show what each policy makes of one raw HTTP request."""
    from aupgate.cli.explain import run  # noqa: PLC0415 - each command imports what it needs

    allowed = run(config, read_request(request), client=client, scheme=scheme, as_json=as_json)
    raise typer.Exit(OK if allowed else REFUSED)


@app.command()
def coverage(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show clause by clause what enforces the policy."""
    from aupgate.cli.coverage import run  # noqa: PLC0415 - each command imports what it needs

    run(config, as_json=as_json)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from aupgate.build import settings_classes  # noqa: PLC0415 - each command imports what it needs
    from aupgate.config import json_schema  # noqa: PLC0415 - each command imports what it needs

    print(json.dumps(json_schema(settings_classes()), indent=2))


@app.command()
def version() -> None:
    """Print the version."""
    print(f"aupgate {installed('aupgate')}")


def read_request(path: Path) -> bytes:
    """Return the file at `path`, or standard input for `-`. What cannot be read is the caller's mistake."""
    try:
        if str(path) == "-":
            raw = sys.stdin.buffer.read(MAX_REQUEST + 1)
        else:
            with path.open("rb") as file:
                raw = file.read(MAX_REQUEST + 1)
    except OSError as error:
        raise typer.BadParameter(f'"{path}" cannot be read: {error.strerror}', param_hint="--request") from error
    if len(raw) > MAX_REQUEST:
        expected = f"expected no more than {MAX_REQUEST // 1024**2} MiB"
        raise typer.BadParameter(f'"{path}" is too large: {expected}', param_hint="--request")
    return raw


def main() -> None:
    """Run the command line. Errors are printed without a stack trace."""
    # Frames and colours are for people: where one of the two is a pipe, help and errors are plain text.
    app.rich_markup_mode = "rich" if sys.stdout.isatty() and sys.stderr.isatty() else None
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # else a terminal without UTF-8 is an error
    try:
        app()
    except ConfigError as error:
        print(error, file=sys.stderr)
        found = len(error.problems)
        print(f"aupgate: {found} problem{'s' if found != 1 else ''} in the configuration", file=sys.stderr)
        sys.exit(MISTAKE)
    except AupgateError as error:
        print(f"aupgate: {error}", file=sys.stderr)
        sys.exit(FAILED)
