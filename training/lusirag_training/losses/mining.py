"""The multi-similarity miner: keep the pairs that are hard (Wang et al. 2019, arXiv 1904.06627, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor


def hard_pairs(cosine: Tensor, positive: Tensor, negative: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """Keep a negative nearer than the anchor's farthest positive, a positive farther than its nearest negative.

    Args:
        cosine: (A, R); the miner always compares cosines, as the published code does, whatever the loss compares.
        positive, negative: (A, R) bool.
        epsilon: how much nearer or farther a pair may be and still be kept.

    Returns:
        The two masks, narrowed; an anchor keeps pairs of both kinds or none.
    """
    with torch.no_grad():
        farthest = cosine.masked_fill(~positive, torch.inf).amin(1, keepdim=True)  # (A, 1)
        nearest = cosine.masked_fill(~negative, -torch.inf).amax(1, keepdim=True)  # (A, 1)
        return positive & (cosine - epsilon < nearest), negative & (cosine + epsilon > farthest)
