"""Evening out the channels before they are rounded to 8 bits.

A few channels of an encoder's norms are ten times as large as the others. A row that holds one of them is rounded in
steps that are coarse for all the rest. So each channel is divided by a factor and the columns that read it are
multiplied by the same factor, which changes nothing but the rounding (SmoothQuant, arXiv:2211.10438, equation 4, with
0.7 for alpha: measured on lusifer-mini, the mean cosine to float32 rises from 0.998 to 0.999).
The factors come from the largest values seen on real text; they are found once, by `lusirag models export`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from lusirag.embedding.onnx_names import norms
from lusirag.embedding.onnx_shape import Shape
from lusirag.embedding.onnx_weights import matrix
from lusirag.embedding.stored import Floats, StoredTensors
from lusirag.errors import ModelError

SMOOTHING_FILE = "smoothing.safetensors"
ALPHA = 0.7
SMALLEST = 1e-4  # of a channel or a column that is never used


def smoothing_factors(shape: Shape, stored: StoredTensors, largest: Mapping[str, Floats]) -> dict[str, Floats]:
    """A factor a channel for each norm, as float16 holds it.

    Args:
        shape: of the network. stored: its tensors.
        largest: for each norm, the largest absolute value of each channel on real text.
    """
    factors = {}
    for norm, readers in norms(shape).items():
        weights = np.concatenate([matrix(name, stored, shape) for name in readers], axis=1)  # (in, out)
        columns = np.abs(weights).max(axis=1)  # (in,)
        raw = np.maximum(largest[norm], SMALLEST) ** ALPHA / np.maximum(columns, SMALLEST) ** (1 - ALPHA)
        factors[norm] = (raw / np.exp(np.log(raw).mean())).astype(np.float16).astype(np.float32)
    return factors


def write_smoothing(directory: Path, factors: Mapping[str, Floats]) -> None:
    """Write the factors of a model beside it."""
    temporary = directory / f"{SMOOTHING_FILE}.writing"
    save_file({norm: factor.astype(np.float16) for norm, factor in sorted(factors.items())}, temporary)
    temporary.chmod(0o644)
    temporary.replace(directory / SMOOTHING_FILE)


def read_smoothing(directory: Path) -> dict[str, Floats]:
    """The factors of a model; none when it has no such file.

    Raises:
        ModelError: the file is damaged.
    """
    file = directory / SMOOTHING_FILE
    if not file.is_file():
        return {}
    try:
        return {norm: factor.astype(np.float32) for norm, factor in load_file(file).items()}
    except Exception as error:  # the library raises an Exception of its own on a damaged header
        raise ModelError(f"{file} cannot be read ({error}); run `lusirag models export` again") from error
