"""An index that grows while it is searched: merging and structures within each change, or in the background.

    python -m benchmarks.maintenance
    python -m benchmarks.maintenance --documents 100000 --at-once 500 --json figures.json

Made-up vectors of 384 numbers (`benchmarks.ann`) come some at a time, and after each change some queries are answered
with ten documents each. For both ways, on the same documents: milliseconds of a change (median, 95th percentile, the
slowest) and of a query, seconds in all, until nothing is left to do in the background, and what the index then is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ann import LANGUAGES, TOPICS, Cones, K, documents
from benchmarks.sets import environment
from lusirag.index import Index
from lusirag.index.engine import load_faiss


def main() -> None:
    """Grow one index each way, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--at-once", type=int, default=500, help="documents of a change (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=10, help="after each change (default: %(default)s)")
    parser.add_argument("--ann", default="hnsw")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    figures: dict[str, Any] = {
        "environment": environment() | {"threads": load_faiss().omp_get_max_threads()},
        "documents": options.documents,
        "at_once": options.at_once,
        "ann": options.ann,
    }
    for name, background in (("within each change", False), ("in the background", True)):
        figures[name] = grow(options.documents, options.at_once, options.queries, options.ann, background=background)
        print(json.dumps({name: figures[name]}), flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    print(json.dumps(figures["environment"]))


def grow(count: int, at_once: int, queries: int, ann: str, *, background: bool) -> dict[str, Any]:
    """Add `count` documents, `at_once` at a time, each time with some queries after it."""
    encoder = Cones()
    asked = encoder.encode_queries(
        [f"{n % len(LANGUAGES)} {(7 * n) % TOPICS} {10**9 + n}" for n in range(queries * (count // at_once))]
    )
    arriving = list(documents(count))
    changes, searches = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        Index.create(Path(folder) / "i", encoder, ann=ann, identify_languages=False, background=background) as index,
    ):
        began = time.perf_counter()
        for number in range(count // at_once):
            started = time.perf_counter()
            index.add(arriving[number * at_once :][:at_once])
            changes.append(time.perf_counter() - started)
            for vector in asked[number * queries :][:queries]:
                started = time.perf_counter()
                hits = index.search_vectors(vector[None], k=K)[0]
                searches.append(time.perf_counter() - started)
                assert len(hits) == K
        growing = time.perf_counter() - began
        index.wait()
        facts = index.info()
        return {
            "change_ms": spread(changes),
            "query_ms": spread(searches),
            "growing_s": round(growing, 1),
            "until_all_is_done_s": round(time.perf_counter() - began, 1),
            "structures": facts["ann"]["structures"],
        }


def spread(seconds: list[float]) -> dict[str, float]:
    """Milliseconds: the median, the 95th percentile and the most."""
    shares = {"p50": 0.5, "p95": 0.95, "max": 1.0}
    return {name: round(1e3 * float(np.quantile(seconds, share)), 2) for name, share in shares.items()}


if __name__ == "__main__":
    main()
