"""Reader of .csv and .tsv.

Types hold for the whole file: a first pass reads every value and settles on the narrowest type that fits a whole column
(integer, float, boolean, date, timestamp, else string), the second pass reads again with those types.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from lusirag.corpus.fields import FieldNames, kind_of
from lusirag.corpus.reading import Piece, Reading, SourceFile
from lusirag.corpus.rows import INVALID_UTF8
from lusirag.corpus.streams import MAX_LINE_BYTES, open_path, open_text
from lusirag.errors import CorpusError

_BLOCK_BYTES = (4 * 1024 * 1024, 64 * 1024 * 1024, MAX_LINE_BYTES + 16 * 1024 * 1024)
_CANDIDATES = (pa.int64(), pa.float64(), pa.bool_(), pa.date32(), pa.timestamp("us"))
_NULLS = pa.array(csv.ConvertOptions().null_values)
# NOTE: "007" is a code, not the number 7; and as a float, a long number would lose its last digits.
_LEADING_ZERO = r"^[+-]?0[0-9]"
_LONG_INTEGER = r"^[+-]?[0-9]{17,}$"


@dataclass
class _Layout:
    """How one file is to be read: names are settled before the first pass, block size during it, types after it."""

    delimiter: str
    header: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    block_bytes: int = _BLOCK_BYTES[0]
    types: list[pa.DataType] = field(default_factory=list)


def read_delimited(file: SourceFile, reading: Reading) -> Iterator[Piece]:
    """Yield a CSV or TSV file's rows; `numbers` count rows without the header, quoted line breaks are part of a row.

    Raises:
        CorpusError: the file is empty, has a quote that never closes, or no column holds the text.
    """
    if file.stream is not None or file.size is None:  # it can be read only once, and two passes are needed
        with open_path(file, reading.meter) as path:
            copy = replace(file, stream=None, compression=None, copy=path, size=path.stat().st_size)
            yield from read_delimited(copy, reading)
        return
    layout = _layout(file, reading)
    _settle_types(file, reading, layout)
    kinds = {name: kind_of(data_type) for name, data_type in zip(layout.names, layout.types, strict=True)}
    fields = reading.fields.resolve(kinds, str(file.path))
    for index, name in enumerate(layout.names):
        if name in (fields.text, fields.id, fields.title, fields.language):
            layout.types[index] = pa.large_string()
    bad: list[Any] = []
    number = 1
    for block in _blocks(file, reading, layout, bad):
        for start in range(0, block.num_rows, reading.batch_rows):
            rows = block.slice(start, reading.batch_rows)
            numbers: list[int] = []
            while len(numbers) < rows.num_rows:
                if bad and bad[0].number - 1 <= number:
                    _report_width(file, reading, bad.pop(0))
                else:
                    numbers.append(number)
                number += 1
            yield _typed(rows, layout, fields, numbers)
    for row in bad:
        _report_width(file, reading, row)


def _layout(file: SourceFile, reading: Reading) -> _Layout:
    delimiter = "\t" if file.format == "tsv" else ","
    while True:
        layout = _Layout(delimiter)
        for layout.block_bytes in _BLOCK_BYTES:
            try:
                with _open(file, reading, layout, [], weight=0.0) as reader:
                    layout.header = reader.schema.names
                break
            except UnicodeDecodeError:
                raise CorpusError(f"{file.path}: {INVALID_UTF8} in the header; convert the file to UTF-8") from None
            except pa.ArrowInvalid as error:
                if "straddling" not in str(error):
                    raise
        if not (delimiter == "," and len(layout.header) == 1 and ";" in layout.header[0]):
            break
        delimiter = ";"  # what spreadsheets write where the comma is the decimal sign
    if not layout.header:
        raise _unclosed(file)
    named = [name or f"column_{index}" for index, name in enumerate(layout.header, start=1)]
    layout.names = [name + "_" * named[:index].count(name) for index, name in enumerate(named)]
    return layout


def _settle_types(file: SourceFile, reading: Reading, layout: _Layout) -> None:
    candidates = [list(_CANDIDATES) for _ in layout.names]
    filled = [False] * len(layout.names)
    for block_bytes in _BLOCK_BYTES[_BLOCK_BYTES.index(layout.block_bytes) :]:
        layout.block_bytes = block_bytes
        try:
            for block in _blocks(file, reading, layout, []):
                for index, column in enumerate(block.columns):
                    if candidates[index]:
                        candidates[index], some = _narrow(column, candidates[index])
                        filled[index] |= some
            break
        except pa.ArrowInvalid as error:
            if "straddling" not in str(error):
                raise
    else:
        raise _unclosed(file)
    layout.types = [kept[0] if kept and some else pa.string() for kept, some in zip(candidates, filled, strict=True)]


def _narrow(column: pa.Array, candidates: list[pa.DataType]) -> tuple[list[pa.DataType], bool]:
    """Return the candidates that can hold all values of a column of bytes, and whether it has any."""
    try:
        values = _without_nulls(column.cast(pa.string()))
    except pa.ArrowInvalid:
        return [], True
    if values.null_count == len(values):
        return candidates, False
    if pc.any(pc.match_substring_regex(values, _LEADING_ZERO)).as_py():
        candidates = [data_type for data_type in candidates if pa.types.is_temporal(data_type)]
    if pc.any(pc.match_substring_regex(values, _LONG_INTEGER)).as_py():
        candidates = [data_type for data_type in candidates if not pa.types.is_floating(data_type)]
    return [data_type for data_type in candidates if _fits(values, data_type)], True


def _fits(values: pa.Array, data_type: pa.DataType) -> bool:
    try:
        values.cast(data_type)
    except pa.ArrowInvalid:
        return False
    return True


def _without_nulls(values: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_in(values, _NULLS), pa.scalar(None, values.type), values)


def _typed(rows: pa.RecordBatch, layout: _Layout, fields: FieldNames, numbers: list[int]) -> Piece:
    bad: dict[int, str] = {}
    arrays = []
    for name, column, data_type in zip(layout.names, rows.columns, layout.types, strict=True):
        try:
            text = column.cast(pa.large_string())
        except pa.ArrowInvalid:
            invalid = [_decode(value) is None for value in column.to_pylist()]
            bad |= {index: f"{INVALID_UTF8} in {name!r}" for index, is_bad in enumerate(invalid) if is_bad}
            column = pc.if_else(pa.array(invalid), b"", column)
            text = column.cast(pa.large_string())
        if pa.types.is_string(data_type) or pa.types.is_large_string(data_type):
            is_id_or_text = name in (fields.id, fields.text)
            blank = text if is_id_or_text else pc.if_else(pc.equal(text, ""), pa.scalar(None, text.type), text)
            arrays.append(blank.cast(data_type))
        else:
            arrays.append(_without_nulls(text).cast(data_type))
    return Piece(pa.RecordBatch.from_arrays(arrays, names=layout.names), fields, numbers, bad=bad)


def _decode(value: bytes | None) -> str | None:
    try:
        return (value or b"").decode("utf-8")
    except UnicodeDecodeError:
        return None


def _blocks(file: SourceFile, reading: Reading, layout: _Layout, bad: list[Any]) -> Iterator[pa.RecordBatch]:
    with _open(file, reading, layout, bad, weight=0.5) as reader:
        yield from reader


@contextmanager
def _open(
    file: SourceFile, reading: Reading, layout: _Layout, bad: list[Any], *, weight: float
) -> Iterator[csv.CSVStreamingReader]:
    def keep(row: Any) -> str:
        bad.append(row)
        return "skip"

    with open_text(file, reading.meter, weight=weight) as stream:
        # NOTE: one thread, because only then does pyarrow tell the numbers of invalid rows.
        yield csv.open_csv(
            stream,
            read_options=csv.ReadOptions(use_threads=False, block_size=layout.block_bytes),
            parse_options=csv.ParseOptions(
                delimiter=layout.delimiter, newlines_in_values=True, invalid_row_handler=keep
            ),
            convert_options=csv.ConvertOptions(
                check_utf8=False, column_types=dict.fromkeys(layout.header, pa.binary())
            ),
        )


def _report_width(file: SourceFile, reading: Reading, row: Any) -> None:
    detail = f"{row.actual_columns} instead of {row.expected_columns}"
    reading.bad_rows.report(f"{file.path}, row {row.number - 1}", "wrong number of columns", detail)


def _unclosed(file: SourceFile) -> CorpusError:
    limit = f"{MAX_LINE_BYTES // 2**20} MiB"
    return CorpusError(f'{file.path}: a row is longer than {limit}; most likely a quote (") is opened and never closed')
