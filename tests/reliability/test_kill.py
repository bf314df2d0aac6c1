"""kill -9 at random moments: what was acknowledged is there, the rest is there or not, and work goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fake_embedder import WordEmbedder, documents

from lusirag.index import Index, verify_index
from lusirag.index.ann import kinds, nearest
from lusirag.index.staging import STAGING_FOLDER

KILLS = 200
STRUCTURE_KILLS = 30
BACKGROUND_KILLS = 60


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_every_acknowledged_change_survives_kill(tmp_path: Path) -> None:
    kill_often(tmp_path, "flat", KILLS, latest=0.25)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_so_it_does_where_search_is_approximate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "SMALLEST_SEGMENT", 64)
    monkeypatch.setattr(nearest, "EXACT_ROWS", 32)
    assert kill_often(tmp_path, "hnsw", STRUCTURE_KILLS, 64, latest=0.8) > STRUCTURE_KILLS // 4


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_so_it_does_while_segments_are_merged_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "SMALLEST_SEGMENT", 64)
    monkeypatch.setattr(nearest, "EXACT_ROWS", 32)
    left = []

    def look(path: Path) -> None:
        left.append((path / STAGING_FOLDER).exists())

    assert kill_often(tmp_path, "hnsw", BACKGROUND_KILLS, 64, "background", latest=0.8, look=look) > 0
    assert sum(left) > BACKGROUND_KILLS // 4  # killed while something was prepared
    assert not (tmp_path / "index" / STAGING_FOLDER).exists()


def kill_often(
    tmp_path: Path,
    ann: str,
    kills: int,
    *arguments: int | str,
    latest: float,
    look: Callable[[Path], None] = lambda _: None,
) -> int:
    """Kill a writer many times, `look` each time; return how often its index then had a search structure."""
    random = np.random.default_rng(2)
    path = tmp_path / "index"
    Index.create(path, WordEmbedder(), ann=ann)
    model: dict[str, int] = {}  # id -> version
    midway = structured = 0
    with writers(path, *arguments) as server:
        for seed in range(kills):
            lines = run_and_kill(server, seed, after=float(random.uniform(0.005, latest)))
            midway += lines[-1] != "done"
            look(path)
            assert verify_index(path).problems == []
            index = Index.open(path, WordEmbedder())
            replay(index, model, lines)
            structured += "HNSW32,SQ8" in index.info()["ann"]["structures"]
            assert len(index.search("anything", k=3)) == min(3, len(index))
            version = 1_000_000 + seed
            index.add(documents(range(0, 1400, 100), version))
            model.update({f"d{number}": version for number in range(0, 1400, 100)})
            assert versions(index) == model
    assert midway > kills // 4
    return structured


@contextmanager
def writers(path: Path, *arguments: int | str) -> Iterator[subprocess.Popen[str]]:
    """What starts processes that change the index, one for each seed it is told."""
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("index_writer.py")), str(path), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # On a busy machine FAISS's threads wait for each other longer than these few passages take.
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with server:
        yield server
        assert server.stdin is not None
        server.stdin.close()


def run_and_kill(server: subprocess.Popen[str], seed: int, *, after: float) -> list[str]:
    """Let a process change the index for some seconds, kill it, and return what it said."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(f"{seed}\n")
    server.stdin.flush()
    ready, pid = server.stdout.readline().split()
    assert ready == "ready"
    time.sleep(after)
    os.kill(int(pid), signal.SIGKILL)
    lines = list(iter(lambda: server.stdout.readline().removesuffix("\n"), "ended"))
    return lines[:-1] or ["done"]  # the last one is empty, or half a line that acknowledges nothing


def replay(index: Index, model: dict[str, int], lines: list[str]) -> None:
    """Bring the model up to date; the change that was cut off may have happened in part."""
    current: tuple[str, range, int] | None = None
    durable = 0
    for line in lines:
        kind, *rest = line.split()
        if kind == "begin":
            current, durable = (rest[0], range(int(rest[1]), int(rest[2])), int(rest[3])), 0
        elif kind == "durable":
            durable = int(rest[0])
        elif current is not None:
            apply(model, *current)
            current = None
    found = versions(index)
    if current is not None:
        operation, numbers, version = current
        apply(model, operation, numbers[:durable] if operation == "add" else range(0), version)
        names = {f"d{number}" for number in numbers} if operation != "compact" else set()
        changed = {name for name in names if found.get(name) != model.get(name)}
        if operation == "delete":
            assert changed in (set(), names & set(model))
        for name in changed:
            assert found.get(name) == (version if operation == "add" else None)
            apply(model, operation, range(int(name[1:]), int(name[1:]) + 1), version)
    assert found == model


def apply(model: dict[str, int], operation: str, numbers: range, version: int) -> None:
    for number in numbers:
        if operation == "add":
            model[f"d{number}"] = version
        elif operation == "delete":
            model.pop(f"d{number}", None)


def versions(index: Index) -> dict[str, int]:
    hits = index.search("everything", k=100_000)
    names = {hit.id for hit in hits}
    assert len(names) == len(hits) == len(index)
    for number in range(0, 100, 9):
        lexical = {hit.id for hit in index.search(str(number), k=100_000, mode="lexical")}
        assert (f"d{number}" in lexical) == (f"d{number}" in names)
        assert lexical <= names
    return {hit.id: int(hit.text.rpartition(" ")[2]) for hit in hits}
