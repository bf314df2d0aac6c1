"""Running an expression over the segments of an index: a bitmap of the rows that it lets through for each.

A segment never changes, so its columns are checked once and kept, and so are the last bitmaps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from lusirag.corpus import CHUNK_COLUMN
from lusirag.errors import InvalidArgumentError
from lusirag.index.engine import in_threads
from lusirag.index.filters.conditions import from_dict
from lusirag.index.filters.database import NUMBER, ROWS, cursor
from lusirag.index.filters.expression import Columns, Expression, Where, shown
from lusirag.index.filters.sql import from_sql
from lusirag.index.segment import Segment
from lusirag.index.snapshot import Snapshot
from lusirag.index.tombstones import Bitmap, to_bitmap

# DuckDB takes some 3 ms for 100,000 rows.
_ROWS_WORTH_THREADS = 50_000


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
    segments = snapshot.segments
    if sum(segment.record.rows for segment in segments) < _ROWS_WORTH_THREADS:
        return [_bitmap(segment, expression) for segment in segments]
    return in_threads(lambda segment: _bitmap(segment, expression), segments)


def _bitmap(segment: Segment, expression: Expression) -> Bitmap:
    recent = segment.documents.recent_filters
    if not expression.repeatable:
        return _evaluate(segment, expression)
    known: Bitmap | None = recent.get(expression)
    if known is None:
        known = _evaluate(segment, expression)
        recent.put(expression, known)
    return known


def _evaluate(segment: Segment, expression: Expression) -> Bitmap:
    rows = segment.record.rows
    columns: dict[str, Any] = {
        column.alias: _values(segment, column.name, column.type) for column in expression.columns
    }
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
    return to_bitmap(mask)


def _values(segment: Segment, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    documents = segment.documents
    if name == "id":
        return documents.column(CHUNK_COLUMN, "document_id")
    if name not in documents.schema.names:
        return pa.chunked_array([pa.nulls(segment.record.rows, kind)])
    column = documents.column(name)
    return column if column.type == kind else column.cast(kind, safe=False)
