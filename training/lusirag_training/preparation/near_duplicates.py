"""Near duplicates: texts whose word n-grams are mostly the same (Broder, 1997).

MinHash signatures (by the library rensa) propose pairs: signatures are cut into bands, and texts that are equal in a
whole band are candidates. A candidate counts only if the n-grams themselves say so: nothing is left out on an estimate.
Of texts that are alike, the first is kept; a later one is compared only with those that were kept.

Signatures and n-grams lie in temporary files without a name, so that memory stays flat and a killed run leaves nothing.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from lusirag.errors import MissingDependencyError
from lusirag_training.preparation.progress import Progress
from lusirag_training.preparation.texts import Keys, Rows
from lusirag_training.preparation.words import jaccard, ngrams

Signatures = npt.NDArray[np.uint32]

SLOTS = 128
# The bands are chosen so that texts exactly at the threshold become candidates with at least this chance.
_RECALL = 0.99
# An estimate of 128 slots is off by more than that once in some ten thousand candidates.
_DOUBT = 0.16


class NearDuplicates:
    """Gathers texts, then tells which are near duplicates of an earlier one. The end of a `with` block frees its files.

    Args:
        folder: for the temporary files.
        n: words in an n-gram, 1 or more.
        threshold: two texts are near duplicates from this Jaccard similarity of their n-grams; above 0, at most 1.
        seed: of the signatures.
    """

    def __init__(self, folder: Path, *, n: int = 5, threshold: float = 0.8, seed: int = 0) -> None:
        self._n, self._threshold, self._seed = n, threshold, seed
        self._signatures: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._ngrams: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._ends: list[npt.NDArray[np.int64]] = []
        self._total = 0

    def add(self, texts: Sequence[Keys]) -> None:
        """Gather some texts.

        Args:
            texts: the keys of each one's words, as from `words.word_keys`.
        """
        grams = [ngrams(keys, self._n) for keys in texts]
        flat = np.concatenate([*grams, np.zeros(0, np.uint64)])
        ends = np.cumsum([len(some) for some in grams], dtype=np.int64)
        self._signatures.write(sign(flat, ends, seed=self._seed).tobytes())
        self._ngrams.write(flat.tobytes())
        self._ends.append(self._total + ends)
        self._total += len(flat)

    def find(self, *, progress: Progress | None = None) -> Rows:
        """For each text that was added, the earlier kept one that it nearly repeats; -1 for those that are kept."""
        ends = np.concatenate([np.zeros(1, np.int64), *self._ends])
        rows = len(ends) - 1
        first_of = np.full(rows, -1, dtype=np.int64)
        if not rows or not self._total:
            return first_of
        for file in (self._signatures, self._ngrams):
            file.flush()
        signatures = np.memmap(self._signatures, np.uint32, "r").reshape(rows, SLOTS)
        flat = np.memmap(self._ngrams, np.uint64, "r")
        groups = _groups(signatures, np.diff(ends) > 0, self._threshold)
        kept: dict[int, list[int]] = defaultdict(list)
        for count, (row, numbers) in enumerate(groups.items(), 1):
            own = flat[ends[row] : ends[row + 1]]
            others = np.unique([other for number in numbers for other in kept[number]]).astype(np.int64)
            if len(others):
                alike = (signatures[others] == signatures[row]).mean(axis=1)
                others = others[alike >= self._threshold - _DOUBT]
            for other in others:
                if jaccard(own, flat[ends[other] : ends[other + 1]]) >= self._threshold:
                    first_of[row] = other
                    break
            else:
                for number in numbers:
                    kept[number].append(row)
            if progress is not None and count % 1000 == 0:
                progress("comparing near duplicates", count, len(groups))
        return first_of

    def __enter__(self) -> NearDuplicates:
        return self

    def __exit__(self, *_: object) -> None:
        self._signatures.close()
        self._ngrams.close()


def sign(flat: Keys, ends: npt.NDArray[np.int64], *, seed: int = 0) -> Signatures:
    """MinHash signatures.

    Args:
        flat: the n-grams of all texts, one after another.
        ends: (texts,), where each text's end.

    Returns:
        (texts, SLOTS); the share of equal slots of two estimates their Jaccard similarity.

    Raises:
        MissingDependencyError: rensa is not installed.
    """
    try:
        from rensa import RMinHash
    except ImportError as error:
        raise MissingDependencyError(
            'near duplicates need the package rensa. Run: pip install "lusirag[train]"'
        ) from error
    offsets = np.concatenate([np.zeros(1, np.int64), ends]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(np.ascontiguousarray(flat), offsets, SLOTS, seed)
    return np.array(matrix.to_rows(), dtype=np.uint32).reshape(len(ends), SLOTS)


def band_rows(threshold: float) -> int:
    """How many slots make a band: as many as leave a pair at the threshold its chance of 0.99 to be found."""
    for rows in range(16, 1, -1):
        if 1 - (1 - threshold**rows) ** (SLOTS // rows) >= _RECALL:
            return rows
    return 1


def _groups(signatures: Signatures, usable: npt.NDArray[np.bool_], threshold: float) -> dict[int, list[int]]:
    """The rows that are equal to another in some band, in order, with the numbers of their bands' groups."""
    width, rows = band_rows(threshold), np.flatnonzero(usable)
    groups: dict[int, list[int]] = defaultdict(list)
    number = 0
    for start in range(0, SLOTS - width + 1, width):
        band = np.zeros(len(rows), dtype=np.uint64)
        for column in range(start, start + width):
            band = band * np.uint64(0x9E3779B97F4A7C15) + signatures[rows, column]
        order = np.argsort(band, kind="stable")
        sorted_band = band[order]
        begins = np.flatnonzero(np.concatenate([[True], sorted_band[1:] != sorted_band[:-1]]))
        lengths = np.diff(np.append(begins, len(order)))
        for begin, length in zip(begins[lengths > 1], lengths[lengths > 1], strict=True):
            for row in rows[order[begin : begin + length]].tolist():
                groups[row].append(number)
            number += 1
    return dict(sorted(groups.items()))
