"""Stored passages back into what a caller sees: hits of a search, whole documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lusirag.corpus import CHUNK_COLUMN
from lusirag.index.columns import FIXED
from lusirag.types import Document, Hit

_NO_METADATA = frozenset(FIXED)


def to_hit(row: dict[str, Any], score: float) -> Hit:
    """A stored passage as a search result; columns that are null in it are left out of `metadata`."""
    chunk = row[CHUNK_COLUMN]
    return Hit(
        id=row["id"],
        score=score,
        text=row["text"],
        title=row["title"],
        language=row["language"],
        source=row["source"],
        metadata=_metadata(row),
        document_id=chunk["document_id"],
        start=chunk["start"],
        end=chunk["end"],
    )


def to_document(rows: Sequence[dict[str, Any]]) -> Document:
    """Put a document together from its passages; where neighbouring chunks left white space out, one space stands."""
    first = rows[0]
    text = ""
    for row in rows:
        start = row[CHUNK_COLUMN]["start"]
        if start > len(text):
            text = text.ljust(start)
        text += row["text"][len(text) - start :]
    return Document(
        id=first[CHUNK_COLUMN]["document_id"],
        text=text,
        title=first["title"],
        language=first["language"],
        source=first["source"],
        metadata=_metadata(first),
    )


def _metadata(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _NO_METADATA and value is not None}
