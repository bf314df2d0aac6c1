"""Results: rows as .parquet or .jsonl and a report beside them, each in place whole or not at all."""

from __future__ import annotations

import importlib.metadata
import io
import json
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lusirag.errors import InvalidArgumentError, StorageError
from lusirag.index.files import replace_file, sync_directory, write_file

ENDINGS = (".parquet", ".jsonl")


def check_target(out: Path, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse a result that could not be written, before hours are spent on it.

    Raises:
        InvalidArgumentError: an ending that is not known, a folder, or one of the files that are read.
        StorageError: the folder cannot be made.
    """
    if out.suffix not in ENDINGS:
        raise InvalidArgumentError(f"{out}: cannot tell the format from the ending; allowed: {', '.join(ENDINGS)}")
    if out.is_dir():
        raise InvalidArgumentError(f"{out} is a folder; name a file")
    if any(Path(source).resolve() == out.resolve() for source in inputs):
        raise InvalidArgumentError(f"{out} is read as well; write to another file")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder {out.parent}: {error.strerror}") from error


def report_path(out: Path) -> Path:
    """Where the report of a result lies: beside it, as <name>.report.json."""
    return out.with_name(f"{out.stem}.report.json")


def write_rows(out: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> int:
    """Write rows to a temporary name, sync, and rename: a reader sees the old file or the new one.

    Args:
        out: .parquet or .jsonl.
        tables: the rows, in pieces.
        schema: their columns.

    Returns:
        how many there are.
    """
    temporary = out.with_name(f".{out.name}.tmp")
    temporary.unlink(missing_ok=True)
    rows = 0
    with write_file(temporary) as file:
        writer = (
            pq.ParquetWriter(pa.PythonFile(file, "w"), schema, compression="zstd") if out.suffix == ".parquet" else None
        )
        for table in tables:
            rows += table.num_rows
            if writer is not None:
                writer.write_table(table.cast(schema))
            else:
                lines = io.StringIO()
                for row in table.to_pylist():
                    lines.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.write(lines.getvalue().encode())
        if writer is not None:
            writer.close()
    temporary.replace(out)
    sync_directory(out.parent)
    return rows


def write_report(out: Path, report: Mapping[str, Any]) -> None:
    """Write the report of a result beside it."""
    text = json.dumps(report, ensure_ascii=False, indent=2, default=str)
    replace_file(report_path(out), (text + "\n").encode())


def versions(*packages: str) -> dict[str, str]:
    """The versions of Python, lusirag and some packages."""
    found = {"python": platform.python_version()}
    for package in ("lusirag", *packages):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed as a package"
    return found
