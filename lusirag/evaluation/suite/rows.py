"""The rows of a suite's Parquet file, checked."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lusirag.errors import CorpusError
from lusirag.evaluation.suite.description import (
    LANGUAGE_COLUMNS,
    QUESTION_COLUMNS,
    SetDescription,
)


def read_rows(described: SetDescription) -> list[dict[str, Any]]:
    """The rows of a set's file, the language under "lang" and the item under "parallel_id".

    Raises:
        CorpusError: the file cannot be read, lacks a column, or a row lacks a value.
    """
    columns = QUESTION_COLUMNS if described.query == "question" else ("id", "text", described.item)
    try:
        table = pq.read_table(described.file)
    except (OSError, pa.ArrowInvalid) as error:
        reason = str(error).splitlines()[0]
        raise CorpusError(f"{described.file}: not a Parquet file that can be read: {reason}") from error
    language = next((name for name in LANGUAGE_COLUMNS if name in table.column_names), LANGUAGE_COLUMNS[0])
    needed = (*columns, language)
    if missing := [name for name in needed if name not in table.column_names]:
        raise CorpusError(
            f"{described.file}: it has no column {', '.join(missing)}; it has {', '.join(table.column_names)}"
        )
    for name in needed:
        if name != "doc_parallel_id" and table.column(name).null_count:
            raise CorpusError(f"{described.file}: {table.column(name).null_count} rows have no value in {name!r}")
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        row["lang"] = row[language]
        if described.query != "question":
            row["parallel_id"] = str(row[described.item])
    return rows
