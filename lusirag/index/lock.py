"""One writer at a time: an operating-system lock on a file, and beside it who holds it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from lusirag.errors import IndexStateError
from lusirag.index.files import storage_errors

LOCK_FILE = "writer.lock"
OWNER_FILE = "writer.json"

# Longer than it takes to commit what was prepared in the background (`maintenance`), which nobody needs to know of.
_GRACE_SECONDS = 1.0


class LockedError(IndexStateError):
    """Another writer holds the lock."""


@contextmanager
def writer_lock(directory: Path) -> Iterator[None]:
    """Hold the index's writer lock. It ends with the process, however that ends: no stale lock is left behind.

    Raises:
        IndexStateError: no such directory; or another writer goes on holding the lock (LockedError): names its process,
            machine and since when.
        StorageError: the directory cannot be written.
    """
    if not directory.is_dir():
        raise IndexStateError(f"there is no index at {directory}: no such directory")
    lock = FileLock(directory / LOCK_FILE, timeout=_GRACE_SECONDS)
    try:
        with storage_errors(directory / LOCK_FILE):
            lock.acquire()
    except Timeout:
        raise LockedError(
            f"index {directory} is being written by {_owner(directory)}. "
            "Wait until it has finished, or stop it; reading and searching go on meanwhile."
        ) from None
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        # NOTE: the owner is for the other writer's error message only, so it is not synced and a torn file is no harm.
        with storage_errors(directory / OWNER_FILE):
            (directory / OWNER_FILE).write_text(json.dumps(owner), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            (directory / OWNER_FILE).unlink()
        lock.release()


def _owner(directory: Path) -> str:
    try:
        owner = json.loads((directory / OWNER_FILE).read_text(encoding="utf-8"))
        return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
