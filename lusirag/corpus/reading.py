"""What the readers of all formats share: a file to read, the state of one pass, and what to do with bad rows."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import pyarrow as pa

from lusirag.corpus.columns import ColumnTypes
from lusirag.corpus.fields import FieldNames
from lusirag.errors import CorpusError

logger = logging.getLogger(__name__)

OnError = Literal["stop", "skip"]
Compression = Literal["gzip", "zstd"]


@dataclass(frozen=True)
class SourceFile:
    """One file of a corpus.

    Attributes:
        path: where it is, as the user would say it; `-` for standard input.
        name: its path relative to the source folder, or its file name; ids without an id field begin with it.
        format: a key of `sources.FORMATS`' values.
        compression: how it is packed, None if it is not.
        size: bytes on disk; None where nobody can know (standard input, pipes).
        stream: read this instead of opening `path`.
        copy: where its unpacked content lies for now, if that is not `path`.
        split: name of the Hugging Face split it belongs to.
        in_folder: found in a folder, rather than named by the user.
    """

    path: Path
    name: str
    format: str
    compression: Compression | None = None
    size: int | None = None
    stream: BinaryIO | None = None
    copy: Path | None = None
    split: str | None = None
    in_folder: bool = False


@dataclass
class Meter:
    """Counts the bytes of source files that were read, packed ones as they lie on disk."""

    bytes_read: float = 0


@dataclass(frozen=True)
class BadRows:
    """Stops at the first row that cannot be used, or counts it and goes on.

    Args:
        on_error: "stop" or "skip".
        skipped: how many rows were left out, by reason.
    """

    on_error: OnError
    skipped: Counter[str]

    def report(self, place: str, reason: str, detail: str = "") -> None:
        """Count one bad row, or raise.

        Args:
            place: file and line or row.
            reason: what is wrong, the same words for the same fault; rows are counted by it.
            detail: more about this one row.

        Raises:
            CorpusError: `on_error` is "stop".
        """
        said = f"{reason} ({detail})" if detail else reason
        if self.on_error == "stop":
            raise CorpusError(f"{place}: {said}; correct it, or use --on-error skip to leave such rows out")
        self.skipped[reason] += 1
        logger.info("left out %s: %s", place, said)


@dataclass(frozen=True)
class Reading:
    """The state of one pass over a corpus."""

    fields: FieldNames
    batch_rows: int
    bad_rows: BadRows
    types: ColumnTypes = field(default_factory=ColumnTypes)
    meter: Meter = field(default_factory=Meter)


@dataclass(frozen=True)
class Piece:
    """Some rows of a structured file under their own column names.

    Attributes:
        rows: the file's columns.
        fields: which of them is what.
        numbers: 1-based line or row number of each row.
        unit: what `numbers` count.
        bad: rows that the reader already knows to be unusable: index in `rows` -> reason.
    """

    rows: pa.RecordBatch
    fields: FieldNames
    numbers: Sequence[int]
    unit: Literal["line", "row"] = "row"
    bad: dict[int, str] = field(default_factory=dict)
