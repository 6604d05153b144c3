"""The linked tree follows the sources: files appear in it, vanish from it, and stay untouched otherwise."""

from pathlib import Path

import pytest

from scripts.link_types import main

PROJECT = """
[tool.setuptools.package-dir]
product = "engine"
"product.rules" = "rules"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository whose two folders are one import package."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    for name in (
        "engine/__init__.py",
        "engine/py.typed",
        "engine/store/memory.py",
        "rules/limits.py",
        "rules/pack.toml",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def tree(root: Path) -> dict[str, str]:
    """Return the linked files by name, with what is read through them."""
    types = root / "build" / "types"
    return {str(path.relative_to(types)): path.read_text() for path in types.rglob("*") if path.is_symlink()}


LINKED = {
    "product/__init__.py": "engine/__init__.py",
    "product/py.typed": "engine/py.typed",
    "product/store/memory.py": "engine/store/memory.py",
    "product/rules/limits.py": "rules/limits.py",
}


def test_the_folders_are_linked_as_one_package(root: Path) -> None:
    assert main(root) == 0
    assert tree(root) == LINKED


def test_linking_again_leaves_good_links_untouched(root: Path) -> None:
    main(root)
    link = root / "build/types/product/store/memory.py"
    before = link.lstat()

    main(root)

    assert (link.lstat().st_ino, link.lstat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_file_that_is_gone_leaves_the_tree(root: Path) -> None:
    main(root)
    (root / "engine/store/memory.py").unlink()

    main(root)

    assert tree(root) == {name: source for name, source in LINKED.items() if name != "product/store/memory.py"}


def test_a_link_that_points_elsewhere_is_mended(root: Path) -> None:
    main(root)
    link = root / "build/types/product/rules/limits.py"
    link.unlink()
    link.symlink_to(root / "rules/pack.toml")

    main(root)

    assert tree(root) == LINKED


def test_the_tree_still_holds_when_the_repository_moves(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    main(root)

    moved = root.rename(tmp_path_factory.mktemp("moved") / "here")

    assert tree(moved) == LINKED
