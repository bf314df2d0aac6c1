"""Vectors of any encoder, checked before they are measured: a wrong one must not become a figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lusirag.errors import LusiragError, ModelError
from lusirag.types import Encoder, Vectors


def checked_vectors(encoder: Encoder, encode: Callable[[Sequence[str]], Any], texts: Sequence[str]) -> Vectors:
    """Encode texts.

    Args:
        encoder: whose name and dimension are told and looked at. encode: its method, or one around it.

    Returns:
        float32 (n, dimension), normalised here, whatever the encoder does.

    Raises:
        ModelError: the encoder failed, or its vectors have another shape, are zero or not finite.
        LusiragError: what the encoder raises itself.
    """
    try:
        vectors = np.asarray(encode(texts), dtype=np.float32)
    except (LusiragError, MemoryError):
        raise
    except Exception as error:  # whatever somebody's encoder raises
        reason = " ".join(str(error).split())
        raise ModelError(f"{encoder.name} failed: {type(error).__name__}: {reason}") from error
    if vectors.shape != (len(texts), encoder.dimension):
        raise ModelError(
            f"{encoder.name} gave {len(texts)} texts vectors of shape {vectors.shape}; "
            f"({len(texts)}, {encoder.dimension}) was expected"
        )
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and norms.all()):
        raise ModelError(f"{encoder.name} gave a vector that is zero or not finite; such a model cannot be measured")
    unit: Vectors = vectors / norms
    return unit
