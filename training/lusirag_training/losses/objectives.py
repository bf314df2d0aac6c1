"""NT-Xent and SupCon over a matrix of similarities and two masks.

A anchors, R references. Both give 0, with a gradient of zeros, when there is no positive pair.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

# Stands in for minus infinity: exp() of it is 0, and no gradient through it becomes nan.
NOTHING = -1e30


def nt_xent(logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """NT-Xent (Chen et al. 2020, arXiv 2002.05709, eq. 1), each positive pair for itself.

    For a positive pair (a, p): log(1 + sum over negatives n of a of exp(s_an - s_ap)), averaged over the positive
    pairs. Other positives of the anchor are not in the sum. With queries as anchors and documents as references this
    is InfoNCE (van den Oord et al. 2018, arXiv 1807.03748).

    Args:
        logits: (A, R) similarities divided by the temperature. positive, negative: (A, R) bool.

    Returns:
        Scalar.
    """
    against = logits.masked_fill(~negative, NOTHING).logsumexp(1, keepdim=True)  # (A, 1)
    losses = softplus(against - logits)  # (A, R)
    return losses.masked_fill(~positive, 0).sum() / positive.sum().clamp_min(1)


def sup_con(logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """SupCon (Khosla et al. 2020, arXiv 2004.11362, eq. 2, the sum outside of the logarithm).

    For an anchor: the mean over its positives p of -log(exp(s_ap) / sum over positives and negatives of exp(s_ar)),
    averaged over the anchors that have a positive.

    Args:
        logits: (A, R) similarities divided by the temperature. positive, negative: (A, R) bool.

    Returns:
        Scalar.
    """
    candidates = positive | negative
    total = logits.masked_fill(~candidates, NOTHING).logsumexp(1, keepdim=True)  # (A, 1)
    losses = (total - logits).masked_fill(~positive, 0)  # (A, R)
    positives = positive.sum(1)  # (A,)
    return (losses.sum(1) / positives.clamp_min(1)).sum() / (positives > 0).sum().clamp_min(1)


def distillation(student: Tensor, teacher: Tensor, allowed: Tensor, *, temperature: float) -> Tensor:
    """KL divergence of our ranking of the documents from the teacher's, averaged over the queries.

    sum over d of p_d (log p_d - log q_d), with p and q the softmax of the cosines divided by the temperature.

    Args:
        student, teacher: (B, M) cosines between queries and documents.
        allowed: (B, M) bool, the documents that a query is compared with; a query without any is left out.
        temperature: of both.
    """
    goal = _log_softmax(teacher.detach() / temperature, allowed)  # (B, M)
    ours = _log_softmax(student / temperature, allowed)  # (B, M)
    divergence = (goal.exp() * (goal - ours)).masked_fill(~allowed, 0).sum(1)  # (B,)
    return divergence.sum() / allowed.any(1).sum().clamp_min(1)


def _log_softmax(logits: Tensor, allowed: Tensor) -> Tensor:
    return torch.log_softmax(logits.masked_fill(~allowed, NOTHING), dim=1)
