"""Kinds of approximate search beside each other, and beside FAISS itself on the same structures.

    python -m benchmarks.ann
    python -m benchmarks.ann --documents 1000000 --kinds hnsw ivf-pq --json figures.json

Vectors of 384 numbers: each language a cone, of unlike sizes; in it the passages, around topics in 48 directions that
all languages share, with noise in all 384; queries are made in the same way. For each kind: seconds to build, bytes of
the index and of what search keeps touching, milliseconds of one query and of 64 at once with ten documents returned
(rows_only: without them), beside FAISS searching the same structures with the same settings for as many candidates
(faiss: not scored again; faiss_refined: scored again by IndexRefine over the same stored vectors; no documents), by
turns of 16 queries one after another, or of 64 at once; seconds from opening the index to its first hits in a fresh
process, after imports; and recall@10 of the language that fares worst.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sets import environment
from lusirag.index import Index
from lusirag.index.ann.nearest import nearest
from lusirag.index.ann.records import SearchSettings
from lusirag.index.ann.stored import _parameters as parameters_of
from lusirag.index.engine import load_faiss
from lusirag.index.search import candidates
from lusirag.types import Document, Vectors

DIMENSION, LATENT, TOPICS = 384, 48, 1000
K = 10
LANGUAGES = {"en": 0.5, "de": 0.2, "ru": 0.15, "zh": 0.1, "sw": 0.05}  # shares of the passages
BATCH = 4096
IN_A_ROW = 16


class Cones:
    """Gives the n-th passage its vector, from its text; satisfies lusirag.types.Encoder."""

    name, fingerprint, dimension, max_tokens = "cones", "cones-1", DIMENSION, 512

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self._cones = random.standard_normal((len(LANGUAGES), DIMENSION), dtype=np.float32)
        self._topics = random.standard_normal((TOPICS, LATENT), dtype=np.float32)
        self._directions = random.standard_normal((LATENT, DIMENSION), dtype=np.float32) / math.sqrt(LATENT)

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        del instruction
        return self.encode_documents(texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        numbers = [tuple(map(int, text.split())) for text in texts]  # language, topic, number
        parts = (LATENT, DIMENSION)
        noise = np.stack([np.random.default_rng(each).standard_normal(sum(parts), np.float32) for each in numbers])
        languages, topics = ([each[place] for each in numbers] for place in (0, 1))
        content = (self._topics[topics] + noise[:, :LATENT]) @ self._directions
        vectors = 0.8 * self._cones[languages] + content + 0.3 * noise[:, LATENT:]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    """Build, search, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=512, help="that are timed (default: %(default)s)")
    parser.add_argument("--kinds", nargs="+", default=["flat", "hnsw", "ivf", "ivf-pq", "binary"])
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    faiss = load_faiss()
    figures: dict[str, Any] = {
        "environment": environment() | {"faiss": faiss.__version__, "threads": faiss.omp_get_max_threads()},
        "documents": options.documents,
        "dimension": DIMENSION,
        "kinds": {},
    }
    encoder = Cones()
    queries = [f"{n % len(LANGUAGES)} {(7 * n) % TOPICS} {10**9 + n}" for n in range(options.queries)]
    for kind in options.kinds:
        with (
            tempfile.TemporaryDirectory() as folder,
            Index.create(Path(folder) / "index", encoder, ann=kind, identify_languages=False) as index,
        ):
            print(f"{kind}: building", file=sys.stderr, flush=True)
            started = time.perf_counter()
            index.add(documents(options.documents))
            index.compact()
            figures["kinds"][kind] = {"build_seconds": round(time.perf_counter() - started, 1)}
            figures["kinds"][kind] |= measure(index, encoder, queries)
        print(json.dumps({kind: figures["kinds"][kind]}), flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    print(json.dumps(figures["environment"]))


def documents(count: int) -> Iterator[Document]:
    """Passages of all languages by their shares."""
    random = np.random.default_rng(1)
    names = list(LANGUAGES)
    languages = random.choice(len(names), count, p=list(LANGUAGES.values()))
    topics = random.integers(0, TOPICS, count)
    for number, (language, topic) in enumerate(zip(languages.tolist(), topics.tolist(), strict=True)):
        yield Document(str(number), f"{language} {topic} {number}", language=names[language])


def measure(index: Index, encoder: Cones, queries: Sequence[str]) -> dict[str, Any]:
    """Sizes, times and recall of an index."""
    facts = index.info()
    vectors = encoder.encode_queries(queries)
    found = {
        "structures": facts["ann"]["structures"],
        "index_bytes": facts["bytes"],
        "bytes_in_memory": facts["ann"]["memory"],
    }
    found["open_and_first_query_s"] = opening(index.path, vectors[0])
    parts, structures = candidates(index._snapshot, None), [part.structure for part in index._snapshot.segments]
    settings = SearchSettings(**facts["ann"]["settings"])
    searches: dict[str, Callable[[Vectors], Any]] = {
        "lusirag": lambda asked: index.search_vectors(asked, k=K),
        "rows_only": lambda asked: nearest(parts, structures, asked, K, settings),  # ranked rows, no documents
    }
    if raw := raw_search(index):
        searches |= {"faiss": raw, "faiss_refined": refined_search(index)}
    for count in (1, 64):
        taken = by_turns(searches, vectors, count)
        ours = np.median(taken["lusirag"])
        found[f"{count}_at_once"] = {f"{name}_p50_ms": round(float(np.median(each)), 3) for name, each in taken.items()}
        found[f"{count}_at_once"]["lusirag_p95_ms"] = round(float(np.quantile(taken["lusirag"], 0.95)), 3)
        if raw:
            theirs = np.median(taken["faiss"])
            found[f"{count}_at_once"] |= {
                "ratio": round(float(ours / theirs), 2),
                "overhead_ms": round(ours - theirs, 3),
            }
    record = index.measure_recall(sample=100)
    return found | {"worst_language": record.languages[0].language, "recall_at_10": round(record.worst, 4)}


def raw_search(index: Index) -> Callable[[Vectors], Any] | None:
    """FAISS alone over the same structures, one after another; None where all search is exact."""
    settings = SearchSettings(**index.info()["ann"]["settings"])
    used = [part.structure for part in index._snapshot.segments if part.structure is not None]
    if not used:
        return None
    faiss = load_faiss()
    for structure in used:
        structure.load()
    prepared = [
        (each._index, each.candidates_for(K, settings), parameters_of(faiss, each._index, settings, 1.0, None))
        for each in used
    ]
    return lambda asked: [found.search(asked, depth, params=chosen) for found, depth, chosen in prepared]


def refined_search(index: Index) -> Callable[[Vectors], Any]:
    """FAISS alone too, which also scores the candidates of each structure again by the vectors as they are stored."""
    settings = SearchSettings(**index.info()["ann"]["settings"])
    faiss = load_faiss()
    prepared = []
    for part in index._snapshot.segments:
        if (each := part.structure) is not None:
            refined = faiss.IndexRefine(each._index, part.vectors.flat_index)
            inner = parameters_of(faiss, each._index, settings, 1.0, None)
            factor = each.candidates_for(K, settings) / K
            prepared.append((refined, faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=inner)))
    return lambda asked: [found.search(asked, K, params=chosen) for found, chosen in prepared]


