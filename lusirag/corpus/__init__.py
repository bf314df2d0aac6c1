"""Corpora: files in many formats -> Arrow record batches; language identification; chunking.

for batch in Corpus(["news.jsonl.gz", "pages/"]):
    batch = chunker.chunk(identify_languages(batch))
"""

from lusirag.corpus.chunking import Chunker
from lusirag.corpus.corpus import Corpus
from lusirag.corpus.documents import documents_to_batches
from lusirag.corpus.fields import FieldNames
from lusirag.corpus.language import identify, identify_languages
from lusirag.corpus.schema import CHUNK_COLUMN, CHUNK_TYPE, CORPUS_FIELDS

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
]
