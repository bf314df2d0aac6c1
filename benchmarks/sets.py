"""The development sets of the benchmarks: where they are, how a retrieval task on them is scored, and on what it ran.

The sets are parallel texts in many languages with a module `tasks.py` beside them (`load(name, language, direction)`).
They are not part of the repository: their folder is `<shared>/data/eval_dev`, with <shared> from LUSIRAG_SHARED or
`../shared`.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
import transformers

from lusirag.types import Encoder, Vectors

PAPER_LANGUAGES = ("en", "es", "ru", "fr", "vi", "fa", "id", "ar", "fi", "ko", "hi", "bn", "te", "sw")


class Score(NamedTuple):
    """How well one encoder did on one task: shares of queries, and how many there were."""

    recall_at_1: float
    mrr_at_10: float
    queries: int


def find_sets() -> Path | None:
    """Return the folder of the development sets, or None where they are not at hand."""
    shared = Path(os.environ.get("LUSIRAG_SHARED", Path(__file__).resolve().parents[1] / ".." / "shared"))
    folder = (shared / "data" / "eval_dev").resolve()
    return folder if (folder / "tasks.py").is_file() else None


def require_sets() -> Path:
    """Return the folder of the development sets.

    Raises:
        SystemExit: they are not at hand.
    """
    folder = find_sets()
    if folder is None:
        sys.exit("skipped everything: no development sets; set LUSIRAG_SHARED to the folder that holds data/eval_dev")
    return folder


def load_tasks(folder: Path) -> ModuleType:
    """Import the `tasks.py` of the development sets."""
    spec = importlib.util.spec_from_file_location("eval_dev_tasks", folder / "tasks.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"no tasks.py in {folder}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def score_task(
    encoder: Encoder,
    queries: list[tuple[str, str]],
    documents: list[tuple[str, str]],
    relevant: dict[str, set[str]],
) -> Score:
    """Rank all documents for each query by cosine similarity; recall@1 and MRR@10 of the first relevant one.

    A tie counts against the query: documents as similar as the relevant one are taken to stand before it.
    """
    query_vectors: Vectors = encoder.encode_queries([text for _, text in queries])  # (queries, dimension)
    document_vectors: Vectors = encoder.encode_documents([text for _, text in documents])  # (documents, dimension)
    column = {identifier: index for index, (identifier, _) in enumerate(documents)}
    similarity = query_vectors @ document_vectors.T
    ranks = []
    for row, (identifier, _) in zip(similarity, queries, strict=True):
        wanted = [column[document] for document in relevant[identifier]]
        best = row[wanted].max()
        ranks.append(1 + int((row >= best).sum()) - int((row[wanted] >= best).sum()))
    reciprocal = [1 / rank if rank <= 10 else 0.0 for rank in ranks]
    return Score(float(np.mean([rank == 1 for rank in ranks])), float(np.mean(reciprocal)), len(ranks))


def environment() -> dict[str, str]:
    """Versions and machine, to stand beside every figure."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {torch.get_num_threads()} threads",
    }
