"""What an index costs beyond embedding, and how much memory a build takes.

    python -m benchmarks.build
    python -m benchmarks.build --documents 2000 --rounds 1             # a quick look
    python -m benchmarks.build --synthetic 1000000 --ann ivf-pq --json figures.json

Embeds package descriptions (ddtp.parquet of the development sets, else made-up sentences) with lusifer-mini twice by
turns: the passages alone, piece by piece as a build hands them to the embedder, and by a whole `Index.add` that reads
them from a file, identifies languages, splits, and counts terms for lexical search too. Then the same with random
vectors, which take next to no time, in a process of its own: what the index itself costs a passage. With --synthetic
nothing but made-up documents with random vectors is indexed, in this process, whose peak memory is printed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lusirag.corpus import Corpus
from lusirag.embedding.tokenizer_only import TokenizerOnly
from lusirag.index import AddReport, Index
from lusirag.types import Encoder, Vectors

MODEL = "lusifer-mini"
ROWS = 1024  # of a batch of made-up documents


class RandomVectors:
    """Gives every text a random vector and remembers the pieces it was given; satisfies lusirag.types.Encoder.

    With a model it has its tokenizer, so that an index splits documents and counts terms as for the model itself.
    """

    name, fingerprint, max_tokens = "random", "random-1", 512

    def __init__(self, *, dimension: int | None = None, model: TokenizerOnly | None = None) -> None:
        self.dimension = dimension or (model.dimension if model else 384)
        self.pieces: list[list[str]] | None = None if model is None else []
        if model is not None:
            self.tokenizer, self.max_passage_tokens = model.tokenizer, model.max_passage_tokens
        self._random = np.random.default_rng(0)

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        del instruction
        return self.encode_documents(texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        if self.pieces is not None:
            self.pieces.append(list(texts))
        vectors = self._random.standard_normal((len(texts), self.dimension), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    """Embed alone, build, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2, help="of both, by turns (default: %(default)s)")
    parser.add_argument("--synthetic", type=int, metavar="N", help="only N made-up documents with random vectors")
    parser.add_argument("--dimension", type=int, default=384, help="of --synthetic (default: %(default)s)")
    parser.add_argument("--ann", default="auto", help="how --synthetic is searched (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    if options.synthetic:
        figures = synthetic(options.synthetic, options.dimension, options.ann)
    else:
        figures = beyond_embedding(options.documents, options.rounds)
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def beyond_embedding(count: int, rounds: int) -> dict[str, Any]:
    """Seconds of embedding alone and of a build, by turns, and what a build costs without embedding."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "descriptions.parquet"
        write_descriptions(source, count)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as aside:
            index_alone, pieces = aside.submit(build_alone, source).result()
        alone, whole = by_turns(source, pieces, rounds)
    from benchmarks.sets import environment

    passages = sum(map(len, pieces))
    return {
        "environment": environment(),
        "documents": index_alone["documents"],
        "passages": passages,
        "embedding_seconds": [round(seconds, 2) for seconds in alone],
        "build_seconds": [round(seconds, 2) for seconds in whole],
        "embedding_ms_a_passage": round(1e3 * sum(alone) / rounds / passages, 3),
        "beyond_embedding": round(sum(whole) / sum(alone) - 1, 4),
        "with_random_vectors": index_alone,
    }


def by_turns(source: Path, pieces: Sequence[Sequence[str]], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of each round: of embedding the pieces, and of building an index; every other round the other way."""
    from lusirag import Embedder

    embedder = Embedder.load(MODEL)
    embedder.encode_documents(pieces[0])

    def embed() -> None:
        for piece in pieces:
            embedder.encode_documents(piece)

    seconds: dict[str, list[float]] = {"embed": [], "build": []}
    for number in range(rounds):
        for name in ("embed", "build") if number % 2 == 0 else ("build", "embed"):
            print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
            started = time.perf_counter()
            if name == "embed":
                embed()
            else:
                build(source, embedder)
            seconds[name].append(time.perf_counter() - started)
    return seconds["embed"], seconds["build"]


def build(source: Path, embedder: Encoder) -> AddReport:
    """Index a file."""
    with tempfile.TemporaryDirectory() as folder, Index.create(Path(folder) / "index", embedder) as index:
        return index.add(Corpus([source]))


def build_alone(source: Path) -> tuple[dict[str, Any], list[list[str]]]:
    """What a build costs with random vectors; also the pieces in which passages are embedded."""
    embedder = RandomVectors(model=TokenizerOnly.load(MODEL))
    build(source, embedder)  # loads the language model, and much else
    assert embedder.pieces is not None
    embedder.pieces.clear()
    started = time.perf_counter()
    report = build(source, embedder)
    seconds = time.perf_counter() - started
    return {
        "documents": report.documents,
        "seconds": round(seconds, 2),
        "ms_a_passage": round(1e3 * seconds / report.passages, 3),
        "peak_memory_mb": peak_memory_mb(),
    }, embedder.pieces


def synthetic(count: int, dimension: int, ann: str) -> dict[str, Any]:
    """Index made-up documents, without lexical search."""
    embedder = RandomVectors(dimension=dimension)
    with (
        tempfile.TemporaryDirectory() as folder,
        Index.create(Path(folder) / "index", embedder, ann=ann, chunk_tokens=0) as index,
    ):
        before, started = peak_memory_mb(), time.perf_counter()
        index.add(made_up(count))
        seconds = time.perf_counter() - started
        facts = index.info()
        return {
            "documents": facts["documents"],
            "dimension": dimension,
            "ann": ann,
            "structures": facts["ann"]["structures"],
            "seconds": round(seconds, 1),
            "documents_per_second": round(count / seconds),
            "index_mb": round(facts["bytes"] / 1e6),
            "peak_memory_mb_before": before,
            "peak_memory_mb": peak_memory_mb(),
        }


def made_up(count: int) -> Iterator[pa.RecordBatch]:
    """Short documents in batches."""
    for start in range(0, count, ROWS):
        numbers = range(start, min(start + ROWS, count))
        texts = [f"Document {number} says that every person has a right to education." for number in numbers]
        columns = {"id": [str(number) for number in numbers], "text": texts, "language": ["en"] * len(numbers)}
        yield pa.RecordBatch.from_pydict(columns)


def write_descriptions(target: Path, count: int) -> None:
    """English and German package descriptions, or made-up sentences where the development sets are not at hand."""
    from benchmarks.sets import find_sets

    folder = find_sets()
    if folder is None:
        table = pa.Table.from_batches(made_up(count)).drop_columns(["language"])
    else:
        table = pq.read_table(folder / "ddtp.parquet").drop_columns(["parallel_id"])
        table = table.filter(pc.is_in(table["lang"], pa.array(["en", "de"]))).slice(0, count)
    pq.write_table(table, target)


def peak_memory_mb() -> int:
    """The most memory this process has had, mapped files included."""
    status = Path("/proc/self/status")
    if status.exists():  # NOTE: the other figure begins with the parent's on Linux
        (line,) = [line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM")]
        return round(int(line.split()[1]) / 1024)
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(size / (2**20 if sys.platform == "darwin" else 1024))


if __name__ == "__main__":
    main()
