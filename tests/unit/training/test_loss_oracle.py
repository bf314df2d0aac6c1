"""NT-Xent, SupCon and the miner against pytorch-metric-learning, values and gradients, on ragged random batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lusirag_training.losses import ContrastiveLoss
from tests.unit.training.loss_batches import random_batch

pytest.importorskip("pytorch_metric_learning", reason="the extra 'dev' brings it")
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
from pytorch_metric_learning.losses import NTXentLoss, SupConLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner

LABELS = torch.tensor([3, 8, 3, 1, 2])  # the first and the third example belong together


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("labels", [None, LABELS])
@pytest.mark.parametrize("epsilon", [None, 0.05, 0.25])
@pytest.mark.parametrize("distance", ["cosine", "l2"])
@pytest.mark.parametrize("kind", ["nt_xent", "sup_con"])
def test_against_the_library(
    kind: str, distance: str, epsilon: float | None, labels: torch.Tensor | None, seed: int
) -> None:
    ours = random_batch(seed, dtype=torch.float64, query_labels=labels)
    loss = ContrastiveLoss(kind=kind, similarity=distance, temperature=0.1, miner_epsilon=epsilon)(ours)
    loss.backward()

    theirs = random_batch(seed, dtype=torch.float64)
    texts = torch.cat([theirs.queries, theirs.documents])
    query_labels = torch.arange(5) if labels is None else labels
    hard = 100 + torch.arange(len(theirs.owner))  # a hard negative has a label that nothing else has
    text_labels = torch.cat([query_labels, torch.where(theirs.is_positive, query_labels[theirs.owner], hard)])
    measure = LpDistance() if distance == "l2" else CosineSimilarity()
    oracle = (NTXentLoss if kind == "nt_xent" else SupConLoss)(temperature=0.1, distance=measure)
    miner = None if epsilon is None else MultiSimilarityMiner(epsilon=epsilon, distance=CosineSimilarity())
    expected = oracle(texts, text_labels, miner(texts, text_labels) if miner else None)
    expected.backward()

    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.queries.grad, theirs.queries.grad, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(ours.documents.grad, theirs.documents.grad, rtol=1e-7, atol=1e-9)


def test_the_miner_drops_something_here() -> None:
    """Else the comparisons above would say nothing of it."""
    values = {
        epsilon: ContrastiveLoss(miner_epsilon=epsilon)(replace(random_batch(0), query_labels=LABELS)).item()
        for epsilon in (None, 0.05, 0.25)
    }
    assert len({round(value, 6) for value in values.values()}) == 3
