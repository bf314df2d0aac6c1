"""Which rows of a source can be used, and the error for one that cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lusirag.errors import CorpusError
from lusirag_training.data.columns import Mask

OnError = Literal["stop", "skip"]


def judge(bad: Mapping[str, Mask], rows: int, place: str, start: int, on_error: OnError) -> tuple[Mask, Counter[str]]:
    """Which rows of a batch can be used.

    Raises:
        CorpusError: one cannot, with on_error="stop"; rows are counted from 1.
    """
    fine, reasons = np.ones(rows, dtype=np.bool_), Counter[str]()
    for reason, mask in bad.items():
        fresh = mask & fine
        if fresh.any():
            reasons[reason] += int(fresh.sum())
        fine &= ~mask
    if on_error == "stop" and reasons:
        row = int(np.argmin(fine))
        said = next(reason for reason, mask in bad.items() if mask[row])
        raise CorpusError(f"{place}, row {start + row + 1}: {said}; correct it, or leave such rows out: on_error=skip")
    return fine, reasons


def class_names(rows: Any) -> dict[str, list[str]]:
    """The names of the classes in those columns of a data set that store classes as numbers."""
    features = rows.features or {}
    return {name: list(feature.names) for name, feature in features.items() if hasattr(feature, "int2str")}


def nothing_left(source: str | Path, skipped: Mapping[str, int]) -> CorpusError:
    """The error for a source without a row that can be used."""
    reasons = ", ".join(f"{count:,} rows: {reason}" for reason, count in skipped.items()) or "it holds no rows"
    return CorpusError(f"{source}: no row can be used ({reasons}); give a source with queries and positives, or texts")
