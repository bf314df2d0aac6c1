"""Lexical and hybrid search against brute force over the live documents, however they are stored."""

from __future__ import annotations

import logging
import math
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fake_embedder import WORDS, FakeEmbedder, WordEmbedder, document, documents, vectors_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.index import Fusion, Index
from lusirag.index.analysis import Analyser, Terms
from lusirag.index.postings import merged, postings_of
from lusirag.types import Document


def words_of(text: str) -> list[str]:
    return [word for word in text.lower().split() if word in WORDS]


def idf(passages: int, df: int) -> float:
    return math.log(1 + (passages - df + 0.5) / (df + 0.5))


def bm25(texts: dict[str, str], query: str) -> dict[str, float]:
    """The formula of lusirag.index.lexical, passage by passage."""
    passages = {name: Counter(words_of(text)) for name, text in texts.items()}
    mean = sum(terms.total() for terms in passages.values()) / len(passages)
    scores: dict[str, float] = {}
    for name, terms in passages.items():
        score = 0.0
        for word, times in Counter(words_of(query)).items():
            df = sum(word in other for other in passages.values())
            norm = 1.2 * (1 - 0.75 + 0.75 * terms.total() / mean) if mean else 1.0
            score += times * idf(len(passages), df) * terms[word] / (terms[word] + norm)
        if score > 0:
            scores[name] = score
    return scores


texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
changes = st.lists(
    st.tuples(st.sampled_from(["add", "add", "delete", "compact"]), st.integers(0, 9), texts), max_size=14
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.tuples(st.lists(st.integers(0, 6), max_size=5), st.booleans())), min_size=1, max_size=4))
def test_merged_postings_are_those_of_the_live_passages(parts: list[list[tuple[list[int], bool]]]) -> None:
    def terms_of(passages: list[list[int]]) -> Terms:
        offsets = np.cumsum([0, *map(len, passages)])
        return Terms(offsets.astype(np.int64), np.array([each for part in passages for each in part], dtype=np.uint32))

    given_parts = [
        (postings_of(terms_of([terms for terms, _ in part])), np.array([live for _, live in part], dtype=np.bool_))
        for part in parts
    ]
    found = merged(given_parts)
    expected = postings_of(terms_of([terms for part in parts for terms, live in part if live]))
    for name in ("terms", "offsets", "rows", "counts", "lengths"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
        assert getattr(found, name).dtype == getattr(expected, name).dtype


@settings(max_examples=80, deadline=None, derandomize=True)
@given(changes, texts, st.integers(1, 12))
def test_scores_are_those_of_bm25_over_the_live_documents(
    changes: list[tuple[str, int, str]], query: str, k: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        index = Index.create(Path(folder) / "index", WordEmbedder(), chunk_tokens=0)
        model: dict[str, str] = {}
        for kind, number, text in changes:
            if kind == "add":
                index.add([Document(f"d{number}", text, language="en")])
                model[f"d{number}"] = text
            elif kind == "delete":
                index.delete([f"d{number}"])
                model.pop(f"d{number}", None)
            else:
                index.compact()
        expected = bm25(model, query) if model else {}
        hits = index.search(query, k=k, mode="lexical")
        assert [hit.score for hit in hits] == pytest.approx(sorted(expected.values(), reverse=True)[:k], rel=1e-5)
        assert {hit.id: hit.score for hit in hits} == pytest.approx(
            {hit.id: expected[hit.id] for hit in hits}, rel=1e-5
        )
        before = [(hit.id, hit.score) for hit in hits]
        index.compact()
        assert [(hit.id, hit.score) for hit in index.search(query, k=k, mode="lexical")] == before
        assert index.verify().problems == []


@pytest.fixture
def words(tmp_path: Path) -> Index:
    index = Index.create(tmp_path / "words", WordEmbedder())
    index.add([document(n) for n in range(3)], commit_passages=1)
    index.add(
        [
            Document("both", "cat dog", language="en"),
            Document("cat", "Cat cat, cat!", language="de"),
            Document("titled", "none of these", title="dog", language="en"),
        ]
    )
    return index


def test_titles_case_and_languages(words: Index) -> None:
    assert {hit.id for hit in words.search("DOG", mode="lexical")} == {"both", "titled"}
    assert [hit.id for hit in words.search("cat", mode="lexical")] == ["cat", "both"]
    assert [hit.id for hit in words.search("cat", mode="lexical", languages=["en"])] == ["both"]
    assert words.search("zebra", mode="lexical") == []
    assert words.search("?!", mode="lexical") == []


def test_reciprocal_ranks_are_added(words: Index) -> None:
    query = "cat dog"
    dense = [hit.id for hit in words.search(query, k=100)]
    lexical = [hit.id for hit in words.search(query, k=100, mode="lexical")]
    expected = {
        name: sum(
            weight / (60 + ranking.index(name) + 1)
            for weight, ranking in ((0.6, dense), (0.4, lexical))
            if name in ranking
        )
        for name in dense
    }
    hits = words.search(query, k=100, mode="hybrid", fusion="rrf")
    assert {hit.id: hit.score for hit in hits} == pytest.approx(expected)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert words.search(query, k=2, mode="hybrid", fusion="rrf") == hits[:2]
    assert words.search_many([query, "dog"], k=3, mode="hybrid", fusion="rrf")[0] == hits[:3]


def test_cosines_and_shares_of_the_query_are_weighted(words: Index) -> None:
    query = "cat dog dog eel"  # no passage has an eel
    most = idf(6, 2) + 2 * idf(6, 2) + idf(6, 0)
    cosines = {hit.id: hit.score for hit in words.search(query, k=100)}
    lexical = {hit.id: hit.score for hit in words.search(query, k=100, mode="lexical")}
    low, high = min(cosines.values()), max(cosines.values())
    expected = {
        name: 0.3 * (cosine - low) / (high - low) + 0.7 * lexical.get(name, 0) / most
        for name, cosine in cosines.items()
    }
    hits = words.search(query, k=100, mode="hybrid", fusion=Fusion("weighted", dense=0.3))
    assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, rel=1e-5)
    assert words.search(query, mode="hybrid") == words.search(query, mode="hybrid", fusion=Fusion())


def test_all_weight_on_one_side_is_that_side(words: Index) -> None:
    for method in ("rrf", "weighted"):
        one, other = (words.search("cat dog", k=2, mode="hybrid", fusion=Fusion(method, dense=w)) for w in (1, 0))
        assert [hit.id for hit in one] == [hit.id for hit in words.search("cat dog", k=2)]
        assert [hit.id for hit in other] == [hit.id for hit in words.search("cat dog", k=2, mode="lexical")]


def test_a_query_without_known_pieces_goes_by_meaning_and_says_so(
    words: Index, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        known = words.search_many(["cat dog", "gnu eel cat"], mode="hybrid")
        by_ranks = words.search("cat dog", mode="hybrid", fusion="rrf")
        assert caplog.text == ""
        hits = words.search_many(["cat dog", "gnu eel"], mode="hybrid")
        assert "1 of 2 queries: too few of its pieces occur" in caplog.text
        assert hits == [known[0], words.search("gnu eel")]
        caplog.clear()
        assert words.search_many(["cat dog", "gnu eel cat"], mode="hybrid", fusion="rrf") == [
            by_ranks,
            words.search("gnu eel cat"),
        ]
        assert "1 of 2 queries: too few of its pieces occur" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "sparse"}, "allowed: dense, lexical, hybrid"),
        ({"mode": "hybrid", "fusion": "sum"}, "allowed: weighted, rrf"),
    ],
)
def test_modes_and_fusions_that_are_not_there(words: Index, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        words.search("cat", **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"dense": 1.1}, {"dense": -0.1}, {"depth": 0}])
def test_fusions_out_of_range(settings: dict[str, float]) -> None:
    with pytest.raises(InvalidArgumentError, match="must be"):
        Fusion("rrf", **settings)  # type: ignore[arg-type]