def by_turns(searches: dict[str, Callable[[Vectors], Any]], vectors: Vectors, count: int) -> dict[str, list[float]]:
    """Milliseconds of each search for `count` queries at once, after some to warm up.

    In a turn each answers IN_A_ROW queries one after another, as a server does, or those at once: what another has
    pushed out of the processor's caches is missed once, not by every query. Each is asked something else, so that
    none finds there what another has just read.
    """
    taken: dict[str, list[float]] = {name: [] for name in searches}
    parts = [vectors[start : start + count] for start in range(0, len(vectors) - count + 1, count)]
    in_a_row = max(1, IN_A_ROW // count)
    turns = len(parts) // in_a_row
    for turn in range(-3, turns):
        for place, (name, search) in enumerate(searches.items()):
            number = (turn + place * max(1, turns // len(searches))) % turns
            for asked in parts[number * in_a_row :][:in_a_row]:
                started = time.perf_counter()
                search(asked)
                if turn >= 0:
                    taken[name].append(1e3 * (time.perf_counter() - started))
    return taken


def opening(path: Path, vector: Vectors) -> float:
    """Seconds to open an index and answer one query in a process that has imported everything."""
    np.save(path.parent / "query.npy", vector[None])
    script = (
        "import sys, time, numpy as np, faiss\n"
        "from benchmarks.ann import Cones\n"
        "from lusirag.index import Index\n"
        "query, encoder = np.load(sys.argv[2]), Cones()\n"
        "started = time.perf_counter()\n"
        "assert len(Index.open(sys.argv[1], encoder).search_vectors(query, k=10)[0]) == 10\n"
        "print(time.perf_counter() - started)\n"
    )
    command = [sys.executable, "-c", script, str(path), str(path.parent / "query.npy")]
    seconds = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(5)]
    return round(float(np.median(seconds)), 3)


if __name__ == "__main__":
    main()
