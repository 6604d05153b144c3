"""What is installed is what the repository holds."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def folders_with_modules() -> set[str]:
    """Return the packages that the three folders hold, by their import names."""
    return {
        ".".join((package, *path.parent.relative_to(ROOT / folder).parts))
        for package, folder in SETUPTOOLS["package-dir"].items()
        for path in (ROOT / folder).rglob("*.py")
    }


def test_every_package_is_listed_and_none_that_is_gone() -> None:
    assert sorted(SETUPTOOLS["packages"]) == sorted(folders_with_modules())


def test_every_package_has_an_init_file() -> None:
    sources = [path for folder in SETUPTOOLS["package-dir"].values() for path in (ROOT / folder).rglob("*.py")]

    assert [str(path) for path in sources if not path.with_name("__init__.py").is_file()] == []
