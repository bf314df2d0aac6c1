"""Which rows of a segment are deleted: a bitmap in a file of its own, a new one for each change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lusirag.index.files import FileRecord, write_file

Mask = npt.NDArray[np.bool_]
Bitmap = npt.NDArray[np.uint8]

_SCHEMA = pa.schema([pa.field("deleted", pa.bool_(), nullable=False)])


def tombstones_name(generation: int) -> str:
    """File name of the tombstones that a generation wrote."""
    return f"tombstones-{generation:06d}.arrow"


def write_tombstones(directory: Path, segment: str, generation: int, deleted: Mask) -> FileRecord:
    """Write a segment's deleted rows as a new file; earlier ones stay for the readers that use them."""
    path = f"segments/{segment}/{tombstones_name(generation)}"
    with write_file(directory / path) as file:
        with pa.ipc.new_file(file, _SCHEMA) as writer:
            writer.write_batch(pa.record_batch([pa.array(deleted)], schema=_SCHEMA))
        return file.record(path)


def read_tombstones(path: Path, rows: int) -> Mask:
    """Read a segment's deleted rows.

    Raises:
        ValueError: the file does not hold exactly `rows` rows.
        OSError, pyarrow.ArrowException: the file cannot be read.
    """
    table = pa.ipc.open_file(pa.py_buffer(path.read_bytes())).read_all()
    table.validate(full=True)
    if table.schema != _SCHEMA or table.num_rows != rows or table.column(0).null_count:
        raise ValueError(f"it holds {table.num_rows} rows of {table.schema.names}, not {rows} of ['deleted']")
    deleted: Mask = table.column(0).to_numpy()
    return deleted


def to_bitmap(mask: Mask) -> Bitmap:
    """Pack a mask eight rows to a byte, least significant bit first, as FAISS and Arrow do."""
    return np.packbits(mask, bitorder="little")


def to_mask(bitmap: Bitmap, rows: int) -> Mask:
    """Unpack what `to_bitmap` packed."""
    return np.unpackbits(bitmap, count=rows, bitorder="little").view(np.bool_)
