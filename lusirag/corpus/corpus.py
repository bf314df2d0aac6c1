"""The corpus: any number of files, read as one stream of Arrow record batches."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, get_args

import pyarrow as pa

from lusirag.corpus.arrow_files import read_arrow, read_parquet
from lusirag.corpus.delimited import read_delimited
from lusirag.corpus.fields import FieldNames
from lusirag.corpus.json_rows import read_json
from lusirag.corpus.reading import BadRows, OnError, Piece, Reading, SourceFile
from lusirag.corpus.rows import finish_piece
from lusirag.corpus.sources import find_files
from lusirag.corpus.streams import name_faults
from lusirag.corpus.text_files import read_documents
from lusirag.errors import InvalidArgumentError

_READERS: dict[str, Callable[[SourceFile, Reading], Iterator[Piece]]] = {
    "jsonl": read_json,
    "json": read_json,
    "csv": read_delimited,
    "tsv": read_delimited,
    "parquet": read_parquet,
    "arrow": read_arrow,
}


class Corpus:
    """Documents in files of any of the known formats, as record batches in the corpus schema.

    Iterating reads the files anew, a batch at a time; memory stays bounded whatever their size. The columns are id
    (string), text (large_string), title, language, source (string), then the user's own with their own Arrow types. A
    batch holds the columns that its rows have; the type of one may widen later on (integer to float, null to any).

    Args:
        sources: files, folders, Hugging Face datasets on disk (`save_to_disk`), or "-" for standard input.
        fields: which of the sources' columns are text, id, title and language; guessed where None.
        format: what the sources are, whatever their endings: jsonl, json, csv, tsv, parquet, arrow, txt, md or html.
        on_error: "stop" at the first row that cannot be used, or "skip" such rows and count them.
        batch_rows: most rows of a batch.
        stdin: read for "-"; by default `sys.stdin.buffer`.

    Attributes:
        files: the files that will be read, in that order.
        bytes_total: their size in bytes; None if standard input or a pipe is among them.
        skipped: rows left out by the latest pass, counted by reason.

    Raises:
        InvalidArgumentError: an argument has a value that is not allowed.
        CorpusError: a source is missing, unreadable or empty; while iterating, a file is damaged or a row is bad.
    """

    def __init__(
        self,
        sources: Sequence[str | Path],
        *,
        fields: FieldNames = FieldNames(),  # noqa: B008  (frozen)
        format: str | None = None,
        on_error: OnError = "stop",
        batch_rows: int = 1024,
        stdin: BinaryIO | None = None,
    ) -> None:
        if on_error not in get_args(OnError):
            raise InvalidArgumentError(f"on_error is {on_error!r}; allowed: {', '.join(get_args(OnError))}")
        if batch_rows < 1:
            raise InvalidArgumentError(f"batch_rows is {batch_rows}; it must be at least 1")
        self._files = find_files(sources, format, stdin if stdin is not None else sys.stdin.buffer)
        self._fields = fields
        self._on_error = on_error
        self._batch_rows = batch_rows
        self._reading: Reading | None = None
        self.skipped: Counter[str] = Counter()

    @property
    def files(self) -> list[Path]:
        """The files that will be read, in that order."""
        return [file.path for file in self._files]

    @property
    def bytes_total(self) -> int | None:
        """Size of all files in bytes, as they lie on disk; None if one has no known size."""
        sizes = [file.size for file in self._files]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def bytes_read(self) -> int:
        """How much of `bytes_total` the latest pass has read."""
        return round(self._reading.meter.bytes_read) if self._reading is not None else 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        self.skipped = Counter()
        reading = Reading(self._fields, self._batch_rows, BadRows(self._on_error, self.skipped))
        self._reading = reading
        done = 0
        for structured, group in groupby(self._files, key=lambda file: file.format in _READERS):
            files = list(group)
            # Text files are small: many of them share a batch.
            for part in ([file] for file in files) if structured else (files,):
                batches = _read_structured(part[0], reading) if structured else read_documents(part, reading)
                yield from (batch for batch in batches if batch.num_rows)
                sizes = [file.size for file in part]
                if None not in sizes:  # what a reader did not look at, such as a footer, is done with too
                    done += sum(size or 0 for size in sizes)
                    reading.meter.bytes_read = done


def _read_structured(file: SourceFile, reading: Reading) -> Iterator[pa.RecordBatch]:
    with name_faults(file):
        for piece in _READERS[file.format](file, reading):
            yield finish_piece(piece, file, reading)
