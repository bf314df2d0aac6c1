"""Files that are written once, synced, and checked: the ground that atomic commits stand on."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lusirag.errors import IndexStateError, StorageError

logger = logging.getLogger(__name__)

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What the manifest remembers of one file.

    Attributes:
        path: relative to the index directory, with forward slashes.
        bytes: its size.
        checksum: BLAKE2b of its content, 16 bytes in hexadecimal.
        crc32: of its content, much quicker to compute: for large files that are checked when first read (format 3).
    """

    path: str
    bytes: int
    checksum: str
    crc32: int | None = None

    @property
    def name(self) -> str:
        """The last part of `path`."""
        return self.path.rpartition("/")[2]


class ChecksumWriter:
    """A binary file that hashes and counts what is written to it; Arrow's writers take it as a sink."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.blake2b(digest_size=16)
        self._bytes = self._crc32 = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """Append `data` (bytes or any buffer) and return its length in bytes."""
        view = memoryview(data).cast("B")
        self._file.write(view)
        self._digest.update(view)
        self._crc32 = zlib.crc32(view, self._crc32)
        self._bytes += len(view)
        return len(view)

    def tell(self) -> int:
        """Bytes written so far."""
        return self._bytes

    def flush(self) -> None:
        """Hand what is buffered to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Arrow closes its sinks; the file itself is closed by `write_file`, after it was synced."""
        self.closed = True

    def record(self, path: str) -> FileRecord:
        """What was written so far, as the manifest's entry for `path`."""
        return FileRecord(path, self._bytes, self._digest.hexdigest(), self._crc32)


@contextmanager
def write_file(path: Path) -> Iterator[ChecksumWriter]:
    """Open a new file for writing; on a clean exit it is synced, on an error it is removed.

    Raises:
        StorageError: the file system refuses (no space left, no permission).
    """
    try:
        with storage_errors(path), path.open("xb") as file:
            writer = ChecksumWriter(file)
            yield writer
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step: a reader sees the old file or the new one, also after a power cut.

    Raises:
        StorageError: the file system refuses; the old file stays.
    """
    temporary = path.with_name(path.name + ".tmp")
    with suppress(FileNotFoundError), storage_errors(temporary):
        temporary.unlink()
    with write_file(temporary) as file:
        file.write(content)
    try:
        with storage_errors(path):
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Windows has no such call and needs none: NTFS journals them."""
    if os.name == "nt":
        return
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def checksum(path: Path) -> str:
    """BLAKE2b (16 bytes, hexadecimal) of a file's content, read in pieces."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def is_unaltered(content: Any, record: FileRecord) -> bool:
    """Whether bytes in memory, or a memory map, are what a file should hold; as quickly as can be said."""
    if record.crc32 is not None:
        return zlib.crc32(content) == record.crc32
    return hashlib.blake2b(content, digest_size=16).hexdigest() == record.checksum


def problem_with(directory: Path, record: FileRecord, *, full: bool) -> str | None:
    """Say in words what is wrong with a file, or None when it is as recorded.

    Args:
        directory: the index directory.
        record: what the file should be.
        full: compare the content too, not only the size.
    """
    path = directory / record.path
    try:
        size = path.stat().st_size
        if size != record.bytes:
            return f"{record.path} has {size:,} bytes instead of {record.bytes:,}"
        if full and checksum(path) != record.checksum:
            return f"{record.path} was altered: its checksum is not the one in manifest.json"
    except FileNotFoundError:
        return f"{record.path} is missing"
    except OSError as error:
        return f"{record.path} cannot be read: {error.strerror or error}"
    return None


def damaged(directory: Path, problem: str) -> IndexStateError:
    """The error for an index whose files are not what the manifest says."""
    return IndexStateError(
        f"index {directory} is damaged: {problem}. `lusirag verify {directory}` lists everything that is wrong; "
        "`lusirag repair` rebuilds what follows from the rest, else restore the directory from a copy."
    )


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the file system's refusals into a StorageError that names the path; other errors pass."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = _REASONS.get(error.errno or 0)
        if reason is None:
            raise
        raise StorageError(f"cannot write {path}: {reason}. What was committed before is kept.") from error


_REASONS = {
    errno.ENOSPC: "no space left on the disk; free some and run the same again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same again",
    errno.EFBIG: "the file would be larger than the file system or a limit of this process allows",
    errno.EACCES: "no permission; check who owns the directory",
    errno.EPERM: "no permission; check who owns the directory",
    errno.EROFS: "the file system is read-only; copy the index to one that can be written",
    errno.EIO: "the device reports an input/output error",
}
