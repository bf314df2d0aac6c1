"""Development sets: how well the network finds answers now, by nDCG@10."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lusirag.embedding import Embedder
from lusirag.embedding.torch_runtime import TorchRuntime
from lusirag.evaluation.ranking import Measure, ranking
from lusirag.model import LusiferModel
from lusirag_training.data.reading import read_set
from lusirag_training.data.texts import ModelTexts

DEPTH = 10
MEAN = "mean"


@dataclass(frozen=True, slots=True)
class DevelopmentSet:
    """Queries, passages, and which passages answer each query, by number."""

    queries: list[str]
    passages: list[str]
    relevant: list[set[int]]

    @classmethod
    def read(cls, source: str, *, limit: int | None = None) -> DevelopmentSet:
        """Read pairs: equal queries are one, equal passages are one, all positives and negatives are searched.

        Raises:
            CorpusError: the source cannot be read or holds no pairs.
        """
        rows: Any = read_set(source)
        numbers: dict[str, int] = {}
        answers: dict[str, set[int]] = {}
        for row in rows:
            found = answers.setdefault(row["query"], set())
            found.update(numbers.setdefault(text, len(numbers)) for text in row["positive"])
            for text in row["negative"]:
                numbers.setdefault(text, len(numbers))
        queries = list(answers)[:limit]
        return cls(queries, list(numbers), [answers[query] for query in queries])


def evaluate(
    network: LusiferModel, texts: ModelTexts, sets: Mapping[str, DevelopmentSet], *, device: torch.device
) -> dict[str, float]:
    """NDCG@10 of each set, and their mean; the network is left in the mode that it was in."""
    training = network.training
    network.eval()
    try:
        embedder = embedder_of(network, texts, device=device)
        figures = {name: _ndcg(embedder, each) for name, each in sets.items()}
    finally:
        network.train(training)
    return figures | {MEAN: float(np.mean(list(figures.values())))}


def embedder_of(network: LusiferModel, texts: ModelTexts, *, device: torch.device) -> Embedder:
    """An embedder around a network in memory."""
    runtime = TorchRuntime(network, device=device)
    return Embedder(
        runtime,
        texts.tokenizer,
        dict(texts.templates),
        name="in training",
        dimension=network.config.dimension,
        padding_id=network.config.padding_id,
        fingerprint="in training",
        batch_tokens=runtime.batch_tokens,
    )


def _ndcg(embedder: Embedder, each: DevelopmentSet) -> float:
    passages = embedder.encode_documents(each.passages)
    queries = embedder.encode_queries(each.queries)
    ranked: Sequence[Sequence[int]] = ranking(queries, passages, depth=DEPTH)
    return Measure("ndcg", DEPTH).mean(ranked, each.relevant)


def read_sets(sources: Mapping[str, str], *, limit: int | None) -> dict[str, DevelopmentSet]:
    """Read all development sets of a recipe."""
    return {name: DevelopmentSet.read(str(Path(source)), limit=limit) for name, source in sources.items()}
