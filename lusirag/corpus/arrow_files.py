"""Reader of .parquet and .arrow/.feather, the Arrow files of Hugging Face datasets among them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lusirag.corpus.fields import kind_of
from lusirag.corpus.reading import Piece, Reading, SourceFile
from lusirag.corpus.streams import open_path
from lusirag.errors import CorpusError

SPLIT_COLUMN = "split"
_FILE_MAGIC = b"ARROW1"
_FEATHER_1_MAGIC = b"FEA1"


def read_parquet(file: SourceFile, reading: Reading) -> Iterator[Piece]:
    """Yield a Parquet file's rows; pages are read as they are needed, never a row group as a whole."""
    with (
        open_path(file, reading.meter) as path,
        pq.ParquetFile(path, pre_buffer=False, buffer_size=1024 * 1024) as parquet,
    ):
        batches = parquet.iter_batches(batch_size=reading.batch_rows)
        yield from _pieces(batches, parquet.schema_arrow, parquet.metadata.num_rows, file, reading)


def read_arrow(file: SourceFile, reading: Reading) -> Iterator[Piece]:
    """Yield the rows of an Arrow IPC file or stream; the file is memory-mapped."""
    with open_path(file, reading.meter) as path, _open(path, file) as (batches, schema, rows):
        yield from _pieces(batches, schema, rows, file, reading)


@contextmanager
def _open(path: Path, file: SourceFile) -> Iterator[tuple[Iterator[pa.RecordBatch], pa.Schema, int | None]]:
    with pa.memory_map(str(path)) as source:
        magic = source.read(len(_FILE_MAGIC))
        source.seek(0)
        if magic.startswith(_FEATHER_1_MAGIC):
            raise CorpusError(
                f"{file.path}: Feather version 1 is not supported; write it again as Feather 2 or Parquet"
            )
        if magic == _FILE_MAGIC:
            reader = pa.ipc.open_file(source)
            batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
            yield batches, reader.schema, None
        else:
            stream = pa.ipc.open_stream(source)
            yield iter(stream), stream.schema, None


def _pieces(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, rows: int | None, file: SourceFile, reading: Reading
) -> Iterator[Piece]:
    fields = reading.fields.resolve({column.name: kind_of(column.type) for column in schema}, str(file.path))
    first = 1
    for whole in batches:
        for start in range(0, whole.num_rows, reading.batch_rows):
            batch = whole.slice(start, reading.batch_rows)
            if file.size and rows:
                reading.meter.bytes_read += file.size * batch.num_rows / rows
            elif file.size:
                reading.meter.bytes_read += batch.nbytes
            if file.split is not None and SPLIT_COLUMN not in batch.schema.names:
                batch = batch.append_column(SPLIT_COLUMN, pa.array([file.split] * batch.num_rows, pa.string()))
            yield Piece(batch, fields, range(first, first + batch.num_rows))
            first += batch.num_rows
