"""Rows in fixed columns as Arrow files: written once beside the cache of `datasets`, then memory-mapped."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lusirag.index.files import sync_directory, write_file
from lusirag_training.data.rows import nothing_left
from lusirag_training.data.sources import Place, load_datasets

if TYPE_CHECKING:
    from datasets import Dataset

# Part of each file's name: raise it when the same source would give other rows.
_VERSION = 1

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReadingReport:
    """What was read.

    Attributes:
        rows: in the source; those that were looked at, of a stream.
        skipped: reason -> rows that could not be used.
        used: rows in the result.
    """

    rows: int
    used: int
    skipped: dict[str, int] = field(default_factory=dict)


def target_of(place: Place, facts: list[Any]) -> Path:
    """The file for what `facts` tell."""
    folder = Path(place.cache_dir or load_datasets().config.HF_DATASETS_CACHE).expanduser() / "lusirag"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{hashlib.blake2b(json.dumps([_VERSION, *facts]).encode(), digest_size=16).hexdigest()}.arrow"


def write_once(
    target: Path, tables: Iterable[pa.Table], schema: pa.Schema, report: ReadingReport, source: str | Path
) -> None:
    """Write an Arrow stream under a name of this process's own, then rename it."""
    if not report.used:
        raise nothing_left(source, report.skipped)
    account = json.dumps({"rows": report.rows, "used": report.used, "skipped": report.skipped})
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    with (
        write_file(temporary) as file,
        pa.ipc.new_stream(pa.PythonFile(file, "w"), schema.with_metadata({"lusirag": account})) as writer,
    ):
        for table in tables:
            writer.write_table(_with_columns(table, schema))
    temporary.replace(target)
    sync_directory(target.parent)


def _with_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`source` is null in the rows of a file that has no such column."""
    columns = [table[f.name] if f.name in table.column_names else pa.nulls(table.num_rows, f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def open_stored(target: Path, source: str | Path) -> tuple[Dataset, ReadingReport]:
    """Map a file that was written, with the account of how it came about."""
    with pa.memory_map(str(target)) as file:
        account = json.loads(pa.ipc.open_stream(file).schema.metadata[b"lusirag"])
    report = ReadingReport(**account)
    if report.skipped:
        reasons = ", ".join(f"{count:,}: {reason}" for reason, count in report.skipped.items())
        logger.warning("%s: %d of %d rows left out (%s)", source, sum(report.skipped.values()), report.rows, reasons)
    return load_datasets().Dataset.from_file(str(target)), report
