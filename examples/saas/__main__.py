"""`python -m examples.saas`: the example application behind the gateway, or the gateway before an application of yours.

The application and the gateway are processes of their own, as in production; both end when this one is told to.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PATIENCE = 30.0
"""Seconds to wait for a process to answer."""
GRACE = 40.0
"""Seconds to wait for a process to end, more than the gateway gives to what is under way."""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks without a proxy, whatever the environment says."""

TOUR = """
The gateway is up: {gateway}   (metrics: {metrics})
The application behind it is at {app} and should never be asked directly.

Open {gateway}/ in a browser, or try these (-i shows the headers):

  A robot is refused, and told by which clauses; with a known key it is welcome, with a made-up one it is not
    curl -i {gateway}/api/items
    curl -i {gateway}/api/items -H 'X-API-Key: demo'
    curl -i {gateway}/api/items -H 'X-API-Key: guessed'

  The application never sees what a client must not set: the answer is what it did see
    curl {gateway}/echo -H 'X-API-Key: demo' -H 'X-Forwarded-For: 6.6.6.6' -H 'X-Remote-User: admin'

  Only the public interfaces exist: 404, 405 with Allow, 415
    curl -i {gateway}/internal/users -H 'X-API-Key: demo'
    curl -i -X DELETE {gateway}/api/items -H 'X-API-Key: demo'
    curl -i {gateway}/api/items -H 'X-API-Key: demo' -H 'Content-Type: application/xml' -d '<item/>'

  Of 300 quick requests to the API with one key 240 are answered; the last is told when to come back
    curl -siw '\\n' '{gateway}/api/items?[1-300]' -H 'X-API-Key: demo' | grep -iE '^(HTTP|Rate|Retry)' | tail -n 4

  A virus is refused, alone or in an archive (the harmless EICAR test file), and so are 26 MiB; a picture passes
    printf %s 'X5O!P%@AP[4\\PZX54(P^)7CC)7}}$EICAR-STANDARD-' 'ANTIVIRUS-TEST-FILE!$H+H*' > /tmp/eicar
    curl -i {gateway}/uploads -H 'X-API-Key: demo' -F file=@/tmp/eicar
    {python} -m zipfile -c /tmp/eicar.zip /tmp/eicar
    curl -i {gateway}/uploads -H 'X-API-Key: demo' -F file=@/tmp/eicar.zip
    head -c 27262976 /dev/zero | curl -i {gateway}/uploads -H 'X-API-Key: demo' -F file=@-
    curl -i {gateway}/uploads -H 'X-API-Key: demo' -F file=@{picture}

  What would be decided, and why; what is enforced, clause by clause
    printf 'GET /.env HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n' | {explain} --request -
    {coverage}

Findings appear below, one JSON line each. Ctrl-C ends it.
"""

OWN = """
The gateway is up: {gateway}   (metrics: {metrics})
It protects {upstream} with the defaults of config.toml: broken and spoofed requests and dangerous uploads are refused,
everything else is only reported, one JSON line each, below. To enforce more, copy config.toml, change it, and run

    {aupgate} serve --config YOUR.toml --upstream {upstream}
"""


def main() -> int:
    """Run until told to stop; return the exit code."""
    given = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _require_free(given.listen)
    _require_free(given.admin)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        return _protect(given, processes) if given.upstream else _tour(given, processes)
    except KeyboardInterrupt:
        return 0
    finally:
        _end(processes)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument(
        "--upstream", help="protect this application instead of the example, such as http://127.0.0.1:3000"
    )
    parser.add_argument("--listen", default="127.0.0.1:8080", help="HOST:PORT for the gateway (%(default)s)")
    parser.add_argument("--admin", default="127.0.0.1:9464", help="HOST:PORT for its metrics (%(default)s)")
    return parser.parse_args()


def _tour(given: argparse.Namespace, processes: list[subprocess.Popen[bytes]]) -> int:
    port = _free_port()
    app, config = f"http://127.0.0.1:{port}", HERE / "config.toml"
    # It leaves the open streams of a browser at once, so that Ctrl-C is no matter of patience.
    serve = ["examples.saas.app:app", "--port", str(port), "--log-level", "warning", "--timeout-graceful-shutdown", "1"]
    _wait(_start(processes, "-m", "uvicorn", *serve), app)
    gateway = _gateway(given, processes, config, app)
    aupgate = _program("aupgate")
    print(
        TOUR.format(
            gateway=f"http://{given.listen}",
            metrics=f"http://{given.admin}/metrics",
            app=app,
            python=_program("python"),
            picture=_shown(HERE / "assets" / "picture.png"),
            explain=f"AUPGATE_GATEWAY__UPSTREAM={app} {aupgate} explain --config {_shown(config)}",
            coverage=f"{aupgate} coverage --config {_shown(config)}",
        ),
        flush=True,
    )
    return gateway.wait()


def _protect(given: argparse.Namespace, processes: list[subprocess.Popen[bytes]]) -> int:
    gateway = _gateway(given, processes, ROOT / "config.toml", given.upstream)
    urls = {"gateway": f"http://{given.listen}", "metrics": f"http://{given.admin}/metrics"}
    print(OWN.format(upstream=given.upstream, aupgate=_program("aupgate"), **urls), flush=True)
    return gateway.wait()


def _gateway(
    given: argparse.Namespace, processes: list[subprocess.Popen[bytes]], config: Path, upstream: str
) -> "subprocess.Popen[bytes]":
    where = ["--config", str(config), "--upstream", upstream, "--listen", given.listen]
    process = _start(
        processes, "-m", "aupgate", "serve", *where, AUPGATE_ADMIN__LISTEN=given.admin, AUPGATE_LOG__ACCESS="off"
    )
    # Not asked itself: that would ask the application, which may be one that is slow or away.
    _wait(process, f"http://{given.admin}/healthz")
    return process


def _start(processes: list[subprocess.Popen[bytes]], *arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **environment})  # noqa: S603 - our own programs
    processes.append(process)
    return process


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    """Wait until `url` answers, whatever it says. If the process ends first, it has said why, and everything ends."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if process.poll() is not None:
            sys.exit(process.returncode)
        try:
            DIRECT.open(url, timeout=1).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit(f"{url} does not answer")


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()


def _require_free(address: str) -> None:
    """End with a word about it if `address` is in use: what answers there would be taken for the gateway."""
    host, _, port = address.rpartition(":")
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, int(port)))
    except (OSError, OverflowError, ValueError) as error:
        advice = "end what uses it, or run python -m examples.saas with other addresses (--help)"
        sys.exit(f'make run: cannot listen on "{address}": {error}; {advice}')


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _shown(path: Path) -> str:
    return os.path.relpath(path)


def _program(name: str) -> str:
    return _shown(Path(sys.executable).parent / name)


if __name__ == "__main__":
    sys.exit(main())
