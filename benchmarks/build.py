"""What an index costs beyond embedding, and how much memory a build takes.

    python -m benchmarks.build
    python -m benchmarks.build --titles                                 # short texts: embedding hides least
    python -m benchmarks.build --documents 2000 --turns 2               # a quick look
    python -m benchmarks.build --synthetic 1000000 --ann ivf-pq --json figures.json

Embeds English and German package descriptions (ddtp.parquet of the development sets, else made-up sentences) with
lusifer-mini twice: the passages alone, piece by piece as a build hands them to the embedder, and by an `Index.add` that
reads them from a file, identifies languages, splits, and counts terms for lexical search too. Both by turns, a part of
the documents each, so that a machine's other work falls on both. Then the same with random vectors, which take next to
no time, in a process of its own: what the index itself costs a passage. With --synthetic nothing but made-up documents
with random vectors is indexed, in this process, whose peak memory is printed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from operator import truediv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.search_start import RandomVectors
from benchmarks.sets import environment, find_sets
from lusirag import Embedder
from lusirag.corpus import Corpus
from lusirag.embedding.tokenizer_only import TokenizerOnly
from lusirag.index import Index
from lusirag.types import Document, Vectors

MODEL = "lusifer-mini"
ROWS = 1024  # of a batch of made-up documents


class Recording(RandomVectors):
    """Random vectors in the name of a model, whose tokenizer it has; remembers the pieces that it was given."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.tokenizer, self.max_passage_tokens = model.tokenizer, model.max_passage_tokens
        self.pieces: list[list[str]] = []

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        self.pieces.append(list(texts))
        return super().encode_documents(texts)


def main() -> None:
    """Embed alone, build, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument(
        "--turns", type=int, default=10, help="parts, each of which is done twice (default: %(default)s)"
    )
    parser.add_argument("--titles", action="store_true", help="embed the titles of the descriptions alone")
    parser.add_argument("--synthetic", type=int, metavar="N", help="only N made-up documents with random vectors")
    parser.add_argument("--dimension", type=int, default=384, help="of --synthetic (default: %(default)s)")
    parser.add_argument("--ann", default="auto", help="how --synthetic is searched (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    if options.synthetic:
        figures = synthetic(options.synthetic, options.dimension, options.ann)
    else:
        figures = beyond_embedding(options.documents, options.turns, titles=options.titles)
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def beyond_embedding(count: int, turns: int, *, titles: bool) -> dict[str, Any]:
    """Seconds of embedding alone and of a build, by turns, and what a build costs without embedding."""
    with tempfile.TemporaryDirectory() as folder:
        parts = list(write_parts(Path(folder), count, turns, titles=titles))
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as aside:
            index_alone, pieces = aside.submit(build_alone, parts).result()
        with Index.create(Path(folder) / "index", Embedder.load(MODEL)) as index:
            alone, whole = by_turns(index, parts, pieces)
    passages = sum(len(texts) for part in pieces for texts in part)
    return {
        "environment": environment(),
        "texts": "titles" if titles else "descriptions",
        "documents": count,
        "passages": passages,
        "embedding": {"seconds": round(alone.seconds, 2), "cpu_seconds": round(alone.cpu, 2)},
        "build": {"seconds": round(whole.seconds, 2), "cpu_seconds": round(whole.cpu, 2)},
        "embedding_ms_a_passage": round(1e3 * alone.seconds / passages, 3),
        "beyond_embedding": round(whole.seconds / alone.seconds - 1, 4),
        "beyond_embedding_median_turn": round(statistics.median(map(truediv, whole.laps, alone.laps)) - 1, 4),
        "beyond_embedding_cpu": round(whole.cpu / alone.cpu - 1, 4),
        "with_random_vectors": index_alone,
    }


def by_turns(index: Index, parts: Sequence[Path], pieces: Sequence[Sequence[Sequence[str]]]) -> tuple[Clock, Clock]:
    """Time to embed the pieces of each part, and to add it to an index; every other part the other way about."""
    alone, whole = Clock(), Clock()
    index.embedder.encode_documents(pieces[0][0])
    with tempfile.TemporaryDirectory() as folder, Index.create(Path(folder) / "index", index.embedder) as other:
        other.add([Document("a", "Loads the model that identifies languages, and much else.")])
    for number, (part, texts) in enumerate(zip(parts, pieces, strict=True)):
        for clock in (alone, whole) if number % 2 == 0 else (whole, alone):
            with clock:
                if clock is whole:
                    index.add(Corpus([part]))
                else:
                    for piece in texts:
                        index.embedder.encode_documents(piece)
        beyond = whole.laps[-1] / alone.laps[-1] - 1
        print(f"{number + 1}/{len(parts)}: {beyond:+.2%}", file=sys.stderr, flush=True)
    return alone, whole


class Clock:
    """Time and CPU time of `with` blocks.

    Attributes:
        laps: seconds of each.
        cpu: CPU seconds of all.
    """

    def __init__(self) -> None:
        self.laps: list[float] = []
        self.cpu = self._started = 0.0

    @property
    def seconds(self) -> float:
        """Of all laps."""
        return sum(self.laps)

    def __enter__(self) -> None:
        self.cpu -= time.process_time()
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.laps.append(time.perf_counter() - self._started)
        self.cpu += time.process_time()


def build_alone(parts: Sequence[Path]) -> tuple[dict[str, Any], list[list[list[str]]]]:
    """What a build costs with random vectors; also, for each part, the pieces in which passages are embedded."""
    embedder = Recording(TokenizerOnly.load(MODEL))
    pieces, clock = [], Clock()
    for timed in (False, True):  # the first time loads the language model, and much else
        with tempfile.TemporaryDirectory() as folder, Index.create(Path(folder) / "index", embedder) as index:
            for part in parts if timed else parts[:1]:
                embedder.pieces = []
                with clock if timed else nullcontext():
                    index.add(Corpus([part]))
                pieces.append(embedder.pieces)
            passages = index.info()["passages"]
    return {
        "seconds": round(clock.seconds, 2),
        "cpu_seconds": round(clock.cpu, 2),
        "ms_a_passage": round(1e3 * clock.seconds / passages, 3),
        "cpu_ms_a_passage": round(1e3 * clock.cpu / passages, 3),
        "peak_memory_mb": peak_memory_mb(),
    }, pieces[1:]


def synthetic(count: int, dimension: int, ann: str) -> dict[str, Any]:
    """Index made-up documents, without lexical search."""
    embedder: Any = RandomVectors(
        SimpleNamespace(name="random", fingerprint="random", dimension=dimension, max_tokens=512)  # type: ignore[arg-type]
    )
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


def write_parts(folder: Path, count: int, turns: int, *, titles: bool) -> Iterator[Path]:
    """Package descriptions in files of about one size; made-up sentences without the development sets."""
    sets = find_sets()
    if sets is None:
        table = pa.Table.from_batches(made_up(count)).drop_columns(["language"])
    else:
        table = pq.read_table(sets / "ddtp.parquet", columns=["id", "lang", "title", "text"])
        table = table.filter(pc.is_in(table["lang"], pa.array(["en", "de"]))).slice(0, count).drop_columns(["lang"])
        if titles:
            table = table.drop_columns(["text"]).rename_columns(["id", "text"])
    size = -(-table.num_rows // turns)
    for number in range(turns):
        target = folder / f"part-{number}.parquet"
        pq.write_table(table.slice(number * size, size), target)
        yield target


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
