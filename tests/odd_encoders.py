"""Encoders that go wrong in one way each, for `python:tests.odd_encoders:NAME`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lusirag.types import Vectors
from tests.hashing_encoder import HashingEncoder


class _Odd(HashingEncoder):
    def _encode(self, role: str, texts: Sequence[str], instruction: str | None) -> Vectors:
        vectors = super()._encode(role, texts, instruction)
        if self.name == "nan_vectors":
            vectors[0, 0] = np.nan
        if self.name == "short_vectors":
            return vectors[:, :-1]
        if self.name == "failing":
            raise RuntimeError("out of ideas\nand more")
        return vectors * 3  # not of unit length


def nan_vectors() -> HashingEncoder:
    return _Odd(name="nan_vectors", fingerprint="nan")


def short_vectors() -> HashingEncoder:
    return _Odd(name="short_vectors", fingerprint="short")


def failing() -> HashingEncoder:
    return _Odd(name="failing", fingerprint="failing")


def key() -> HashingEncoder:
    return _Odd(name="key", fingerprint="key")
