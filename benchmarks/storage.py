"""What storing vectors as float16 or in 8 bits costs and saves, beside float32.

    python -m benchmarks.storage
    python -m benchmarks.storage --passages 2000 --rows 20000 --rounds 5  # a quick look

Quality on real vectors: lusifer-mini embeds package synopses in many languages, and others as queries; how many of the
ten best by float32 are found, over all and in the language of the passages that fares worst, and how far a cosine moves
at most. Speed on made-up vectors of 384 numbers, in one segment: milliseconds to search them for one query and for 64
at once, by turns, beside FAISS's flat index over the same float32 vectors. And how many queries make matrix products
quicker than FAISS's pass over the codes: `scan.MANY`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow.parquet as pq

from benchmarks.sets import environment, require_sets
from lusirag import Embedder
from lusirag.index import flat, scan
from lusirag.index.tombstones import to_bitmap
from lusirag.index.vectors import STORAGES, StoredVectors, stored_as
from lusirag.types import Vectors

DIMENSION, K, MANY_QUERIES = 384, 10, 64
COUNTS = (1, 16, 32, 64, 128)


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--passages", type=int, default=20_000, help="that are embedded (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--rows", type=int, default=170_000, help="made-up vectors (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=30, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    figures: dict[str, Any] = {
        "environment": environment() | {"faiss": faiss.__version__, "threads": faiss.omp_get_max_threads()},
        "passages": options.passages,
        "queries": options.queries,
        "quality": quality(*real_vectors(options.passages, options.queries)),
        "rows": options.rows,
        "rounds": options.rounds,
        "speed": speed(options.rows, options.rounds),
        "one way or the other, ms": ways(options.rows),
    }
    print(json.dumps(figures, indent=1, ensure_ascii=False))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")


def real_vectors(passages: int, queries: int) -> tuple[Vectors, Vectors, list[str]]:
    """Vectors of passages and of queries, and the language of each passage."""
    table = pq.read_table(require_sets() / "ddtp.parquet", columns=["title", "lang"])
    chosen = np.random.default_rng(0).permutation(table.num_rows)[: passages + queries]
    texts, languages = (table.column(name).take(chosen).to_pylist() for name in ("title", "lang"))
    print(f"embedding {len(chosen):,} synopses", file=sys.stderr, flush=True)
    with Embedder.load("lusifer-mini") as embedder:
        documents = embedder.encode_documents(texts[:passages])
        return documents, embedder.encode_queries(texts[passages:]), languages[:passages]


def quality(documents: Vectors, queries: Vectors, languages: Sequence[str]) -> dict[str, Any]:
    """Recall of the ten best by float32, for each storage."""
    true = best_rows(StoredVectors(documents), queries)
    figures = {}
    for storage in STORAGES:
        stored = stored_as(storage, documents)
        found = best_rows(stored, queries)
        of: dict[str, list[bool]] = defaultdict(list)
        for wanted, rows in zip(true, found, strict=True):
            for row in wanted:
                of[languages[row]].append(row in rows)
        shares = {language: float(np.mean(hits)) for language, hits in of.items() if len(hits) >= 100}
        worst = min(shares, key=lambda language: shares[language])
        moved = np.abs(queries @ stored.take().T - queries @ documents.T)
        figures[storage] = {
            "bytes a passage": stored.codes.itemsize * stored.dimension,
            "recall@10": round(float(np.mean([hit for hits in of.values() for hit in hits])), 4),
            "worst language": f"{worst} {shares[worst]:.4f}",
            "a cosine moves by at most": float(f"{moved.max():.2g}"),
            "on average": float(f"{moved.mean():.2g}"),
        }
    return figures


def best_rows(vectors: StoredVectors, queries: Vectors) -> list[list[int]]:
    """The ten best rows of each query."""
    return [[match.row for match in matches] for matches in flat.nearest([everything(vectors)], queries, K)]


def everything(vectors: StoredVectors) -> flat.Candidates:
    """All rows, as search takes them."""
    return flat.Candidates(vectors, to_bitmap(np.ones(len(vectors), dtype=np.bool_)), len(vectors))


def speed(rows: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of one query and of 64, as ratios to FAISS's flat index in the same round."""
    vectors, queries = made_up(rows), made_up(rounds * MANY_QUERIES)
    reference = faiss.IndexFlatIP(DIMENSION)
    reference.add(vectors)
    searches: dict[str, Callable[[Vectors], Any]] = {"FAISS flat, float32": lambda asked: reference.search(asked, K)}
    for storage in STORAGES:
        part = everything(stored_as(storage, vectors))
        searches[storage] = lambda asked, part=part: flat.nearest([part], asked, K)  # type: ignore[misc]
    figures: dict[str, Any] = {}
    for count in (1, MANY_QUERIES):
        taken: dict[str, list[float]] = {name: [] for name in searches}
        for turn in range(rounds):
            asked = queries[turn * count : (turn + 1) * count]
            for name, search in searches.items():
                taken[name].append(milliseconds(search, asked))
        reference_ms = float(np.median(taken["FAISS flat, float32"]))
        for name, each in taken.items():
            median = float(np.median(each))
            figures.setdefault(name, {})[f"{count} at once"] = {
                "p50 ms": round(median, 2),
                "times FAISS flat": round(median / reference_ms, 2),
            }
    return figures


def ways(rows: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of FAISS's pass over the codes, and of products over blocks, by the number of queries."""
    vectors = made_up(rows)
    allowed = to_bitmap(np.ones(rows, dtype=np.bool_))
    figures: dict[str, dict[str, list[float]]] = {}
    for storage in STORAGES:
        stored = stored_as(storage, vectors)
        for count in COUNTS:
            asked = made_up(count)
            both = []
            for way in (scan._by_faiss, scan._by_products):
                run = lambda asked, way=way: way(asked, stored, K, allowed)  # noqa: E731, B023
                both.append(round(min(milliseconds(run, asked) for _ in range(4)), 1))
            figures.setdefault(storage, {})[f"{count} queries"] = both
    return figures


def made_up(rows: int) -> Vectors:
    """Unit vectors (rows, DIMENSION)."""
    vectors = np.random.default_rng(rows).standard_normal((rows, DIMENSION), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def milliseconds(search: Callable[[Vectors], Any], asked: Vectors) -> float:
    """How long something takes."""
    started = time.perf_counter()
    search(asked)
    return 1e3 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
