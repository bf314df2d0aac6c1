"""Cosine and Euclidean similarity, in float32 whatever comes in.

A anchors, R references, D values a vector.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

Similarity = Literal["cosine", "l2"]
SIMILARITIES: tuple[str, ...] = get_args(Similarity)

# Below this square the distance counts as zero and has no gradient: the square root's own would be infinite.
SMALLEST_SQUARE = 1e-12


def cosines(anchors: Tensor, references: Tensor) -> Tensor:
    """Cosines between all rows: (A, D), (R, D) -> (A, R), float32 (float64 stays).

    Autocast is switched off here: in bfloat16 a cosine has 8 bits, and a temperature of 0.05 makes a step of 0.08 of
    its last one.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        return normalize(_wide(anchors), dim=1) @ normalize(_wide(references), dim=1).T


def similarity(cosine: Tensor, kind: str) -> Tensor:
    """Turn cosines (A, R) into similarities (A, R).

    "cosine": as they are. "l2": minus the Euclidean distance of the normalised vectors, -sqrt(2 - 2 cos).
    """
    if kind == "cosine":
        return cosine
    return -(2 - 2 * cosine).clamp_min(SMALLEST_SQUARE).sqrt()


def _wide(vectors: Tensor) -> Tensor:
    return vectors if vectors.dtype == torch.float64 else vectors.float()
