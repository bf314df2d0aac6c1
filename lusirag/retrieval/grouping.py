"""Chunks by the document they belong to: one hit a document, its best passage, and as many documents as asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lusirag.types import Hit

Search = Callable[[Sequence[str], int], list[list[Hit]]]

# How much further each look goes while one document's chunks crowd out the others.
_WIDER = 4


def best_passages(hits: Sequence[Hit]) -> list[Hit]:
    """The first hit of each document, in order."""
    first: dict[str, Hit] = {}
    for hit in hits:
        first.setdefault(hit.document_id, hit)
    return list(first.values())


def fetch_documents(search: Search, queries: Sequence[str], *, passages: int, documents: int) -> list[list[Hit]]:
    """The candidates of each query, from at least so many documents where the index has them.

    Where the first `passages` hits are of fewer documents, the search looks further, four times as far each time, and
    takes the best passage of each document that is met. So a reranker gets at most `passages` + `documents` hits, even
    when the thousand chunks of one long document come first.

    Args:
        search: the k best hits of each query, fewer only when there are no more.
        queries: n queries.
        passages: how many hits are taken whatever document they are of.
        documents: how many documents are wanted.
    """
    found = search(queries, passages)
    depth = passages
    while short := [at for at, hits in enumerate(found) if len(hits) == depth and _count(hits) < documents]:
        depth *= _WIDER
        for at, hits in zip(short, search([queries[at] for at in short], depth), strict=True):
            found[at] = hits
    return [_kept(hits, passages, documents) for hits in found]


def _kept(hits: Sequence[Hit], passages: int, documents: int) -> list[Hit]:
    kept = list(hits[:passages])
    met = {hit.document_id for hit in kept}
    for hit in best_passages(hits[passages:]):
        if len(met) >= documents:
            break
        if hit.document_id not in met:
            met.add(hit.document_id)
            kept.append(hit)
    return kept


def _count(hits: Sequence[Hit]) -> int:
    return len({hit.document_id for hit in hits})
