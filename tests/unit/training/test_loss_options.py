"""Options of the contrastive losses and columns of a batch that do not fit are refused in words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lusirag.errors import InvalidArgumentError
from lusirag_training.losses import ContrastiveLoss, FalseNegatives
from tests.unit.training.loss_batches import small_batch


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "triplet"}, "kind is 'triplet'; allowed: nt_xent, sup_con, info_nce"),
        ({"similarity": "dot"}, "allowed: cosine, l2"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"miner_epsilon": -1.0}, "miner_epsilon is -1.0"),
        ({"symmetric": True}, "symmetric is for info_nce alone"),
        ({"matryoshka": [4, 4]}, r"matryoshka is \[4, 4\]"),
        ({"matryoshka": [4, 8], "matryoshka_weights": [1]}, r"one of 0 or more for each of \[4, 8\]"),
        ({"judge": "oracle"}, "allowed: model, teacher"),
        ({"distillation_temperature": 0.0}, "distillation_temperature is 0.0"),
        ({"kind": "x", "temperature": -1.0}, "kind is 'x'.*temperature is -1.0"),
    ],
)
def test_options_that_are_not_allowed_are_named_together(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        ContrastiveLoss(**options)


def test_rules_for_false_negatives_are_checked() -> None:
    with pytest.raises(InvalidArgumentError, match="allowed: percentage, margin, absolute"):
        FalseNegatives(rule="top")
    with pytest.raises(InvalidArgumentError, match="percentage of false negatives is 95"):
        FalseNegatives(value=95)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"documents": torch.zeros(3, 5)}, r"queries have the shape \(2, 2\) and documents \(3, 5\)"),
        ({"owner": torch.zeros(2, dtype=torch.long)}, r"owner has the shape \(2,\), \(3,\) is needed"),
        ({"is_positive": torch.tensor([1, 1, 0])}, "is_positive is torch.int64"),
        ({"document_keys": torch.zeros(3)}, "document_keys is torch.float32, integers"),
        ({"teacher_queries": torch.zeros(2, 4)}, "only one of queries and documents"),
        ({"teacher_queries": torch.zeros(2, 4), "teacher_documents": torch.zeros(3, 5)}, r"\(2, T\) and \(3, T\)"),
        ({"queries": torch.zeros(0, 2)}, "0 queries and 3 documents"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns: dict[str, Tensor], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        small_batch(**columns)


def test_what_only_the_values_tell_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="owner holds 5; rows of 2 queries"):
        ContrastiveLoss()(small_batch(owner=torch.tensor([0, 5, 1])))
    with pytest.raises(InvalidArgumentError, match="no teacher vectors"):
        ContrastiveLoss(distillation_weight=1.0)(small_batch())
    with pytest.raises(InvalidArgumentError, match="asks for 64 values, the vectors have 2"):
        ContrastiveLoss(matryoshka=[1, 64])(small_batch())
