"""A folder beside an index's segments in which new files are prepared without its writer lock.

What is ready is moved from here to its place by one who holds that lock. Only one process prepares at a time.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lusirag.index.files import storage_errors

STAGING_FOLDER = "staging"
STAGING_LOCK_FILE = "staging.lock"

_POLL_SECONDS = 0.2


@contextmanager
def staging(directory: Path, give_up: Callable[[], bool]) -> Iterator[Path | None]:
    """The folder, for this caller alone; it need not exist. It ends with the process, as the writer lock does.

    Args:
        directory: the index directory.
        give_up: asked now and then while another process has it; None is yielded when it says so.

    Raises:
        StorageError: the directory cannot be written.
    """
    lock = FileLock(directory / STAGING_LOCK_FILE, timeout=0)
    while not lock.is_locked:
        try:
            with storage_errors(directory / STAGING_LOCK_FILE):
                lock.acquire()
        except Timeout:
            if give_up():
                yield None
                return
            time.sleep(_POLL_SECONDS)
    try:
        yield directory / STAGING_FOLDER
    finally:
        clear(directory / STAGING_FOLDER)
        lock.release()


def clear(folder: Path) -> None:
    """Remove the folder with what was not moved to its place."""
    shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(directory: Path) -> None:
    """Remove what a process that died has left; what a living one prepares stays."""
    if (directory / STAGING_FOLDER).exists():
        with suppress(Timeout, OSError), FileLock(directory / STAGING_LOCK_FILE, timeout=0):
            clear(directory / STAGING_FOLDER)
