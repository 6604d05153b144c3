"""Pages are told from the files they bring along by their path."""

import pytest

from aupgate.pages import is_asset


@pytest.mark.parametrize("path", ["/static/app.js", "/a.CSS", "/img/photo.min.webp", "/favicon.ico", "/fonts/x.woff2"])
def test_files_that_pages_bring_along(path: str) -> None:
    assert is_asset(path)


@pytest.mark.parametrize(
    "path", ["/", "/css", "/index.html", "/api/v1.2/items", "/report.pdf", "/feed.xml", "/data.json", "/css/", "*"]
)
def test_pages(path: str) -> None:
    assert not is_asset(path)