def test_an_index_without_lexical_part(tmp_path: Path, embedder: FakeEmbedder) -> None:
    for name, model, options in (("a", embedder, {}), ("b", WordEmbedder(), {"lexical": False})):
        index = Index.create(tmp_path / name, model, **options)  # type: ignore[arg-type]
        index.add(documents(range(3)))
        index.compact()
        assert index.info()["lexical"] is None
        with pytest.raises(InvalidArgumentError, match="without a lexical part"):
            index.search("x", mode="hybrid")
    with pytest.raises(InvalidArgumentError, match="has no tokenizer"):
        Index.create(tmp_path / "c", embedder, lexical=True)
    made = Index.create(tmp_path / "d", WordEmbedder())
    with pytest.raises(ModelError, match="has no tokenizer"):
        Index.open(made.path, FakeEmbedder(name="words")).add(documents(range(1)))


def test_terms_are_pieces_in_lower_case_without_marks() -> None:
    tokenizer = Tokenizer(models.WordLevel({"?": 0, "▁edu": 1, "edu": 2, "▁": 3, "!": 4, "▁zip": 5, "</s>": 6}, "?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.enable_truncation(2)
    terms = Analyser(tokenizer)(["▁EDU edu ▁ ! ▁zip </s>", "", "edu"])
    assert [terms.of(n).tolist() for n in range(3)] == [[2, 2, 5], [], [2]]
    assert tokenizer.truncation is not None


def test_hybrid_vectors_come_from_the_query(words: Index) -> None:
    best = words.search("cat dog", k=1, mode="hybrid", fusion=Fusion("rrf", dense=1))[0]
    cosines = vectors_of(["cat dog"]) @ vectors_of([f"{best.title}\n{best.text}" if best.title else best.text]).T
    assert best.score == pytest.approx(1 / 61)
    assert words.search("cat dog", k=1)[0].score == pytest.approx(float(np.clip(cosines, -1, 1)[0, 0]), abs=1e-6)


def test_a_reader_keeps_its_lexical_part_after_a_compaction(words: Index) -> None:
    reader = Index.open(words.path, WordEmbedder(), read_only=True)
    expected = words.search("cat dog", mode="lexical")
    words.delete(["both"])
    words.compact()
    assert reader.search("cat dog", mode="lexical") == expected
