"""Smaller forms of vectors keep what they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lusirag.embedding import Embedder
from lusirag.embedding.precision import convert
from lusirag.errors import InvalidArgumentError


def unit_vectors(count: int, dimension: int) -> np.ndarray:
    vectors = np.random.default_rng(5).standard_normal((count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def tiny(tiny_directory: Path) -> Embedder:
    return Embedder.load(tiny_directory)


def test_int8_keeps_cosines() -> None:
    vectors = unit_vectors(200, 384)
    small = convert(vectors, "int8")
    assert small.dtype == np.int8
    assert np.abs(small).max(axis=1).tolist() == [127] * 200
    restored = small / np.linalg.norm(small.astype(np.float32), axis=1, keepdims=True)
    assert np.abs(restored @ restored.T - vectors @ vectors.T).max() < 0.01


def test_binary_packs_the_signs_highest_bit_first() -> None:
    vectors = np.array([[0.5, -0.5, 0.1, 0.2, -1, -1, -1, 0.3, 0.7, 0.0]], dtype=np.float32)
    assert convert(vectors, "binary").tolist() == [[0b10110001, 0b10000000]]


def test_float16_halves_the_size() -> None:
    vectors = unit_vectors(3, 8)
    assert convert(vectors, "float16").nbytes * 2 == vectors.nbytes


@pytest.mark.parametrize(
    ("precision", "shape", "dtype"),
    [("float32", (0, 32), "float32"), ("int8", (0, 32), "int8"), ("binary", (0, 4), "uint8")],
)
def test_no_texts_give_an_empty_array(tiny: Embedder, precision: str, shape: tuple[int, int], dtype: str) -> None:
    vectors = tiny.encode_queries([], precision=precision)
    assert (vectors.shape, vectors.dtype) == (shape, dtype)


def test_another_precision_is_refused(tiny: Embedder) -> None:
    with pytest.raises(InvalidArgumentError, match="precision is 'int4'; allowed: float32, float16, int8, binary"):
        tiny.encode_queries(["a"], precision="int4")
