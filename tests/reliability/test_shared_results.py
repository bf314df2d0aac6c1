"""Several processes and threads that keep their results in one place."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

from lusirag.evaluation.suite.cache import RankingCache
from lusirag.evaluation.suite.rankers import DenseRanker
from lusirag.evaluation.suite.task import SearchTask
from tests.hashing_encoder import HashingEncoder

ROOT = Path(__file__).resolve().parents[2]
BENCHMARK = """
import json, sys
from pathlib import Path
from lusirag.evaluation.benchmark import Benchmark, BenchmarkEncoder, BenchmarkTask, run_benchmark
from tests.hashing_encoder import HashingEncoder
from tests.mteb_tasks import load_local

names = ["LocalSTS", "LocalRetrieval", "LocalPairs", "LocalClassification"]
tasks = tuple(BenchmarkTask(name, "sts", tuple(sys.argv[2:]), None) for name in names)
local = Benchmark("local", "Local", tasks, {"en": ("eng",), "sw": ("swa", "swh"), "fr": ("fra",)})
run = run_benchmark(local, BenchmarkEncoder(HashingEncoder()), cache=Path(sys.argv[1]), load_task=load_local)
print(json.dumps({"scores": sorted([s.task, s.language, s.score] for s in run.scores), "failures": dict(run.failures)}))
"""


def start(cache: Path, *languages: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BENCHMARK, str(cache), *languages]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> dict[str, list[list[object]]]:
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    found: dict[str, list[list[object]]] = json.loads(out.splitlines()[-1])
    return found


def test_two_processes_that_run_one_benchmark_lose_nothing(tmp_path: Path) -> None:
    both = [start(tmp_path / "shared", "en"), start(tmp_path / "shared", "sw", "fr")]
    found = [finished(process) for process in both]
    assert [one["failures"] for one in found] == [{}, {}]
    assert [len(one["scores"]) for one in found] == [4, 8]
    alone = finished(start(tmp_path / "alone", "en", "sw", "fr"))
    assert sorted([*found[0]["scores"], *found[1]["scores"]]) == alone["scores"]


def test_threads_that_rank_the_same_tasks_write_one_whole_file_each(tmp_path: Path) -> None:
    texts = tuple(f"text number {number}" for number in range(50))
    right = tuple(frozenset([number]) for number in range(50))
    tasks = [
        SearchTask("s", "x2x", str(at), False, texts[at:], texts, right[at:], texts[at:]) for at in range(20)
    ]  # fmt: skip
    plain = [DenseRanker(HashingEncoder()).rank(task, depth=10) for task in tasks]
    found: list[list[list[list[int]]]] = []

    def rank() -> None:
        cache, ranker = RankingCache(tmp_path), DenseRanker(HashingEncoder())
        found.append([cache.rank(ranker, task, depth=10) for task in tasks])

    threads = [threading.Thread(target=rank) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [plain] * 6
    assert len(list(tmp_path.iterdir())) == 20
