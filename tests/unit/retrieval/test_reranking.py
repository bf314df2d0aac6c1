from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lusirag.errors import InvalidArgumentError, MissingDependencyError, ModelError
from lusirag.retrieval import CrossEncoderReranker, ExactReranker, Reranker, rerank
from lusirag.types import Hit
from tests.cross_encoder import write_cross_encoder
from tests.unit.index.fake_embedder import FakeEmbedder, vectors_of


def hit(number: int, title: str | None = None) -> Hit:
    return Hit(f"d{number}", 0.5, f"text {number}", title, "en", None, {}, f"d{number}", 0, 6)


HITS = [hit(number, title="heading" if number % 2 else None) for number in range(12)]


class Fixed:
    """Returns what it was given."""

    def __init__(self, scores: Any) -> None:
        self.scores = scores

    def score(self, query: str, hits: Sequence[Hit]) -> Any:
        return self.scores


def test_hits_get_the_new_scores_and_equal_ones_keep_their_order() -> None:
    found = rerank("q", HITS[:5], Fixed([1, 7.5, -2, 7.5, 1]))
    assert [(each.id, each.score) for each in found] == [("d1", 7.5), ("d3", 7.5), ("d0", 1), ("d4", 1), ("d2", -2)]
    assert all(type(each.score) is float for each in found)
    assert rerank("q", [], Fixed([1])) == []


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0, 2.0], r"shape \(2,\) for 3 hits"),
        (np.ones((3, 2)), r"shape \(3, 2\)"),
        ([1.0, float("nan"), 2.0], "hit 2 of 3 the score nan"),
        ([1.0, 2.0, float("inf")], "hit 3 of 3 the score inf"),
        (["a", "b", "c"], "no numbers"),
        (None, "shape|no numbers|score nan"),
    ],
)
def test_scores_that_are_none(scores: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        rerank("q", HITS[:3], Fixed(scores))
    assert "Fixed" in str(error.value)


def test_exact_scores_are_cosines_of_title_and_text() -> None:
    embedder = FakeEmbedder()
    scores = ExactReranker(embedder).score("q", HITS)
    texts = [f"heading\ntext {number}" if number % 2 else f"text {number}" for number in range(12)]
    assert embedder.embedded == texts
    np.testing.assert_allclose(scores, vectors_of(texts) @ vectors_of(["q"])[0], atol=1e-6)


def test_a_cross_encoder_scores_as_its_network_does(cross_encoder: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    found = rerank("which text", HITS, CrossEncoderReranker(cross_encoder, device="cpu", batch_size=5))
    network = AutoModelForSequenceClassification.from_pretrained(cross_encoder).eval()
    tokenizer = AutoTokenizer.from_pretrained(cross_encoder)
    expected = {}
    for each in HITS:
        text = each.text if each.title is None else f"{each.title}\n{each.text}"
        with torch.inference_mode():
            logits = network(**tokenizer("which text", text, return_tensors="pt")).logits
        expected[each.id] = torch.sigmoid(logits).item()
    assert {each.id: each.score for each in found} == pytest.approx(expected, abs=1e-5)
    assert [each.id for each in found] == sorted(expected, key=lambda name: -expected[name])
    assert len(set(expected.values())) == len(HITS)
    assert isinstance(Fixed([]), Reranker)


def test_models_that_are_no_cross_encoder(cross_encoder: Path, tmp_path: Path, tiny_directory: Path) -> None:
    from transformers import BertConfig, BertModel

    with pytest.raises(ModelError, match="has 3 outputs; reranking needs a model with one"):
        CrossEncoderReranker(write_cross_encoder(tmp_path / "three", labels=3))
    bare = write_cross_encoder(tmp_path / "bare")
    BertModel(BertConfig.from_pretrained(bare)).save_pretrained(bare)
    with pytest.raises(ModelError, match="BertModel, which has no trained score"):
        CrossEncoderReranker(bare)
    damaged = write_cross_encoder(tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"no weights")
    for directory in (damaged, tiny_directory, tmp_path / "nowhere"):
        with pytest.raises(ModelError, match=f"{directory.name}' cannot be loaded") as error:
            CrossEncoderReranker(directory, local_files_only=True)
        assert "\n" not in str(error.value)
    for options, message in (({"batch_size": 0}, "batch_size is 0"), ({"device": "abacus"}, "this machine has cpu")):
        with pytest.raises(InvalidArgumentError, match=message):
            CrossEncoderReranker(cross_encoder, **options)  # type: ignore[arg-type]


def test_without_sentence_transformers_the_extra_is_named(cross_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingDependencyError, match=r"lusirag\[rerank\]"):
        CrossEncoderReranker(cross_encoder)
