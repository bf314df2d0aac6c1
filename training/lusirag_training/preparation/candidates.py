"""The documents that negatives are mined from, and which of them are no negatives of a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lusirag_training.preparation.texts import Keys, Rows, Texts, column_of, first_of_each, flatten

if TYPE_CHECKING:
    from datasets import Dataset

# Why a document that a search found is no negative of a query.
OWN, EQUAL_QUERY, SAME_TEXT, KNOWN = range(4)
REASONS = (
    "its own positive", "positive of an equal query", "the text of the query itself", "a negative that it has already",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pool:
    """Different texts, each once: what can be found, then positives that can not (with a corpus of its own).

    Attributes:
        queries: n texts.
        documents: u texts, the first `searchable` of which may become negatives.
        searchable: how many.
        positives: document numbers of all rows' positives.
        starts: row i has positives[starts[i]:starts[i + 1]], (n + 1,).
    """

    queries: Texts
    documents: Texts
    searchable: int
    positives: Rows
    starts: Rows
    _document_keys: Keys
    _document_order: Rows
    _query_keys: Keys
    _groups: Rows
    _group_documents: Rows
    _group_starts: Rows

    def positives_of(self, row: int) -> Rows:
        """The documents that are positives of a row."""
        return self.positives[self.starts[row] : self.starts[row + 1]]

    def number_of(self, keys: Keys) -> Rows:
        """The document with each key, -1 where there is none."""
        places = np.searchsorted(self._document_keys, keys).clip(max=len(self._document_keys) - 1)
        found: Rows = np.where(self._document_keys[places] == keys, self._document_order[places], -1)
        return found

    def excluded(self, row: int, known: Keys) -> tuple[Rows, Rows]:
        """The documents that are no negatives of a row, whatever their score.

        Args:
            row: of the pairs.
            known: keys of the negatives that it has already.

        Returns:
            documents (x,), each once, and the reason of each (x,), as in `REASONS`.
        """
        group = self._groups[row]
        equal = self._group_documents[self._group_starts[group] : self._group_starts[group + 1]]
        listed = [
            (self.positives_of(row), OWN),
            (equal, EQUAL_QUERY),
            (self.number_of(self._query_keys[row : row + 1]), SAME_TEXT),
            (self.number_of(known), KNOWN),
        ]
        documents = np.concatenate([some for some, _ in listed])
        reasons = np.concatenate([np.full(len(some), reason) for some, reason in listed])
        # The first reason counts: `unique` gives the first place of each.
        different, firsts = np.unique(documents, return_index=True)
        there = different >= 0
        return different[there], reasons[firsts[there]].astype(np.int64)


def build_pool(pairs: Dataset, corpus: pa.ChunkedArray | None = None) -> Pool:
    """Collect the documents.

    Args:
        pairs: query, positive, ...
        corpus: texts to mine from; the positives of all pairs when None.
    """
    queries = Texts(column_of(pairs, "query"))
    flat, starts = flatten(column_of(pairs, "positive"))
    chunks = [] if corpus is None else corpus.cast(flat.type).chunks
    everything = pa.chunked_array([*chunks, *flat.chunks], flat.type)  # nothing is copied
    firsts, numbers = first_of_each(Texts(everything).keys())
    documents = Texts(everything, firsts)
    from_corpus = len(everything) - len(flat)
    positives = numbers[from_corpus:]
    keys = documents.keys()
    order = np.argsort(keys).astype(np.int64)
    query_keys = queries.keys()
    _, groups = first_of_each(query_keys)
    owners = np.repeat(groups, np.diff(starts))
    members = np.unique(np.stack([owners, positives]), axis=1)  # (2, pairs of group and document), sorted
    return Pool(
        queries=queries,
        documents=documents,
        searchable=int(np.searchsorted(firsts, from_corpus)) if from_corpus else len(firsts),
        positives=positives,
        starts=starts,
        _document_keys=keys[order],
        _document_order=order,
        _query_keys=query_keys,
        _groups=groups,
        _group_documents=members[1],
        _group_starts=np.searchsorted(members[0], np.arange(groups.max(initial=-1) + 2)).astype(np.int64),
    )
