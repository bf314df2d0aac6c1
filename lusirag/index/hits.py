"""Stored passages back into whole documents."""

from __future__ import annotations

from collections.abc import Sequence

from lusirag.types import Document, Hit


def to_document(passages: Sequence[Hit]) -> Document:
    """Put a document together from its passages; where neighbouring chunks left white space out, one space stands."""
    first = passages[0]
    text = ""
    for passage in passages:
        if passage.start > len(text):
            text = text.ljust(passage.start)
        text += passage.text[len(text) - passage.start :]
    return Document(first.document_id, text, first.title, first.language, first.source, first.metadata)
