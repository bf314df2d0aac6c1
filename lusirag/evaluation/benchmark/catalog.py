"""The benchmarks that lie in the package, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.benchmark.choosing import hint
from lusirag.evaluation.benchmark.definition import Benchmark, BenchmarkTask

_DATA = Path(__file__).resolve().parent / "data"
_NAMES = ("lusifer-paper", "lusifer-current", "lusifer-crosslingual", "miracl", "belebele")


def benchmark_names() -> tuple[str, ...]:
    """The names that `load_benchmark` takes."""
    return _NAMES


def load_benchmark(name: str) -> Benchmark:
    """Return a benchmark of the package.

    - lusifer-paper: the 122 data sets of the LUSIFER paper (arXiv 2501.00874, figure 2) by their original names.
    - lusifer-current: the same, each superseded data set replaced by its newest successor in mteb.
    - lusifer-crosslingual: the paper's five cross-lingual data sets; each counts once, under the tag "mul".
    - miracl: MIRACL's retrieval, against hard negatives, and reranking in 18 languages.
    - belebele: retrieval within each of Belebele's 122 languages and scripts.

    Raises:
        InvalidArgumentError: there is none of this name.
    """
    stored = _read(name)
    tasks = tuple(
        BenchmarkTask(task["name"], task["type"], tuple(task["languages"]), task["instruction"])
        for task in stored["tasks"]
    )
    codes = {tag: tuple(codes) for tag, codes in stored["codes"].items()}
    return Benchmark(stored["name"], stored["title"], tasks, codes, stored.get("monolingual", False))


def benchmark_notes(name: str) -> tuple[str, ...]:
    """Where a benchmark's facts come from, and what to know when its figures are compared; a sentence or two each.

    Raises:
        InvalidArgumentError: there is none of this name.
    """
    stored = _read(name)
    return (f"Sources: {stored['source']}.", *stored["notes"])


def _read(name: str) -> dict[str, Any]:
    if name not in _NAMES:
        raise InvalidArgumentError(f"there is no benchmark {name!r}{hint(name, _NAMES)}")
    stored: dict[str, Any] = json.loads((_DATA / f"{name}.json").read_text(encoding="utf-8"))
    return stored
