"""A source file without tests is reported, and nothing else is."""

from pathlib import Path

import pytest

from scripts.check_tests import main, untested

CODE = "def judge() -> None: ...\n"
TEST = "def test_it_judges() -> None: ...\n"


def write(root: Path, files: dict[str, str]) -> None:
    """Write `files` below `root`."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"gateway/engine.py": CODE, "tests/gateway/test_engine.py": TEST}, id="a module"),
        pytest.param({"policies/uploads.py": CODE, "tests/policies/test_uploads.py": TEST}, id="a policy"),
        pytest.param(
            {"gateway/store/memory.py": CODE, "tests/gateway/store/test_memory.py": TEST}, id="a nested module"
        ),
        pytest.param(
            {"gateway/cli/__init__.py": CODE, "tests/gateway/cli/test_init.py": TEST}, id="a package with code"
        ),
        pytest.param({"gateway/__init__.py": '"""A package."""\n__all__ = []\n'}, id="a package without code"),
        pytest.param({"gateway/__main__.py": "from aupgate.cli import main\nmain()\n"}, id="a bare __main__"),
        pytest.param(
            {"gateway/a.py": CODE, "tests/gateway/test_a.py": "class TestA:\n    async def test_b(self): ...\n"},
            id="tests in a class",
        ),
        pytest.param({"docs/conf.py": CODE}, id="a file elsewhere"),
    ],
)
def test_what_has_tests_or_needs_none_passes(tmp_path: Path, files: dict[str, str]) -> None:
    write(tmp_path, files)

    assert untested(tmp_path) == []


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        pytest.param(
            {"gateway/engine.py": CODE},
            "gateway/engine.py: has no tests; write tests/gateway/test_engine.py",
            id="no test file",
        ),
        pytest.param(
            {"gateway/engine.py": CODE, "tests/gateway/test_engine.py": "import pytest\n"},
            "gateway/engine.py: has no tests; write tests/gateway/test_engine.py",
            id="a test file without a test",
        ),
        pytest.param(
            {"gateway/store/memory.py": CODE, "tests/gateway/test_memory.py": TEST},
            "gateway/store/memory.py: has no tests; write tests/gateway/store/test_memory.py",
            id="tests in the wrong folder",
        ),
        pytest.param(
            {"gateway/constants.py": "LIMIT = 1\n"},
            "gateway/constants.py: has no tests; write tests/gateway/test_constants.py",
            id="a module of data",
        ),
        pytest.param(
            {"gateway/cli/__init__.py": "def __getattr__(name): ...\n"},
            "gateway/cli/__init__.py: has no tests; write tests/gateway/cli/test_init.py",
            id="a package with code",
        ),
    ],
)
def test_what_has_no_tests_is_reported(tmp_path: Path, files: dict[str, str], problem: str) -> None:
    write(tmp_path, files)

    assert untested(tmp_path) == [problem]


def test_the_program_fails_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"policies/uploads.py": CODE})

    assert main(tmp_path) == 1
    assert capsys.readouterr().out == "policies/uploads.py: has no tests; write tests/policies/test_uploads.py\n"
