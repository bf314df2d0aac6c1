"""FAISS on a GPU beside the CPU: building structures, and searching, on the same made-up vectors in one run.

    python -m benchmarks.ann_gpu
    python -m benchmarks.ann_gpu --vectors 200000 --kinds flat ivf "IVF1024,PQ48" --json figures.json

Vectors of 384 numbers around 2,000 topics, float16, in segments as large as an index has them; queries are made in the
same way. For each kind (flat searches exactly): seconds to build the structures of all segments, by a GPU and by the
CPU; milliseconds until the first answer after opening, which includes the copy to the GPU; milliseconds of 1, 64 and
1,000 queries at once, ranked rows without documents, after a first time that is not counted; and how far the answers
agree: the share of the CPU's ten best that the GPU found too, the share of exact search's ten best that each found, and
the largest difference of a score.
Without a GPU both columns are the CPU's, to try the code.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lusirag.index import flat, gpu
from lusirag.index.ann.building import build, write_index
from lusirag.index.ann.kinds import factory
from lusirag.index.ann.nearest import nearest
from lusirag.index.ann.records import SearchSettings
from lusirag.index.ann.stored import StoredStructure
from lusirag.index.engine import load_faiss
from lusirag.index.ranking import Match
from lusirag.index.segment import largest_segment
from lusirag.index.tombstones import to_bitmap
from lusirag.index.vectors import StoredVectors
from lusirag.types import Vectors

DIMENSION, TOPICS, K = 384, 2000, 10
AT_ONCE = (1, 64, 1000)
SECONDS = 2.0  # after which a measurement is not repeated
REPEATS = 20

Answers = list[list[Match]]


def main() -> None:
    """Build, search, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--kinds", nargs="+", default=["flat", "ivf", "ivf-pq"])
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    figures: dict[str, Any] = {"environment": environment(), "vectors": options.vectors, "kinds": {}}
    print(json.dumps(figures["environment"]), flush=True)
    queries = made_up(max(AT_ONCE), seed=0)
    most = largest_segment(DIMENSION)
    parts = [
        StoredVectors(made_up(min(most, options.vectors - start), seed=1 + start).astype(np.float16))
        for start in range(0, options.vectors, most)
    ]
    segments = [flat.Candidates(part, to_bitmap(np.ones(len(part), dtype=np.bool_)), len(part)) for part in parts]
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as folder:
            figures["kinds"][kind] = compare(kind, segments, queries, Path(folder))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def environment() -> dict[str, Any]:
    """What it ran on."""
    faiss = load_faiss()
    name = None
    if faiss.get_num_gpus() and shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return {
        "python": platform.python_version(),
        "faiss": faiss.__version__,
        "gpu": name,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {faiss.omp_get_max_threads()} threads",
    }


