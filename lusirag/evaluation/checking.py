"""Vectors of any encoder, checked before they are measured: a wrong one must not become a figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

from lusirag.errors import InvalidArgumentError, LusiragError, ModelError
from lusirag.index.requests import unit_vectors
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
        vectors = encode(texts)
    except (LusiragError, MemoryError):
        raise
    except Exception as error:  # whatever somebody's encoder raises
        reason = " ".join(str(error).split())
        raise ModelError(f"{encoder.name} failed: {type(error).__name__}: {reason}") from error
    return unit_rows(encoder.name, vectors, count=len(texts), dimension=encoder.dimension)


def unit_rows(name: str, vectors: npt.ArrayLike, *, count: int, dimension: int) -> Vectors:
    """What a model gave for `count` texts, as float32 (count, dimension), normalised.

    Raises:
        ModelError: it has another shape, or a vector is zero or not finite.
    """
    try:
        unit = unit_vectors(vectors, dimension, "returned")
    except InvalidArgumentError as error:
        raise ModelError(f"{name} gave what is no embedding: {error}") from error
    if len(unit) != count:
        raise ModelError(f"{name} gave {len(unit)} embeddings for {count} texts")
    return unit
