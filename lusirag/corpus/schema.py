"""The corpus schema: which columns a corpus has, and how a passage is read. What brings rows into it: rows.py."""

from __future__ import annotations

import pyarrow as pa

CHUNK_COLUMN = "_chunk"
# Where a chunk lies in its document's text, in characters; end is exclusive.
CHUNK_TYPE = pa.struct(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("start", pa.int64()),
        pa.field("end", pa.int64()),
    ]
)
CORPUS_FIELDS = (
    pa.field("id", pa.string(), nullable=False),
    pa.field("text", pa.large_string(), nullable=False),
    pa.field("title", pa.string()),
    pa.field("language", pa.string()),
    pa.field("source", pa.string()),
)
RESERVED = (*(field.name for field in CORPUS_FIELDS), CHUNK_COLUMN)


def passage_text(title: str | None, text: str) -> str:
    """The text of a passage as models read it: under its title when it has one."""
    return f"{title}\n{text}" if title else text