def made_up(count: int, *, seed: int, topics: int = TOPICS) -> Vectors:
    """Unit vectors (count, DIMENSION) around topics."""
    centres = np.random.default_rng(12345).standard_normal((topics, DIMENSION), dtype=np.float32)
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((count, DIMENSION), dtype=np.float32)
    vectors += centres[random.integers(0, topics, count)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def topics_of(count: int, *, seed: int, topics: int = TOPICS) -> npt.NDArray[np.int64]:
    """The topic (count,) of each of them."""
    random = np.random.default_rng(seed)
    random.standard_normal((count, DIMENSION), dtype=np.float32)
    return random.integers(0, topics, count)


def compare(kind: str, segments: Sequence[flat.Candidates], queries: Vectors, folder: Path) -> dict[str, Any]:
    """One kind by both devices; each figure is printed as soon as it is there."""
    devices = {"cpu": "cpu", "gpu": "gpu" if load_faiss().get_num_gpus() else "cpu"}
    figures: dict[str, Any] = {}

    def tell(name: str, values: dict[str, Any]) -> None:
        figures[name] = values
        print(json.dumps({kind: {name: values}}), flush=True)

    names = [factory(kind, part.rows, DIMENSION) for part in segments]
    structures: list[Callable[[], StoredStructure | None]] = [lambda: None for _ in segments]
    if kind != "flat":
        built: dict[str, list[Any]] = {}
        taken = {}
        for label, device in devices.items():
            use(device)
            if device == "gpu":  # what is done once a process: the driver, and the code that goes to the GPU
                build("IVF8,SQ8", StoredVectors(made_up(1000, seed=7)))
            started = time.perf_counter()
            built[label] = [build(str(name), part.vectors) for name, part in zip(names, segments, strict=True)]
            taken[label] = time.perf_counter() - started
        tell("build_seconds", with_ratio(taken))
        structures = [
            written(folder, number, str(name), index, part.vectors)
            for number, (name, index, part) in enumerate(zip(names, built["gpu"], segments, strict=True))
        ]
    answers = {label: search(device, segments, structures, queries, tell, label) for label, device in devices.items()}
    for count in AT_ONCE:
        both = {label: figures[f"{label}_ms"][str(count)] for label in devices}
        tell(f"{count}_at_once_ms", with_ratio(both))
    scores = {label: [{(m.segment, m.row): m.score for m in each} for each in answers[label]] for label in answers}
    differences = [
        abs(score - theirs[place])
        for ours, theirs in zip(scores["cpu"], scores["gpu"], strict=True)
        for place, score in ours.items()
        if place in theirs
    ]
    tell(
        "agreement",
        {"gpu_of_cpu": round(share(answers["gpu"], answers["cpu"]), 5), "largest_difference": max(differences)},
    )
    if kind != "flat":
        use("cpu")
        true = flat.nearest(segments, queries[:200], K)
        tell("recall_at_10", {label: round(share(each[:200], true), 4) for label, each in answers.items()})
    return figures


def written(folder: Path, number: int, name: str, index: Any, vectors: StoredVectors) -> Callable[[], StoredStructure]:
    """Write a structure as an index does; return what opens it."""
    record = write_index(folder, f"{number}.faiss", index)
    return lambda: StoredStructure(folder, record, name, vectors)


def search(
    device: str,
    segments: Sequence[flat.Candidates],
    structures: Sequence[Callable[[], StoredStructure | None]],
    queries: Vectors,
    tell: Callable[[str, dict[str, Any]], None],
    label: str,
) -> Answers:
    """Answers of one device to all queries, from segments that are opened anew; tells how long they took."""
    use(device)
    opened = [part._replace(vectors=StoredVectors(part.vectors.codes)) for part in segments]
    used = [make() for make in structures]

    def ask(asked: Vectors) -> Answers:
        return nearest(opened, used, asked, K, SearchSettings())

    started = time.perf_counter()
    ask(queries[:1])
    taken: dict[str, Any] = {"first": round(1e3 * (time.perf_counter() - started), 1)}
    answers: Answers = []
    for count in AT_ONCE:
        ask(queries[:count])  # some of a GPU's kernels are made ready when they are first used
        times: list[float] = []
        while len(times) < REPEATS and sum(times) < SECONDS:
            start = (count * len(times)) % (len(queries) - count + 1)
            before = time.perf_counter()
            answers = ask(queries[start : start + count])
            times.append(time.perf_counter() - before)
        taken[str(count)] = round(1e3 * statistics.median(times), 3)
    tell(f"{label}_ms", taken)
    return answers


def share(found: Answers, true: Answers) -> float:
    """The part of the true matches that were found."""
    places = [[{match[:2] for match in matches} for matches in each] for each in (found, true)]
    return float(np.mean([len(ours & theirs) / len(theirs) for ours, theirs in zip(*places, strict=True)]))


def with_ratio(values: dict[str, float]) -> dict[str, float]:
    """Both devices' times, and how many times as long the CPU took."""
    return {name: round(value, 3) for name, value in values.items()} | {
        "ratio": round(values["cpu"] / values["gpu"], 2)
    }


def use(device: str) -> None:
    """Let lusirag build and search on it from now on."""
    os.environ[gpu.VARIABLE] = device


if __name__ == "__main__":
    main()
