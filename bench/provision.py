"""Installing what the benchmark compares with: Debian packages where this is root, Python packages in their own place.

What cannot be installed is not measured, and the report says why.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from bench.configurations import ROOT
from bench.figures import NotMeasuredError
from bench.machine import python_versions

DEBIAN: Final = {
    "nginx": "nginx",
    "wrk": "wrk",
    "taskset": "util-linux",
    "/usr/lib/nginx/modules/ngx_http_modsecurity_module.so": "libnginx-mod-http-modsecurity",
    "/usr/share/modsecurity-crs/rules": "modsecurity-crs",
}
"""What must be there, a program or a path, and the Debian package it comes with."""

ENVIRONMENTS: Final = {
    "asgi": ("starlette", "fastapi", "slowapi", "fastapi-guard", "uvloop"),
    "mitmproxy": ("mitmproxy>=11,<12.3",),
}
"""Virtual environments and what is installed in each. mitmproxy pins old versions of what the others need."""

_PATH: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
_BASE: Final = ROOT / "build" / "bench-venv"
_POLICY: Final = Path("/usr/sbin/policy-rc.d")


def find(needed: str) -> Path:
    """Return where a program or path is. Raises `NotMeasuredError` with the package that holds it."""
    found = _look(needed)
    if found is None:
        raise NotMeasuredError(f"{needed} is missing, install the Debian package {DEBIAN[needed]}")
    return found


def _look(needed: str) -> Path | None:
    if needed.startswith("/"):
        return Path(needed) if Path(needed).exists() else None
    found = shutil.which(needed, path=_PATH)
    return Path(found) if found else None


def install_debian() -> None:
    """Install the Debian packages that are missing, where this may; else leave it to `find` to say so."""
    packages = sorted({package for needed, package in DEBIAN.items() if _look(needed) is None})
    if not packages or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    print(f"installing {' '.join(packages)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _servers_stay_off():
        for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", "-qq", *command], env=environment, stdout=subprocess.DEVNULL, check=False)


@contextlib.contextmanager
def _servers_stay_off() -> Iterator[None]:
    """Keep Debian from starting a server that it installs: it asks this program first, and 101 means no."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def own_python() -> Path:
    return Path(sys.executable)


def python_of(environment: str) -> Path:
    """Return the interpreter of an environment, made and filled if need be. Raises `NotMeasuredError` where that fails.

    `own` is the environment that aupgate is installed in.
    """
    if environment == "own":
        return own_python()
    python, reason = _prepared(environment)
    if reason:
        raise NotMeasuredError(reason)
    return python


@cache
def _prepared(environment: str) -> tuple[Path, str]:
    """Make an environment once in a run; return its interpreter and why it cannot be used, if so."""
    directory, requirements = _BASE / environment, ENVIRONMENTS[environment]
    python, mark = directory / "bin" / "python", directory / "installed"
    if not mark.is_file() or mark.read_text(encoding="utf-8") != _mark(requirements):
        print(f"installing {' '.join(requirements)} into {directory.relative_to(ROOT)}", flush=True)
        try:
            _fill(directory, python, environment)
        except NotMeasuredError as error:
            return python, str(error)
        mark.write_text(_mark(requirements), encoding="utf-8")
    return python, ""


def _fill(directory: Path, python: Path, environment: str) -> None:
    _run([str(own_python()), "-m", "venv", "--clear", str(directory)], environment)
    pinned = ["-c", str(ROOT / "constraints.txt")] if environment == "asgi" else []
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, *pinned, *ENVIRONMENTS[environment]], environment)


def _mark(requirements: tuple[str, ...]) -> str:
    return "\n".join(requirements)


def _run(command: list[str], environment: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise NotMeasuredError(f"the packages for {environment!r} could not be installed: {said}")


def versions() -> dict[str, str]:
    """Return the versions of the Python packages that are compared."""
    found = python_versions(own_python(), ("aupgate", "starlette", "uvicorn", "uvloop", "httptools"))
    for environment, names in {
        "asgi": ("slowapi", "limits", "fastapi-guard", "guard-core"),
        "mitmproxy": ("mitmproxy",),
    }.items():
        with contextlib.suppress(NotMeasuredError):
            found |= python_versions(python_of(environment), names)
    return found
