"""What the figures were measured on."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path


def describe() -> dict[str, str]:
    """Return the facts about this machine that a reader needs to judge figures."""
    return {
        "CPU": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "virtual": "yes" if "hypervisor" in _cpu_flags() else "no",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def load() -> str:
    """Return the load average of the last minute: how busy the machine is with other things when a run begins."""
    return f"{os.getloadavg()[0]:.2f}"


def _cpuinfo(key: str) -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _cpu_model() -> str:
    return _cpuinfo("model name") or platform.machine()


def _cpu_flags() -> list[str]:
    return _cpuinfo("flags").split()


def debian_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the installed version of each Debian package that is installed."""
    if shutil.which("dpkg-query") is None:
        return {}
    query = ["dpkg-query", "--show", "--showformat=${Package} ${Version}\n", *packages]
    listed = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    pairs = (line.split(" ", 1) for line in listed.splitlines())
    return {name: version for name, version in pairs if version}


def python_versions(python: Path, packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package that is installed for the interpreter `python`."""
    script = (
        "import sys\nfrom importlib.metadata import version, PackageNotFoundError\n"
        "for name in sys.argv[1:]:\n"
        " try: print(name, version(name))\n"
        " except PackageNotFoundError: pass\n"
    )
    command = [str(python), "-c", script, *packages]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return dict(line.split(" ", 1) for line in listed.splitlines())
