"""Check that every source file has its test file, as gateway/store/memory.py has tests/gateway/store/test_memory.py.

A package's `__init__.py` and `__main__.py` are tested by `test_init.py` and `test_main.py`, and need none while they
define nothing. A test file without a test does not count.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

FOLDERS = ("gateway", "policies", "middleware", "scripts")
"""The folders whose files must have a test file."""

NEED_NONE_WHEN_BARE = ("__init__.py", "__main__.py")

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def tests_of(source: Path) -> Path:
    """Return where the tests of `source` belong, both relative to the root of the repository."""
    return Path("tests") / source.parent / f"test_{source.stem.strip('_')}.py"


def _definitions(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_bytes(), str(path))
    return (node.name for node in ast.walk(tree) if isinstance(node, _DEFINITIONS))


def needs_tests(path: Path) -> bool:
    """Return whether the source file at `path` must have a test file."""
    return path.name not in NEED_NONE_WHEN_BARE or any(_definitions(path))


def holds_tests(path: Path) -> bool:
    """Return whether the file at `path` is there and defines a test."""
    return path.is_file() and any(name.startswith("test_") for name in _definitions(path))


def untested(root: Path, folders: Iterable[str] = FOLDERS) -> list[str]:
    """Return what is wrong, one line for each source file below `folders` that has no tests."""
    sources = sorted(path for folder in folders for path in (root / folder).rglob("*.py"))
    return [
        f"{source.relative_to(root)}: has no tests; write {tests_of(source.relative_to(root))}"
        for source in sources
        if needs_tests(source) and not holds_tests(root / tests_of(source.relative_to(root)))
    ]


def main(root: Path) -> int:
    """Print every source file of the repository at `root` that has no tests; return the exit code."""
    problems = untested(root)
    print("\n".join(problems) or "check_tests: every source file has its test file")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
