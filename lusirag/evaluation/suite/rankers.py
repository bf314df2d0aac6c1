"""What orders the documents of a search: an embedding model, or BM25 as the floor under all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lusirag.evaluation.checking import checked_vectors
from lusirag.evaluation.ranking import ranking
from lusirag.evaluation.suite.task import SearchTask
from lusirag.index.analysis import ANALYSER, Analyser
from lusirag.index.lexical import Lexicon, best
from lusirag.index.postings import postings_of
from lusirag.types import Encoder, Vectors

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Ranker(Protocol):
    """Orders the documents of a task for each of its queries.

    Attributes:
        name: in tables. fingerprint: changes when its rankings may.
    """

    name: str
    fingerprint: str

    def rank(self, task: SearchTask, *, depth: int) -> list[list[int]]:
        """The numbers of the best documents of each query, best first; fewer than `depth` where no others match."""


class DenseRanker:
    """By cosine similarity. A text that several tasks share is embedded once, for as long as this object lives.

    Ranking raises ModelError where the encoder fails, or where its vectors have a wrong shape, are zero or not finite.
    """

    def __init__(self, encoder: Encoder, name: str | None = None) -> None:
        self.name = name or encoder.name
        # The same weights give other vectors by another runtime or number type.
        self.fingerprint = f"{encoder.fingerprint} {getattr(encoder, 'arithmetic', '')}"
        self._encoder = encoder
        self._queries: dict[str, Vectors] = {}
        self._documents: dict[str, Vectors] = {}

    def rank(self, task: SearchTask, *, depth: int) -> list[list[int]]:
        """The nearest documents of each query; see `Ranker`."""
        queries = self._vectors(self._queries, self._encoder.encode_queries, task.queries)  # (N, D)
        documents = self._vectors(self._documents, self._encoder.encode_documents, task.documents)  # (M, D)
        return ranking(queries, documents, depth=depth)

    def _vectors(self, known: dict[str, Vectors], encode: Callable[..., Vectors], texts: Sequence[str]) -> Vectors:
        """The vectors (n, D) of texts, of which only those not yet known are embedded."""
        if new := [text for text in dict.fromkeys(texts) if text not in known]:
            known.update(zip(new, checked_vectors(self._encoder, encode, new), strict=True))
        return np.stack([known[text] for text in texts])


class LexicalRanker:
    """BM25 as lusirag's indexes have it, over the pieces of a tokenizer.

    Args:
        tokenizer: of a multilingual model.
    """

    name = "BM25"

    def __init__(self, tokenizer: Tokenizer) -> None:
        pieces = hashlib.blake2b(tokenizer.to_str().encode(), digest_size=8).hexdigest()
        self.fingerprint = f"bm25-{ANALYSER}-{pieces}"
        self._analyse = Analyser(tokenizer)

    def rank(self, task: SearchTask, *, depth: int) -> list[list[int]]:
        """The documents that share most with each query; those that share nothing are left out."""
        live = np.ones(len(task.documents), dtype=bool)
        lexicon = Lexicon([(postings_of(self._analyse(task.documents)), live)])
        terms = self._analyse(task.queries)
        found = (best(lexicon.scores(terms.of(number)).scores, [live], depth) for number in range(len(task.queries)))
        return [[match.row for match in matches] for matches in found]
