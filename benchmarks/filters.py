"""One query with and without a filter, beside raw FAISS over the same vectors.

    python -m benchmarks.filters
    python -m benchmarks.filters --documents 1000000 --rounds 50 --json figures.json

Makes an index of random vectors with texts and metadata. Each round asks, by turns: FAISS's flat index, the index
without a filter, and with filters that keep half, a hundredth and a ten-thousandth of the documents, each as a filter
that was not seen before and again. Hits come with their documents; FAISS returns numbers alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np

from benchmarks.search_start import RandomVectors
from benchmarks.sets import environment
from lusirag import Document, Index

DIMENSION = 384
K = 10
# What each keeps, and SQL that is another text for every number.
FILTERS = {
    "50 %": "half = 0 AND {0} = {0}",
    "1 %": "name = 'name 7' AND {0} = {0}",
    "0.01 %": "rare = 7 AND {0} = {0}",
}


def main() -> None:
    """Index, search, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=100, help="queries of each kind (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    encoder: Any = RandomVectors(
        SimpleNamespace(name="random", fingerprint="random", dimension=DIMENSION, max_tokens=512)
    )
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary) / "index"
        with Index.create(directory, encoder, identify_languages=False) as made:
            made.add(documents(options.documents))
            made.compact()
        with Index.open(directory, encoder) as index:
            cold = timed(lambda: index.search_vectors(queries(1), K, where={"rare": 7}), [])
            flat = faiss.IndexFlatIP(DIMENSION)
            for segment in index._snapshot.segments:
                flat.add(segment.vectors.take())
            for query in queries(options.rounds + 3):
                ask(index, flat, query[None], seconds)
            segments = index.info()["segments"]
    figures = {
        "environment": environment() | {"faiss": faiss.__version__, "duckdb": version("duckdb")},
        "documents": options.documents,
        "dimension": DIMENSION,
        "segments": segments,
        "rounds": options.rounds,
        "first filter of the process, import of DuckDB included, ms": round(1000 * cold, 1),
        "one query": {kind: summary(taken[3:], seconds["raw FAISS"][3:]) for kind, taken in seconds.items()},
    }
    print(json.dumps(figures, indent=1, ensure_ascii=False))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")


def documents(count: int) -> Iterator[Document]:
    """Texts of some length with numbers and names as metadata."""
    for number in range(count):
        metadata = {"number": number, "half": number % 2, "name": f"name {number % 100}", "rare": number % 10_000}
        text = f"Passage {number}: every person has a right to education, which shall be free at the first stages."
        yield Document(id=f"document {number}", text=text, language="en", metadata=metadata)


def queries(count: int) -> Any:
    """Unit vectors (count, DIMENSION)."""
    vectors = np.random.default_rng(1).standard_normal((count, DIMENSION), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ask(index: Index, flat: Any, query: Any, seconds: dict[str, list[float]]) -> None:
    """One query of each kind."""
    number = len(seconds.get("raw FAISS", []))
    timed(lambda: flat.search(query, K), seconds.setdefault("raw FAISS", []))
    timed(lambda: index.search_vectors(query, K), seconds.setdefault("no filter", []))
    for share, text in FILTERS.items():
        where = text.format(number)
        for again in ("new", "again"):
            run = lambda where=where: index.search_vectors(query, K, where=where)  # noqa: E731
            timed(run, seconds.setdefault(f"keeps {share}, {again}", []))


def timed(run: Callable[[], Any], taken: list[float]) -> float:
    """Note how long something takes."""
    started = time.perf_counter()
    run()
    taken.append(time.perf_counter() - started)
    return taken[-1]


def summary(taken: list[float], raw: list[float]) -> dict[str, float]:
    """Milliseconds, and the median as a ratio to raw FAISS."""
    median, late = np.quantile(taken, [0.5, 0.95])
    return {
        "p50 ms": round(1000 * float(median), 2),
        "p95 ms": round(1000 * float(late), 2),
        "times raw FAISS": round(float(median) / float(np.median(raw)), 2),
    }


if __name__ == "__main__":
    main()
