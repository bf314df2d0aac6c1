"""Running an expression over the segments of an index: a bitmap of the rows that it lets through for each.

A segment never changes, so its columns are checked once and kept, and so are the last bitmaps. Where a filter depends
on one column alone, and that has few values, it is asked about these, and not about each row; see `coded`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lusirag.corpus import CHUNK_COLUMN
from lusirag.errors import InvalidArgumentError
from lusirag.index.coded import Coded
from lusirag.index.filters.conditions import from_dict
from lusirag.index.filters.database import NUMBER, ROWS, cursor
from lusirag.index.filters.expression import Columns, Expression, Where, shown
from lusirag.index.filters.sql import from_sql
from lusirag.index.segment import Segment
from lusirag.index.snapshot import Snapshot
from lusirag.index.threads import in_threads, thread_count
from lusirag.index.tombstones import Bitmap, Mask, to_bitmap

# DuckDB takes a millisecond for each statement, and some 2 for 100,000 rows.
_ROWS_WORTH_THREADS = 50_000
_FEWEST_ROWS = 1 << 16  # of a piece, where a segment has so many
_ROWS_WORTH_CODES = 1 << 14  # of a segment


def matching(snapshot: Snapshot, where: Where) -> list[Bitmap]:
    """The passages of each segment that a filter lets through, deleted ones among them.

    Args:
        snapshot: the state to search.
        where: SQL text or a dict.

    Raises:
        InvalidArgumentError: it is neither, or cannot be used; an index without documents has no columns that could
            be wrong.
        IndexStateError: a column that it names is damaged.
    """
    if not isinstance(where, str | Mapping):
        raise InvalidArgumentError(
            f"where is {shown(where)}; give SQL such as \"year > 1990\", or a dict such as {{'year': {{'$gt': 1990}}}}"
        )
    if not snapshot.segments:
        return []
    columns = Columns(snapshot.schema)
    expression = from_sql(where, columns) if isinstance(where, str) else from_dict(where, columns)
    if not expression.repeatable:
        return _evaluated(snapshot.segments, expression)
    known = [segment.documents.recent_filters.get(expression) for segment in snapshot.segments]
    new = [segment for segment, bitmap in zip(snapshot.segments, known, strict=True) if bitmap is None]
    evaluated = _evaluated(new, expression)
    for segment, bitmap in zip(new, evaluated, strict=True):
        segment.documents.recent_filters.put(expression, bitmap)
    rest = iter(evaluated)
    return [next(rest) if bitmap is None else bitmap for bitmap in known]


def _evaluated(segments: Sequence[Segment], expression: Expression) -> list[Bitmap]:
    """The bitmap of each segment."""
    coded = in_threads(lambda segment: _coded(segment, expression), segments)
    by_value = iter(_by_value([column for column in coded if column is not None], expression))
    by_row = iter(_by_row([part for part, column in zip(segments, coded, strict=True) if column is None], expression))
    return [next(by_row if column is None else by_value) for column in coded]


def _coded(segment: Segment, expression: Expression) -> Coded | None:
    """The only column that an expression depends on, where to look at its values is less than to look at all rows."""
    if segment.record.rows < _ROWS_WORTH_CODES or not expression.repeatable or len(expression.columns) != 1:
        return None
    [column] = expression.columns
    kind = column.type
    return segment.documents.coded.find(column.name, kind, lambda: _values(segment, column.name, kind))


def _by_value(columns: Sequence[Coded], expression: Expression) -> list[Bitmap]:
    """The bitmap of each segment whose only column this is: all of their values are looked at in one statement."""
    if not columns:
        return []
    [name] = [column.alias for column in expression.columns]
    values = pa.chunked_array([column.values for column in columns])
    let_through = _mask({name: values}, 0, len(values), expression)
    starts = np.cumsum([0, *(len(column.values) for column in columns)]).tolist()
    return [
        to_bitmap(let_through[start : start + len(column.values)].take(column.codes))
        for start, column in zip(starts, columns, strict=False)
    ]


def _by_row(segments: Sequence[Segment], expression: Expression) -> list[Bitmap]:
    """The bitmap of each segment, all of whose rows are looked at."""
    total = sum(segment.record.rows for segment in segments)
    if total < _ROWS_WORTH_THREADS:
        return [_bitmap(_columns(segment, expression), 0, segment.record.rows, expression) for segment in segments]
    columns = in_threads(lambda segment: _columns(segment, expression), segments)
    # A piece for each thread, of whole bytes of a bitmap, so that these can be joined.
    size = max(_FEWEST_ROWS, -(-total // (8 * thread_count())) * 8)
    pieces = [
        (number, start, min(segment.record.rows - start, size))
        for number, segment in enumerate(segments)
        for start in range(0, segment.record.rows, size)
    ]
    found = in_threads(lambda piece: _bitmap(columns[piece[0]], *piece[1:], expression), pieces)
    return [
        np.concatenate([bitmap for (at, _, _), bitmap in zip(pieces, found, strict=True) if at == number])
        for number in range(len(segments))
    ]


def _columns(segment: Segment, expression: Expression) -> dict[str, pa.ChunkedArray]:
    return {column.alias: _values(segment, column.name, column.type) for column in expression.columns}


def _bitmap(whole: Mapping[str, pa.ChunkedArray], start: int, rows: int, expression: Expression) -> Bitmap:
    """`_mask` as a bitmap."""
    return to_bitmap(_mask(whole, start, rows, expression))


def _mask(whole: Mapping[str, pa.ChunkedArray], start: int, rows: int, expression: Expression) -> Mask:
    """Which of `rows` rows from `start` on the expression lets through."""
    columns: dict[str, Any] = {alias: column.slice(start, rows) for alias, column in whole.items()}
    # NOTE: pa.array would import pandas, see columns.numbers.
    columns[NUMBER] = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(np.arange(rows, dtype=np.int64))])
    values = [list(value) if isinstance(value, tuple) else value for value in expression.values]
    # NOTE: DuckDB promises no order of rows (a long $in is a join), so rows are asked for by number.
    statement = f'SELECT "{NUMBER}" AS number FROM "{ROWS}" WHERE ({expression.sql})'
    with cursor() as own:
        own.register(ROWS, pa.table(columns))
        found = own.execute(statement, values).fetchnumpy()["number"]
    mask = np.zeros(rows, dtype=np.bool_)
    mask[found] = True
    return mask


def _values(segment: Segment, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    documents = segment.documents
    if name == "id":
        return documents.column(CHUNK_COLUMN, "document_id")
    if name not in documents.schema.names:
        return pa.chunked_array([pa.nulls(segment.record.rows, kind)])
    column = documents.column(name)
    return column if column.type == kind else column.cast(kind, safe=False)
