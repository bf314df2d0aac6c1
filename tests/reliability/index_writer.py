"""Processes that change an index until they are killed, and say on standard output what is durable.

    python index_writer.py PATH [SMALLEST [background]]

For each line of standard input, a seed, it forks a process that has its imports done: "ready PID", then
"begin OPERATION FIRST STOP VERSION" before a change, "done" after it, "durable COUNT" while it adds. When that process
has ended: an empty line, so that the last one stands for itself however it broke off, and "ended".
Segments of SMALLEST passages and more get a search structure; merging and structures are left to the background when
told so.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "index"))

import numpy as np
from fake_embedder import WordEmbedder, documents

from lusirag.index import AddReport, Index, build
from lusirag.index.ann import kinds
from lusirag.index.engine import load_faiss
from lusirag.index.filters.database import cursor


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(path: str, *, background: bool) -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            change(path, int(line), background=background)
        os.waitpid(child, 0)
        say("\nended")


def change(path: str, seed: int, *, background: bool) -> None:
    random = np.random.default_rng(seed)
    index = Index.open(path, WordEmbedder(), background=background)
    version = 0
    with cursor():  # imports DuckDB now, so that the process is not killed while it does
        pass
    say(f"ready {os.getpid()}")
    while True:
        version += 1
        operation = str(random.choice(["add", "add", "delete", "compact"]))
        first = int(random.integers(0, 800))
        stop = first + int(random.integers(1, 600))
        say(f"begin {operation} {first} {stop} {version}")
        if operation == "add":

            def durable(report: AddReport) -> None:
                say(f"durable {report.committed}")

            index.add(documents(range(first, stop), version), progress=durable, commit_passages=100)
        elif operation == "delete":
            names = [f"d{number}" for number in range(first, stop)]
            if version % 2:
                index.delete(names)
            else:
                index.delete(where={"id": {"$in": names}})
        else:
            index.compact()
        say("done")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        load_faiss()
        kinds.SMALLEST_SEGMENT = int(sys.argv[2])
    if "background" in sys.argv:
        build.AT_ONCE = 0
    main(sys.argv[1], background="background" in sys.argv)
