"""Where results are kept: a directory that several processes may write to."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lusirag.errors import StorageError


@contextmanager
def keeping(directory: Path) -> Iterator[None]:
    """Turn what the file system refuses into a StorageError with words about results."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"results cannot be kept in {directory}: {reason}; give another place: --cache DIR"
        ) from error


def require_writable(directory: Path) -> None:
    """Make a directory, and see whether files can be written to it, before anything is computed for it.

    Raises:
        StorageError: they cannot.
    """
    with keeping(directory):
        directory.mkdir(parents=True, exist_ok=True)
        trial = directory / f".{uuid.uuid4().hex}"
        try:
            trial.write_bytes(b"")
        finally:
            trial.unlink(missing_ok=True)
