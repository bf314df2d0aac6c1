"""`lusirag search` as a user waits for it: from the start of the process to the printed hits.

    python -m benchmarks.search_start
    python -m benchmarks.search_start --documents 100000 --runs 15 --json figures.json

Makes an index of package synopses (ddtp.parquet of the development sets, else made-up sentences), repeated with a
number until there are enough. Its vectors are random: how long a search takes does not depend on what they mean.
Then runs the command several times in processes of their own, in both runtimes by turns, on a warm disk and with
compiled modules, as an installation has them (a first run in each runtime writes them and is not counted).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.sets import environment, find_sets
from lusirag import Document, Embedder, Index
from lusirag.types import Vectors

QUERY = "Kila mtu ana haki ya kupata elimu?"


class RandomVectors:
    """Passes for an embedder and gives every text a random vector; satisfies lusirag.types.Encoder."""

    def __init__(self, embedder: Embedder) -> None:
        self.name, self.fingerprint = embedder.name, embedder.fingerprint
        self.dimension, self.max_tokens = embedder.dimension, embedder.max_tokens
        self.tokenizer = getattr(embedder, "tokenizer", None)  # for a lexical part, as a user's index has
        self._random = np.random.default_rng(0)

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        del instruction
        return self.encode_documents(texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        vectors = self._random.standard_normal((len(texts), self.dimension), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    """Index, search, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=9, help="of each runtime (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"onnx": [], "torch": []}
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary) / "index"
        with Index.create(directory, RandomVectors(Embedder.load("lusifer-mini")), chunk_tokens=0) as index:
            index.add(documents(options.documents))
        for run in range(options.runs + 1):
            for runtime, taken in seconds.items():
                needed = search(directory, runtime, modules=Path(temporary) / "modules")
                if run:
                    taken.append(needed)
    figures = {
        "environment": environment(),
        "documents": options.documents,
        "runs": options.runs,
        "seconds": {runtime: {"median": round(statistics.median(taken), 3), "least": round(min(taken), 3)}
                    for runtime, taken in seconds.items()},
        "ratio": round(statistics.median(seconds["torch"]) / statistics.median(seconds["onnx"]), 2),
    }  # fmt: skip
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def documents(count: int) -> Iterator[Document]:
    """Short real texts, each with a number."""
    texts = ["Every person has a right to education."]
    if folder := find_sets():
        texts = pq.read_table(folder / "ddtp.parquet", columns=["title"]).column(0).to_pylist()
    for number in range(count):
        text = f"{texts[number % len(texts)]} {number}"
        yield Document(id=str(number), text=text, language="en", metadata={"number": number})


def search(directory: Path, runtime: str, *, modules: Path) -> float:
    """Seconds from the start of the process to its end, ten hits printed in between; `modules` are compiled ones."""
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    surroundings["PYTHONPYCACHEPREFIX"] = str(modules)
    command = [sys.executable, "-m", "lusirag", "search", str(directory), QUERY, "--runtime", runtime]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=surroundings)
    taken = time.perf_counter() - started
    if "score" not in done.stdout:
        sys.exit(f"no hits: {done.stdout} {done.stderr}")
    return taken


if __name__ == "__main__":
    main()
