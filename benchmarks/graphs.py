"""How well HNSW finds through links that something else than FAISS has found, as `lusirag.index.cagra` makes them.

    python -m benchmarks.graphs
    python -m benchmarks.graphs --vectors 699264 --topics 2000 --ways cagra without-random without-spare codes

Vectors of 384 numbers around topics, float16, in one HNSW index (HNSW32,SQ8), and 500 queries made in the same
way. For each way to link them: seconds to link and to put the index together, the share of links between passages of
different topics, and recall@10 against exact search, the candidates scored again as an index does, for several ef.

    faiss            as FAISS links them on a CPU
    nearest          each with its 64 nearest, found by exact search
    nearest-random   the same, the last four of them random ones
    cagra            as lusirag links them on a GPU: by cuVS's NN-descent
    without-random   the same without random links
    without-spare    the same without random links, and without the copies that NN-descent needs to begin well
    codes            without random links, by lists of product codes, as FAISS does if nothing is said

The last four need a GPU and FAISS with cuVS.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.ann_gpu import DIMENSION, environment, made_up, topics_of, use
from lusirag.index import cagra, gpu
from lusirag.index.ann.building import build
from lusirag.index.ann.linking import assemble
from lusirag.index.engine import load_faiss
from lusirag.index.vectors import StoredVectors
from lusirag.types import Vectors

HNSW, DEGREE, K, QUERIES = "HNSW32,SQ8", 64, 10, 500
EFS = (16, 32, 64, 128, 256)
ON_CPU = ("faiss", "nearest", "nearest-random")
ON_GPU = ("cagra", "without-random", "without-spare", "codes")

Links = npt.NDArray[np.int64]


def main() -> None:
    """Link, search, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vectors", type=int, default=60_000)
    parser.add_argument("--topics", type=int, default=300)
    parser.add_argument("--ways", nargs="+", choices=ON_CPU + ON_GPU, help="those that this machine can, if not given")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    gpus = ON_GPU if cagra.links_graphs() else ()
    figures: dict[str, Any] = {"environment": environment(), "vectors": options.vectors, "topics": options.topics}
    figures["ways"] = {}
    print(json.dumps(figures["environment"]), flush=True)
    stored = StoredVectors(made_up(options.vectors, seed=1, topics=options.topics).astype(np.float16))
    topics = topics_of(options.vectors, seed=1, topics=options.topics)
    queries = made_up(QUERIES, seed=0, topics=options.topics)
    true = exact(stored, queries, K)
    if gpus:
        cagra.links(stored.codes[:10_000], DEGREE)  # what is done once a process
    for way in options.ways or (*ON_CPU, *gpus):
        figures["ways"][way] = found = measured(way, stored, topics, queries, true)
        print(json.dumps({way: found}), flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def measured(
    way: str, stored: StoredVectors, topics: npt.NDArray[np.int64], queries: Vectors, true: Links
) -> dict[str, Any]:
    """The figures of one way."""
    started = time.perf_counter()
    links = None if way == "faiss" else WAYS[way](stored)
    linked = time.perf_counter()
    index = by_faiss(stored) if links is None else put_together(stored, links)
    figures: dict[str, Any] = {"link_seconds": round(linked - started, 2)} if links is not None else {}
    figures["index_seconds"] = round(time.perf_counter() - linked, 2)
    if links is not None:
        sample = np.random.default_rng(0).integers(0, len(stored), 20_000)
        theirs = links[sample]
        there = (theirs >= 0) & (theirs < len(stored))
        other = topics[np.where(there, theirs, 0)] != topics[sample][:, None]
        figures["to_another_topic"] = round(float(other[there].mean()), 5)
    figures["recall_at_10"] = {ef: recall(index, stored, queries, true, ef) for ef in EFS}
    return figures


def by_faiss(stored: StoredVectors) -> Any:
    """An index that the CPU links."""
    use("cpu")
    return build(HNSW, stored)


def put_together(stored: StoredVectors, links: Links) -> Any:
    """An index over links."""
    faiss = load_faiss()
    index = faiss.index_factory(DIMENSION, HNSW, faiss.METRIC_INNER_PRODUCT)
    index.train(stored.take(slice(0, 40_000)))
    assemble(index, links, stored, 80)
    return index


def exact(stored: StoredVectors, queries: Vectors, k: int) -> Links:
    """The k nearest of each query (n, k)."""
    faiss = load_faiss()
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(stored.take())
    found: Links = index.search(queries, k)[1]
    return found


def recall(index: Any, stored: StoredVectors, queries: Vectors, true: Links, ef: int) -> float:
    """Of twice as many candidates, those that are best by their stored vectors, beside the true ones."""
    found: Links = index.search(queries, 2 * K, params=load_faiss().SearchParametersHNSW(efSearch=ef))[1]
    shares = []
    for query, rows, wanted in zip(queries, found, true, strict=True):
        rows = rows[rows >= 0]
        best = rows[np.argsort(-(stored.take(rows) @ query))[:K]]
        shares.append(len(set(best.tolist()) & set(wanted.tolist())) / K)
    return round(float(np.mean(shares)), 4)


def nearest(stored: StoredVectors) -> Links:
    """Of each vector the nearest others."""
    return exact(stored, stored.take(), DEGREE + 1)[:, 1:]


def nearest_random(stored: StoredVectors) -> Links:
    """The same, the last ones random."""
    links = nearest(stored)
    links[:, -4:] = np.random.default_rng(0).integers(0, len(stored), (len(stored), 4))
    return links


def by_cagra(stored: StoredVectors, random: int | None = None) -> Links:
    """As lusirag does."""
    links = cagra.links(stored.halves(), DEGREE, random)
    if links is None:
        raise SystemExit("the GPU failed")
    return links


def by_cuvs(stored: StoredVectors, algorithm: str) -> Links:
    """As FAISS's class does, without what lusirag does about it."""
    faiss = load_faiss()
    config = faiss.GpuIndexCagraConfig()
    config.graph_degree, config.intermediate_graph_degree = DEGREE, 2 * DEGREE
    config.build_algo = getattr(faiss, f"graph_build_algo_{algorithm}")
    config.store_dataset = False
    index = faiss.GpuIndexCagra(gpu.new_resources(), DIMENSION, faiss.METRIC_L2, config)
    index.train(stored.halves(), numeric_type=faiss.Float16)
    found: Links = faiss.vector_to_array(index.get_knngraph())
    return found.reshape(len(stored), -1)


WAYS: dict[str, Callable[[StoredVectors], Links]] = {
    "nearest": nearest,
    "nearest-random": nearest_random,
    "cagra": by_cagra,
    "without-random": lambda stored: by_cagra(stored, 0),
    "without-spare": lambda stored: by_cuvs(stored, "NN_DESCENT"),
    "codes": lambda stored: by_cuvs(stored, "IVF_PQ"),
}


if __name__ == "__main__":
    main()
