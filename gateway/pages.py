"""Telling pages from the files they bring along."""

from typing import Final

ASSETS: Final = frozenset({
    "avif", "bmp", "css", "cur", "eot", "gif", "ico", "jpeg", "jpg", "js", "map", "mjs", "mp3", "mp4", "ogg", "otf",
    "png", "svg", "ttf", "wasm", "wav", "webm", "webmanifest", "webp", "woff", "woff2",
})  # fmt: skip
"""Extensions of style sheets, scripts, images, sounds, films and fonts."""


def is_asset(path: str) -> bool:
    """Return whether `path` ends as the path of a file that pages bring along.

    The path alone tells: a header such as Sec-Fetch-Dest would let robots call every page an image.
    """
    return path.rpartition(".")[2].lower() in ASSETS
