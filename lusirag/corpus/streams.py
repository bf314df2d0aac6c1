"""Opening source files: unpacking, counting bytes, and the faults of a file as a whole."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from lusirag.corpus.reading import Meter, SourceFile
from lusirag.errors import CorpusError

MAX_LINE_BYTES = 256 * 1024 * 1024
_BUFFER_BYTES = 1024 * 1024
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class _CountedFile(io.RawIOBase):
    """Passes a binary stream on and counts what was read of it."""

    def __init__(self, stream: BinaryIO, meter: Meter, weight: float) -> None:
        self._stream = stream
        self._meter = meter
        self._weight = weight

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._meter.bytes_read += len(data) * self._weight
        return len(data)


@contextmanager
def open_stream(file: SourceFile, meter: Meter, *, weight: float = 1.0) -> Iterator[io.BufferedReader]:
    """Open a source file for reading from its start to its end, unpacked.

    Args:
        file: what to read.
        meter: told about the bytes that are read.
        weight: share of each byte that counts, for formats that read a file twice.

    Raises:
        CorpusError: the file is empty.
    """
    raw = file.stream if file.stream is not None else (file.copy or file.path).open("rb")
    try:
        content: io.RawIOBase = _CountedFile(raw, meter, weight)
        if file.compression is not None:
            content = pa.CompressedInputStream(pa.PythonFile(content, mode="r"), file.compression)
        unpacked = io.BufferedReader(cast(Any, content), _BUFFER_BYTES)
        if not unpacked.peek(1):
            raise empty(file)
        yield unpacked
    finally:
        if file.stream is None:
            raw.close()


@contextmanager
def open_text(file: SourceFile, meter: Meter, *, weight: float = 1.0) -> Iterator[io.BufferedReader]:
    """Open a source file that holds UTF-8 text; a byte order mark at its start is left out.

    Raises:
        CorpusError: the file is empty, or is UTF-16.
    """
    with open_stream(file, meter, weight=weight) as stream:
        start = stream.peek(4)[:4]
        if start.startswith(_UTF16_BOMS):
            raise CorpusError(f"{file.path}: is UTF-16 text; convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8)")
        if start.startswith(_UTF8_BOM):
            stream.read(len(_UTF8_BOM))
        yield stream


@contextmanager
def open_path(file: SourceFile, meter: Meter) -> Iterator[Path]:
    """Give a source file a path where it can be read in any order; packed or streamed ones are put in a temporary file.

    Raises:
        CorpusError: the file is empty.
    """
    if file.stream is None and file.compression is None and file.size is not None:
        if file.size == 0:
            raise empty(file)
        yield file.path
        return
    with tempfile.NamedTemporaryFile(prefix="lusirag-") as copy:
        with open_stream(file, meter, weight=0.5) as stream:
            shutil.copyfileobj(stream, copy, _BUFFER_BYTES)
        copy.flush()
        yield Path(copy.name)


@contextmanager
def name_faults(file: SourceFile) -> Iterator[None]:
    """Say of which file it is that the system or Arrow could not read it.

    Raises:
        CorpusError: in place of their errors.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        said = " ".join(str(error).split())
        raise CorpusError(f"{file.path}: cannot be read as {file.format}, damaged or cut off? ({said})") from error


def empty(file: SourceFile) -> CorpusError:
    """Return the error for a file without content."""
    return CorpusError(f"{file.path}: the file is empty; give a file with documents, or leave it out")
