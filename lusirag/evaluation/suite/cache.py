"""Rankings that were computed before, so that a run goes on where it was interrupted and a repetition costs nothing."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path

import numpy as np

from lusirag.evaluation.keeping import keeping
from lusirag.evaluation.suite.rankers import Ranker
from lusirag.evaluation.suite.task import SearchTask

_NONE = -1  # stands where a ranking ends


class RankingCache:
    """One small file for each task and model in a directory, named by what its content depends on.

    Args:
        directory: made when first needed. overwrite: rank anew what is there.
    """

    def __init__(self, directory: Path, *, overwrite: bool = False) -> None:
        self._directory = directory
        self._overwrite = overwrite

    def rank(self, ranker: Ranker, task: SearchTask, *, depth: int) -> list[list[int]]:
        """What `ranker.rank` returns, from the file or into it. A file that cannot be read is written anew."""
        file = self._directory / f"{_digest(ranker, task)}.npy"
        known = None if self._overwrite else _read(file, len(task.queries))
        if known is None or known.shape[1] < depth:
            known = _padded(ranker.rank(task, depth=depth), depth)
            _write(file, known)
        return [[number for number in row[:depth] if number != _NONE] for row in known.tolist()]


def _digest(ranker: Ranker, task: SearchTask) -> str:
    content = [ranker.fingerprint, task.queries, task.documents]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:32]


def _read(file: Path, queries: int) -> np.ndarray | None:
    try:
        found: np.ndarray = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.ndim == 2 and len(found) == queries and found.dtype == np.int32 else None


def _padded(ranked: list[list[int]], depth: int) -> np.ndarray:
    rows = np.full((len(ranked), depth), _NONE, dtype=np.int32)
    for row, found in zip(rows, ranked, strict=True):
        row[: len(found)] = found
    return rows


def _write(file: Path, rows: np.ndarray) -> None:
    """In one step, also beside another process that writes the same."""
    with keeping(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
        try:
            with temporary.open("wb") as stream:
                np.save(stream, rows, allow_pickle=False)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
