"""Files that the operator keeps are read again when they change."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from aupgate.watching import Watcher


class Reader:
    """Reads one file of lines, the last of which may name another file to read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = ""

    def __call__(self) -> Sequence[Path]:
        text = self.path.read_text()
        if text == "wrong":
            raise ValueError("wrong text")
        self.text = text
        return [self.path]


def write(path: Path, text: str) -> None:
    """Write as an editor does: a new file in the place of the old."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def test_a_file_is_read_at_once_and_again_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "list"
    write(path, "one")
    reader, told = Reader(path), []
    watcher = Watcher(lambda path, well: told.append((path, well)))
    watcher.watch(reader)
    assert reader.text == "one"
    write(path, "two")
    watcher.look()
    watcher.look()
    assert reader.text == "two"
    assert told == [(path, True)]
    watcher.stop()


def test_what_was_read_before_stays_when_the_file_is_wrong_or_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "list"
    write(path, "one")
    reader, told = Reader(path), []
    watcher = Watcher(lambda path, well: told.append((path, well)))
    watcher.watch(reader)
    write(path, "wrong")
    watcher.look()
    path.unlink()
    watcher.look()
    assert reader.text == "one"
    write(path, "three")
    watcher.look()
    assert reader.text == "three"
    assert told == [(path, False), (path, False), (path, True)]
    assert "what was read before stays in force: wrong text" in caplog.text
    watcher.stop()


def test_what_is_wrong_at_the_start_is_the_callers(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Watcher().watch(Reader(tmp_path / "none"))


def test_its_thread_looks_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr("aupgate.watching.EVERY", 0.01)
    path, read = tmp_path / "list", threading.Event()
    write(path, "one")
    watcher = Watcher(lambda _path, _well: read.set())
    watcher.watch(Reader(path))
    watcher.start()
    write(path, "two")
    assert read.wait(10)
    watcher.stop()
