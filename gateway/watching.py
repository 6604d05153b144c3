"""Files that the operator keeps are read again when they change, without a restart.

One thread looks at all of them every two seconds. What cannot be read is logged and counted, and what was read before
stays in force; it is tried again when the file changes again.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from weakref import WeakMethod

EVERY: Final = 2.0
"""Seconds between two looks."""
_GRANULE: Final = 20_000_000
"""Nanoseconds by which the times of files may lag behind the clock."""

Read = Callable[[], Sequence[Path]]
"""Reads files and returns which they were; raises when one cannot be read or is wrong."""
OnRead = Callable[[Path, bool], None]
"""Told of each file that was read again, and whether that went well."""
_State = tuple[int, int, int] | None

_log = logging.getLogger("aupgate")


class _Watch:
    """What one reader read, and how the files looked then."""

    def __init__(self, read: Read) -> None:
        began = time.time_ns() - _GRANULE
        self.read = read
        self.seen = {path: _state(path) for path in read()}
        for path, state in self.seen.items():
            if state is not None and state[0] >= began:  # it may have changed after it was read
                self.seen[path] = None

    def changed(self) -> list[Path]:
        """Return the files that differ from when they were last seen, and see them."""
        now = {path: _state(path) for path in self.seen}
        changed = [path for path, state in now.items() if state != self.seen[path]]
        self.seen = now
        return changed


class Watcher:
    """Watches files. `on_read` is told of every file that was read again."""

    def __init__(self, on_read: OnRead = lambda _path, _well: None) -> None:
        self._on_read = on_read
        self._watches: list[_Watch] = []
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def watch(self, read: Read) -> None:
        """Read now, and again when one of the files changes. What `read` raises now is the caller's."""
        watch = _Watch(read)
        if watch.seen:
            self._watches.append(watch)

    def start(self) -> None:
        """Look now and then from now on, if there is anything to look at."""
        if self._watches and self._thread is None:
            restart = WeakMethod(self._restart)
            os.register_at_fork(after_in_child=lambda: (again := restart()) and again())
            self._restart()

    def look(self) -> None:
        """Read again what changed since the last look."""
        for watch in self._watches:
            if changed := watch.changed():
                well = _read_again(watch, changed)
                for path in changed:
                    self._on_read(path, well)

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()

    def _restart(self) -> None:
        """Start the thread, which a process that was forked off does not have."""
        self._thread = threading.Thread(target=self._run, name="aupgate-files", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            self.look()


def _read_again(watch: _Watch, changed: Sequence[Path]) -> bool:
    names = ", ".join(str(path) for path in changed)
    try:
        paths = watch.read()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a file, what was read before holds
        _log.error("%s changed and cannot be used, what was read before stays in force: %s", names, error)
        return False
    watch.seen |= {path: _state(path) for path in paths if path not in watch.seen}
    _log.info("%s changed and was read again", names)
    return True


def _state(path: Path) -> _State:
    """Return what tells a file from the one it was; None when there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
