"""Any sequence of changes leaves what a dict would hold, and searching equals brute force over it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from fake_embedder import FakeEmbedder, stored_vectors_of, vectors_of
from hypothesis import given, settings
from hypothesis import strategies as st

from lusirag.index import Index
from lusirag.types import Document

LANGUAGES = ("en", "de", "zh-Hant", None)
Change = tuple[str, list[tuple[int, int]]]

pairs = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=8)
changes = st.lists(
    st.tuples(st.sampled_from(["add", "add", "skip", "delete", "compact", "reopen", "sync", "renew"]), pairs),
    max_size=12,
)


def make(number: int, version: int) -> Document:
    # Some texts are shared by documents, so that equal scores occur.
    return Document(f"d{number}", f"text {number % 5} {version}", language=LANGUAGES[(number + version) % 4])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(changes, st.integers(1, 6))
def test_index_is_a_dict_that_can_be_searched(changes: list[Change], commit_passages: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        embedder = FakeEmbedder()
        index = Index.create(Path(folder) / "index", embedder, identify_languages=False)
        model: dict[str, Document] = {}
        for kind, items in changes:
            given_documents = [make(*item) for item in items]
            if kind == "add":
                index.add(given_documents, commit_passages=commit_passages)
                model.update({document.id: document for document in given_documents})
            elif kind == "skip":
                index.add(given_documents, on_duplicate="skip", commit_passages=commit_passages)
                model = {**{document.id: document for document in reversed(given_documents)}, **model}
            elif kind == "sync":
                index.synchronize(given_documents, sources=["s"], on_duplicate="skip", commit_passages=commit_passages)
                model = {document.id: document for document in reversed(given_documents)}
            elif kind == "renew":
                index.synchronize(
                    given_documents, sources=["s"], on_duplicate="replace", commit_passages=commit_passages
                )
                model = {document.id: document for document in given_documents}
            elif kind == "delete":
                ids = {document.id for document in given_documents}
                assert index.delete(sorted(ids)) == len(ids & set(model))
                model = {name: document for name, document in model.items() if name not in ids}
            elif kind == "compact":
                index.compact()
            else:
                index = Index.open(index.path, embedder)
            assert len(index) == len(model)
        check(index, model)


def check(index: Index, model: dict[str, Document]) -> None:
    assert index.verify().problems == []
    assert {document.id: document for document in index.get(list(model))} == model
    # Row order is the index's own; within it brute force must give the same ranking.
    rows = [document for segment in index._snapshot.segments for document in live(segment)]
    assert sorted(rows) == sorted(model)
    queries = ["q1", "text 1 0"]
    for languages in (None, *([tag] for tag in ("en", "de", "zh") if tag in speech(model))):
        kept = [name for name in rows if languages is None or (model[name].language or "").startswith(languages[0])]
        vectors = stored_vectors_of([model[name].text for name in kept]).astype(np.float64)
        for query, hits in zip(queries, index.search_many(queries, k=4, languages=languages), strict=True):
            scores = (vectors * vectors_of([query])[0]).sum(axis=1).astype(np.float32)
            order = np.lexsort((np.arange(len(kept)), -scores))[:4]
            assert [hit.id for hit in hits] == [kept[row] for row in order]
            np.testing.assert_allclose([hit.score for hit in hits], scores[order], atol=1e-6)


def speech(model: dict[str, Document]) -> set[str]:
    return {(document.language or "").partition("-")[0] for document in model.values()}


def live(segment: object) -> list[str]:
    return [
        segment.documents.document_id(row)  # type: ignore[attr-defined]
        for row in np.flatnonzero(~segment.deleted)  # type: ignore[attr-defined]
    ]
