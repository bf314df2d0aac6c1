"""Random batches for the tests of the losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lusirag_training.losses import Candidates

# Documents of each query, positive or not: ragged, and not in the order of their queries.
OWNER = [0, 0, 1, 2, 2, 2, 1, 3, 3, 0, 4]
POSITIVE = [True, False, True, True, True, False, False, True, False, False, True]


def random_batch(seed: int = 0, *, width: int = 6, dtype: torch.dtype = torch.float32, **columns: Any) -> Candidates:
    """Five queries with 2, 1, 2, 1 and 0 hard negatives; the third has two positives. Vectors are leaves."""
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(5, width, generator=generator, dtype=torch.float64)
    owner, is_positive = torch.tensor(OWNER), torch.tensor(POSITIVE)
    noise = torch.randn(len(owner), width, generator=generator, dtype=torch.float64)
    documents = noise + queries[owner] * is_positive[:, None]  # positives are nearer, so that there is hard and easy
    defaults: dict[str, Any] = {
        "queries": queries.to(dtype).requires_grad_(),
        "documents": documents.to(dtype).requires_grad_(),
        "owner": owner,
        "is_positive": is_positive,
    }
    return Candidates(**(defaults | columns))


def unit_circle(*degrees: float) -> Tensor:
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1)


def small_batch(**columns: Any) -> Candidates:
    """Two queries at 0 and 90 degrees, positives at 20 and 60, a hard negative of the first at 50."""
    defaults: dict[str, Any] = {
        "queries": unit_circle(0, 90),
        "documents": unit_circle(20, 60, 50),
        "owner": torch.tensor([0, 1, 0]),
        "is_positive": torch.tensor([True, True, False]),
    }
    return Candidates(**(defaults | columns))
