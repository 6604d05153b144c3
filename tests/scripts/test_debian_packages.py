"""The servers that tests need are installed without being started, and only where and when that is called for."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "debian_packages.sh"


class Machine:
    """A PATH with only the given programs, on which apt-get records what it is asked."""

    def __init__(self, directory: Path) -> None:
        self.programs = directory / "bin"
        self.programs.mkdir()
        self.log = directory / "apt.log"
        self.policy = directory / "policy-rc.d"
        # The real script looks into the directories of administrators' programs, so this copy must not.
        self.script = directory / "debian_packages.sh"
        self.script.write_text(SCRIPT.read_text().replace("PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin\n", ""))
        for tool in ("rm", "chmod"):
            (self.programs / tool).symlink_to(f"/bin/{tool}")

    def has(self, program: str, script: str = "exit 0") -> None:
        """Put `program` on the PATH, as a shell script."""
        path = self.programs / program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self) -> "subprocess.CompletedProcess[str]":
        """Run the script on this machine."""
        environment = {
            "PATH": str(self.programs), "AUPGATE_POLICY_RC_D": str(self.policy), "LOG": str(self.log),
            "HOME": os.environ.get("HOME", "/"),
        }  # fmt: skip
        return subprocess.run(
            ["/bin/sh", str(self.script)], env=environment, capture_output=True, text=True, check=False
        )

    @property
    def asked(self) -> list[str]:
        """What apt-get was asked, one call a line."""
        return self.log.read_text().splitlines() if self.log.exists() else []


APT = 'echo "$*" >>"$LOG"; [ ! -e "$AUPGATE_POLICY_RC_D" ] || "$AUPGATE_POLICY_RC_D" || echo "starts: $?" >>"$LOG"'


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Debian machine on which the script runs as root and no server is installed."""
    machine = Machine(tmp_path)
    machine.has("id", "echo 0")
    machine.has("apt-get", APT)
    return machine


def test_nothing_is_asked_when_nothing_is_missing(machine: Machine) -> None:
    for server in ("redis-server", "clamd", "nginx"):
        machine.has(server)

    assert machine.run().returncode == 0
    assert machine.asked == []


def test_only_what_is_missing_is_installed_and_it_may_not_start(machine: Machine) -> None:
    machine.has("nginx")

    assert machine.run().returncode == 0
    assert machine.asked == [
        "update -qq",
        "starts: 101",
        "install -qq -y --no-install-recommends redis-server clamav-daemon",
        "starts: 101",
    ]


def test_the_file_that_keeps_servers_from_starting_is_taken_away(machine: Machine) -> None:
    machine.run()

    assert machine.asked
    assert not machine.policy.exists()


def test_a_policy_that_the_machine_has_is_left_alone(machine: Machine) -> None:
    machine.policy.write_text("#!/bin/sh\nexit 0\n")
    machine.policy.chmod(0o755)

    machine.run()

    assert machine.policy.read_text() == "#!/bin/sh\nexit 0\n"


def test_who_is_not_root_is_told_what_is_missing(machine: Machine) -> None:
    machine.has("id", "echo 1000")
    machine.has("nginx")

    done = machine.run()

    assert (done.returncode, machine.asked) == (0, [])
    assert done.stderr == "not installed, tests that need them will skip: redis-server clamav-daemon\n"


def test_a_failed_installation_is_said_and_leaves_the_verdict_to_the_tests(machine: Machine) -> None:
    machine.has("apt-get", "exit 100")

    done = machine.run()

    assert done.returncode == 0
    assert done.stderr == "apt-get could not install all of: redis-server clamav-daemon nginx\n"
    assert not machine.policy.exists()
