"""Link the source files under build/types/aupgate/, the tree that type checkers and import-linter follow.

Three folders make one import package, which setuptools knows from `package-dir` in pyproject.toml and type checkers do
not. Links that are right stay as they are, so that their caches hold; links to files that are gone are removed.
"""

import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path


def wanted_links(root: Path, package_dir: Mapping[str, str]) -> dict[Path, Path]:
    """Return the links the tree should hold, each with its target: modules, stubs and `py.typed`."""
    tree = root / "build" / "types"
    return {
        tree.joinpath(*package.split("."), source.relative_to(root / folder)): source
        for package, folder in package_dir.items()
        for source in (root / folder).rglob("*")
        if source.suffix in {".py", ".pyi"} or source.name == "py.typed"
    }


def link(root: Path, wanted: Mapping[Path, Path]) -> None:
    """Make the tree under `root` hold the `wanted` links and no other."""
    for path in (root / "build" / "types").rglob("*"):
        if path.is_symlink() and (path not in wanted or not path.exists()):
            path.unlink()
    for path, source in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(source, path.parent)
        if not path.is_symlink() or path.readlink() != Path(target):
            path.unlink(missing_ok=True)
            path.symlink_to(target)


def main(root: Path) -> int:
    """Link the tree of the repository at `root`; return the exit code."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    link(root, wanted_links(root, project["tool"]["setuptools"]["package-dir"]))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
