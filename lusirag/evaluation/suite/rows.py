"""The rows of a suite's Parquet file, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lusirag.errors import CorpusError
from lusirag.evaluation.suite.description import LANGUAGE_COLUMNS, QUESTION_COLUMNS

TITLE = "title"
ROLES = ("query", "doc")


def read_rows(file: Path, *, questions: bool, item: str) -> list[dict[str, Any]]:
    """The rows of a set's file; the language under "lang" and the item under "parallel_id", all of them text.

    Args:
        questions: whether it holds questions and passages, or parallel texts. item: the column that is the same for
            one text in all languages.

    Raises:
        CorpusError: the file cannot be read, lacks a column, or a column holds something else.
    """
    columns = QUESTION_COLUMNS if questions else ("id", "text", item)
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowInvalid) as error:
        reason = str(error).splitlines()[0]
        raise CorpusError(f"{file}: not a Parquet file that can be read: {reason}") from error
    language = next((name for name in LANGUAGE_COLUMNS if name in table.column_names), LANGUAGE_COLUMNS[0])
    needed = (*columns, language)
    if missing := [name for name in needed if name not in table.column_names]:
        raise CorpusError(f"{file}: it has no column {', '.join(missing)}; it has {', '.join(table.column_names)}")
    for name in needed:
        if empty := table.column(name).null_count:
            raise CorpusError(f"{file}: {empty} rows have no value in {name!r}")
    if not questions:
        names = {"id": "id", "text": "text", "lang": language, "parallel_id": item}
    else:
        names = {name: name for name in QUESTION_COLUMNS} | {"lang": language}
    names |= {name: name for name in (TITLE, "set") if name in table.column_names}
    chosen = pa.table({name: _as_text(file, table, column) for name, column in names.items()})
    rows: list[dict[str, Any]] = chosen.to_pylist()
    if questions and (others := sorted({row["role"] for row in rows} - set(ROLES))):
        raise CorpusError(f"{file}: the role of some rows is {', '.join(others)}; allowed: {', '.join(ROLES)}")
    return rows


def _as_text(file: Path, table: pa.Table, column: str) -> pa.ChunkedArray:
    """A column as text; numbers are written out where they stand for something, not where text is meant."""
    values, words = table.column(column), column in ("text", TITLE)
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if not (_is_text(kind) or (pa.types.is_integer(kind) and not words) or pa.types.is_null(kind)):
        raise CorpusError(f"{file}: the column {column!r} holds {values.type}; text is needed")
    return values.cast(pa.large_string())


def _is_text(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))
