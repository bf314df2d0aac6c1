"""Corpora: files in many formats -> Arrow record batches; language identification; chunking.

for batch in Corpus(["news.jsonl.gz", "pages/"]):
    batch = chunker.chunk(identify_languages(batch))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lusirag.corpus.chunking import Chunker, untruncated
    from lusirag.corpus.corpus import Corpus
    from lusirag.corpus.documents import documents_to_batches
    from lusirag.corpus.fields import FieldNames
    from lusirag.corpus.language import identify, identify_languages
    from lusirag.corpus.schema import CHUNK_COLUMN, CHUNK_TYPE, CORPUS_FIELDS, passage_text
    from lusirag.corpus.sentences import sentence_spans

__all__ = [
    "CHUNK_COLUMN",
    "CHUNK_TYPE",
    "CORPUS_FIELDS",
    "Chunker",
    "Corpus",
    "FieldNames",
    "documents_to_batches",
    "identify",
    "identify_languages",
    "passage_text",
    "sentence_spans",
    "untruncated",
]

_HOME = {
    "CHUNK_COLUMN": "schema",
    "CHUNK_TYPE": "schema",
    "CORPUS_FIELDS": "schema",
    "Chunker": "chunking",
    "Corpus": "corpus",
    "FieldNames": "fields",
    "documents_to_batches": "documents",
    "identify": "language",
    "identify_languages": "language",
    "passage_text": "schema",
    "sentence_spans": "sentences",
    "untruncated": "chunking",
}


def __getattr__(name: str) -> Any:
    # A search needs the schema, not the readers of a dozen formats; those import for a third of a second.
    if name not in _HOME:
        raise AttributeError(f"module 'lusirag.corpus' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"lusirag.corpus.{_HOME[name]}"), name)
