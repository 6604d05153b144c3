"""The environment is made with the newest Python that really starts, or with the one that was named."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_venv.sh"

SHIM = "#!/bin/sh\necho 'this version is not selected' >&2\nexit 127\n"
# Takes the questions of the script in their order: the version, the modules, the words to print, the environment.
WORKING = '#!/bin/sh\ncase "$*" in *print*) echo "$0";; "-m venv"*) echo made "$@";; esac\n'
OLD = '#!/bin/sh\ncase "$*" in *version_info*) exit 1;; esac\n'
WITHOUT_ENSUREPIP = '#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\n'


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The only directory on the PATH; in it, a user who is not root."""
    write(tmp_path / "id", "#!/bin/sh\necho 1000\n")
    return tmp_path


def write(path: Path, script: str) -> None:
    """Make a program of `script`."""
    path.write_text(script)
    path.chmod(0o755)


def make(programs: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the script with `programs` as its PATH."""
    return subprocess.run(
        ["/bin/sh", str(SCRIPT), "venv", *arguments],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_shim_that_does_not_start_is_passed_over(programs: Path) -> None:
    write(programs / "python3.13", SHIM)
    write(programs / "python3.12", WORKING)
    write(programs / "python3.11", WORKING)

    done = make(programs)

    assert done.returncode == 0
    assert done.stdout == f"making venv with {programs}/python3.12\nmade -m venv --clear venv\n"


def test_python3_is_taken_when_nothing_newer_is_there(programs: Path) -> None:
    write(programs / "python3", WORKING)

    assert make(programs).stdout.startswith(f"making venv with {programs}/python3\n")


def test_a_named_python_is_taken_before_newer_ones(programs: Path) -> None:
    write(programs / "python3.13", WORKING)
    write(programs / "mine", WORKING)

    assert make(programs, "mine").stdout.startswith(f"making venv with {programs}/mine\n")


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        pytest.param(OLD, (), "no Python from 3.11 on starts here", id="an old python3"),
        pytest.param(OLD, ("python3",), "PYTHON=python3 does not start or is older than 3.11", id="an old one, named"),
        pytest.param(SHIM, ("python3",), "PYTHON=python3 does not start or is older than 3.11", id="a shim, named"),
        pytest.param(WITHOUT_ENSUREPIP, (), "install the package python3-venv", id="Debian without python3-venv"),
    ],
)
def test_what_is_missing_is_said_and_how_to_mend_it(
    programs: Path, script: str, arguments: tuple[str, ...], message: str
) -> None:
    write(programs / "python3", script)

    done = make(programs, *arguments)

    assert done.returncode == 1
    assert message in done.stderr
