"""Smaller forms of unit vectors, for storage and fast search."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from lusirag.errors import InvalidArgumentError
from lusirag.types import Vectors

Precision = Literal["float32", "float16", "int8", "binary"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


def require_precision(precision: str) -> None:
    """Refuse a name that is none.

    Raises:
        InvalidArgumentError: lists what is allowed.
    """
    if precision not in PRECISIONS:
        raise InvalidArgumentError(f"precision is {precision!r}; allowed: {', '.join(PRECISIONS)}")


def convert(vectors: Vectors, precision: str) -> npt.NDArray[Any]:
    """Convert unit vectors, float32 (n, d).

    Args:
        vectors: float32 (n, d).
        precision: "float32" and "float16": (n, d); "int8": (n, d), each vector times 127 / its largest magnitude and
            rounded, to be compared by cosine; "binary": uint8 (n, ceil(d / 8)), one bit a value, 1 where it is
            positive, the first value in the highest bit, to be compared by Hamming distance.

    Raises:
        InvalidArgumentError: another precision.
    """
    require_precision(precision)
    if precision == "int8":
        largest = np.abs(vectors).max(axis=1, keepdims=True, initial=1e-12)
        levels: npt.NDArray[np.int8] = np.rint(vectors * (127 / largest)).astype(np.int8)
        return levels
    if precision == "binary":
        return np.packbits(vectors > 0, axis=1)
    return vectors.astype(precision, copy=False)
