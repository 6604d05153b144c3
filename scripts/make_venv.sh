#!/bin/sh
# Make a virtual environment: scripts/make_venv.sh DIRECTORY [PYTHON]
# Without PYTHON it takes the newest Python from 3.11 on that really starts; one on the PATH need not, as a pyenv shim of a
# version that is not selected.
set -eu

directory=$1
python=${2:-}

is_right() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

if [ -n "$python" ]; then
    if ! is_right "$python"; then
        echo "PYTHON=$python does not start or is older than 3.11; name another" >&2
        exit 1
    fi
else
    for candidate in python3.13 python3.12 python3.11 python3; do
        if is_right "$candidate"; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "no Python from 3.11 on starts here; install one, or name it: make PYTHON=/path/to/python3" >&2
        exit 1
    fi
fi

# Debian takes ensurepip out of Python and puts it into a package of its own.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv >/dev/null
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$python cannot make virtual environments; install the package python3-venv, or name another Python: make PYTHON=/path/to/python3" >&2
        exit 1
    fi
fi

echo "making $directory with $("$python" -c 'import sys; print(sys.executable, sys.version.split()[0])')"
"$python" -m venv --clear "$directory"
