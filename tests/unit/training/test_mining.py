"""Hard negatives against brute force, the rules one by one, and what an interrupted run keeps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lusirag.errors import CorpusError, InvalidArgumentError
from lusirag.types import Vectors
from lusirag_training.preparation.mining import mine
from lusirag_training.preparation.mining_settings import MiningSettings
from tests.unit.training.planted import PlantedEmbedder, pairs_of, random_embedder

ROWS = [(f"query {n}", [f"passage {n}"] if n % 5 else [f"passage {n}", f"other {n}"]) for n in range(700)]
TEXTS = [text for query, positives in ROWS for text in (query, *positives)]


def negatives_of(out: Path) -> list[list[str]]:
    found: list[list[str]] = pq.read_table(out).column("negative").to_pylist()
    return found


def brute_force(
    embedder: PlantedEmbedder, rows: Sequence[tuple[str, list[str]]], ranks: tuple[int, int], ratio: float | None
) -> list[set[str]]:
    """All documents that may be negatives of each row, by numpy and nothing else."""
    documents = list(dict.fromkeys(text for _, positives in rows for text in positives))
    matrix = embedder.encode_documents(documents).astype(np.float64)
    allowed = []
    for query, positives in rows:
        scores = matrix @ embedder.encode_documents([query])[0]
        order = [at for at in np.argsort(-scores) if documents[at] not in positives][ranks[0] : ranks[1]]
        worst = min(scores[documents.index(text)] for text in positives)
        limit = np.inf if ratio is None else worst - (1 - ratio) * abs(worst)
        allowed.append({documents[at] for at in order if scores[at] <= limit})
    return allowed


@pytest.mark.parametrize("ratio", [None, 0.95])
def test_negatives_are_those_that_brute_force_allows(tmp_path: Path, ratio: float | None) -> None:
    embedder = random_embedder(TEXTS)
    settings = MiningSettings(negatives=4, ranks=(5, 25), max_ratio=ratio)
    report = mine(pairs_of(ROWS), embedder, tmp_path / "out.parquet", settings=settings)
    mined = negatives_of(tmp_path / "out.parquet")
    allowed = brute_force(embedder, ROWS, (5, 25), ratio)
    assert [len(set(some)) for some in mined] == [min(4, len(some)) for some in allowed]
    assert all(set(some) <= may for some, may in zip(mined, allowed, strict=True))
    assert report["negatives"] == sum(map(len, mined))
    assert report["documents"] == {"different": 840, "searched": 840}
    assert sum(report["score_histogram"]["negative"]) == report["negatives"]
    assert sum(report["score_histogram"]["positive"]) == 700
    if ratio is not None:
        assert report["left_out"]["too close by max_ratio"] > 0
        assert 0 < min(map(len, mined)) + 1 < 5, "for some rows too few are left"


def test_hardest_takes_the_first_and_all_other_columns_stay(tmp_path: Path) -> None:
    embedder = random_embedder(TEXTS)
    settings = MiningSettings(negatives=3, ranks=(2, 9), max_ratio=None, sampling="hardest")
    mine(pairs_of(ROWS), embedder, tmp_path / "out.jsonl", settings=settings)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["query"], row["positive"]) for row in rows] == ROWS
    allowed = brute_force(embedder, ROWS, (2, 5), None)
    assert [set(row["negative"]) for row in rows] == allowed


def test_a_draw_depends_on_the_seed_alone(tmp_path: Path) -> None:
    mined = []
    for name, seed, rows in (("a", 0, ROWS), ("b", 0, ROWS), ("c", 1, ROWS)):
        settings = MiningSettings(negatives=4, ranks=(5, 60), max_ratio=None, seed=seed)
        mine(pairs_of(rows), random_embedder(TEXTS), tmp_path / f"{name}.parquet", settings=settings)
        mined.append(negatives_of(tmp_path / f"{name}.parquet"))
    assert mined[0] == mined[1]
    assert sum(first != other for first, other in zip(mined[0], mined[2], strict=True)) > 600


def test_ranks_come_from_the_whole_window(tmp_path: Path) -> None:
    settings = MiningSettings(negatives=1, ranks=(10, 50), max_ratio=None)
    report = mine(pairs_of(ROWS), random_embedder(TEXTS), tmp_path / "out.parquet", settings=settings)
    assert report["ranks"]["0%"] == 10.0
    assert report["ranks"]["100%"] == 49.0
    assert 26 < report["ranks"]["50%"] < 33


def test_documents_that_answer_the_query_are_no_negatives(tmp_path: Path) -> None:
    """Planted: the positive of an equal query, the query's own text, and its positive written otherwise."""
    near, far = [1.0, 0.1, 0.0], [0.0, 0.0, 1.0]
    rows = [
        ("What is it?", ["An answer."]),
        ("what  IS it?", ["Another answer."]),
        ("unrelated", ["AN  answer."]),
        ("unrelated too", ["What is it?"]),
        ("third", ["Truly another thing."]),
    ]
    vectors = {text: near for query, positives in rows for text in (query, *positives)}
    vectors |= {"unrelated": far, "unrelated too": far, "third": far}
    settings = MiningSettings(negatives=3, ranks=(0, 4), max_ratio=None)
    report = mine(pairs_of(rows), PlantedEmbedder(vectors), tmp_path / "out.parquet", settings=settings)
    mined = negatives_of(tmp_path / "out.parquet")
    assert mined[0] == ["Truly another thing."]
    assert mined[1] == ["Truly another thing."]
    assert sorted(mined[2]) == ["Another answer.", "Truly another thing.", "What is it?"]
    assert report["documents"]["different"] == 4, "equal texts are one document"
    assert report["left_out"]["positive of an equal query"] == 2
    assert report["left_out"]["the text of the query itself"] == 2
    assert report["left_out"]["its own positive"] == 5


def angles(**degrees: float) -> dict[str, list[float]]:
    return {name: [float(np.cos(np.deg2rad(d))), float(np.sin(np.deg2rad(d)))] for name, d in degrees.items()}


@pytest.mark.parametrize(
    ("rules", "expected", "reason"),
    [
        ({"max_ratio": None}, "abcd", None),
        # cos: positive 0.94; a 0.98, b 0.91, c 0.87, d 0.5. The ratio's bound is 0.893, the margin's 0.84.
        ({"max_ratio": 0.95}, "cd", "too close by max_ratio"),
        ({"max_ratio": 1.0}, "bcd", "too close by max_ratio"),
        ({"max_ratio": None, "margin": 0.1}, "d", "too close by margin"),
        ({"max_ratio": None, "max_score": 0.9}, "cd", "above max_score"),
        ({"max_ratio": None, "min_score": 0.6}, "abc", "below min_score"),
    ],
)
def test_each_rule_about_scores(tmp_path: Path, rules: dict[str, Any], expected: str, reason: str | None) -> None:
    vectors = angles(query=0, positive=20, a=10, b=25, c=30, d=60)
    rows = [("query", ["positive"])]
    report = mine(
        pairs_of(rows),
        PlantedEmbedder(vectors),
        tmp_path / "out.parquet",
        settings=MiningSettings(negatives=4, ranks=(0, 4), **rules),
        corpus=pa.chunked_array([["a", "b"], ["c", "d"]]),
    )
    assert "".join(negatives_of(tmp_path / "out.parquet")[0]) == expected, "hardest first"
    assert report["documents"] == {"different": 5, "searched": 4}
    if reason is not None:
        assert report["left_out"][reason] == 4 - len(expected)


def test_below_a_negative_score_there_is_a_distance_too(tmp_path: Path) -> None:
    vectors = angles(query=0, positive=100, a=100.2, b=150)
    settings = MiningSettings(negatives=2, ranks=(0, 2), max_ratio=0.95)
    corpus = pa.chunked_array([["a", "b"]])
    mine(
        pairs_of([("query", ["positive"])]),
        PlantedEmbedder(vectors),
        tmp_path / "o.jsonl",
        settings=settings,
        corpus=corpus,
    )
    assert json.loads((tmp_path / "o.jsonl").read_text())["negative"] == ["b"]


def test_of_several_positives_the_worst_counts(tmp_path: Path) -> None:
    vectors = angles(query=0, good=5, weak=60, a=30, b=70)
    settings = MiningSettings(negatives=2, ranks=(0, 2))
    corpus = pa.chunked_array([["a", "b"]])
    out = tmp_path / "out.parquet"
    mine(pairs_of([("query", ["good", "weak"])]), PlantedEmbedder(vectors), out, settings=settings, corpus=corpus)
    assert negatives_of(out) == [["b"]]


class LengthReranker:
    """A longer text answers better."""

    name = "length"

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []

    def score(self, query: str, texts: Sequence[str]) -> Vectors:
        self.asked.append((query, list(texts)))
        return np.array([len(text) / 10 for text in texts], dtype=np.float32)


def test_a_reranker_sees_the_window_and_its_scores_decide(tmp_path: Path) -> None:
    vectors = angles(query=0, ppppp=5, aa=10, bbbbbb=20, cccc=30, d=80)
    reranker = LengthReranker()
    report = mine(
        pairs_of([("query", ["ppppp"])]),
        PlantedEmbedder(vectors),
        tmp_path / "out.parquet",
        settings=MiningSettings(negatives=2, ranks=(0, 3), sampling="hardest"),
        corpus=pa.chunked_array([["aa", "bbbbbb", "cccc", "d"]]),
        reranker=reranker,
    )
    assert reranker.asked == [("query", ["ppppp", "aa", "bbbbbb", "cccc"])]
    assert negatives_of(tmp_path / "out.parquet") == [["cccc", "aa"]], "bbbbbb is above the positive"
    assert report["reranker"] == "length"


def test_a_reranker_too_takes_the_worst_of_several_positives(tmp_path: Path) -> None:
    vectors = angles(query=0, ppp=5, ppppppp=6, aa=10, bbbbb=20)
    out = tmp_path / "out.parquet"
    mine(
        pairs_of([("query", ["ppp", "ppppppp"])]),
        PlantedEmbedder(vectors),
        out,
        settings=MiningSettings(negatives=2, ranks=(0, 2)),
        corpus=pa.chunked_array([["aa", "bbbbb"]]),
        reranker=LengthReranker(),
    )
    assert negatives_of(out) == [["aa"]]


def test_negatives_that_are_there_are_replaced_or_kept(tmp_path: Path) -> None:
    vectors = angles(query=0, positive=10, a=20, b=30)
    pairs = pairs_of([("query", ["positive"])], [["mine", "a"]])
    corpus = pa.chunked_array([["a", "b"]])
    settings: dict[str, Any] = {"negatives": 2, "ranks": (0, 2), "max_ratio": None}
    for keep, expected in ((False, ["a", "b"]), (True, ["mine", "a", "b"])):
        out = tmp_path / f"{keep}.parquet"
        mine(pairs, PlantedEmbedder(vectors), out, settings=MiningSettings(**settings, keep=keep), corpus=corpus)
        assert negatives_of(out) == [expected]


def test_an_ivf_index_that_looks_everywhere_finds_the_same(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"negatives": 3, "ranks": (0, 3), "max_ratio": None}
    for name, kind in (("flat", {}), ("ivf", {"index": "IVF8,Flat", "nprobe": 8})):
        out = tmp_path / f"{name}.parquet"
        mine(pairs_of(ROWS), random_embedder(TEXTS), out, settings=MiningSettings(**settings, **kind))
    assert negatives_of(tmp_path / "flat.parquet") == negatives_of(tmp_path / "ivf.parquet")


def test_vectors_are_kept_and_used_only_for_the_same_model_and_texts(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    settings = MiningSettings(negatives=1, ranks=(0, 5))
    embedders = [random_embedder([*TEXTS, "new"]) for _ in range(4)]
    embedders[2].fingerprint = "another"
    changed = [*ROWS[:-1], ("query 699", ["new"])]
    for embedder, rows in zip(embedders, (ROWS, ROWS, ROWS, changed), strict=True):
        mine(pairs_of(rows), embedder, out, settings=settings)
    assert [sum(embedder.calls) for embedder in embedders] == [1540, 0, 1540, 1540]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out.parquet",
        "out.parquet.embeddings",
        "out.report.json",
    ]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from lusirag_training.preparation import embeddings
    from lusirag_training.preparation.mining import mine
    from tests.unit.training.planted import random_embedder
    from tests.unit.training.test_mining import ROWS, TEXTS, pairs_of

    embeddings._ROWS_AT_ONCE = 100
    embedder = random_embedder(TEXTS)
    plain = embedder.encode_documents

    def encode(texts):
        if len(embedder.calls) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(texts)

    embedder.encode_documents = encode
    mine(pairs_of(ROWS), embedder, Path(sys.argv[1]))
"""


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(out)]
    killed = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert not out.exists()
    embedder = random_embedder(TEXTS)
    mine(pairs_of(ROWS), embedder, out)
    assert sum(embedder.calls) == 1540 - 500
    whole = tmp_path / "whole.parquet"
    mine(pairs_of(ROWS), random_embedder(TEXTS), whole)
    assert negatives_of(out) == negatives_of(whole)


def test_settings_are_checked_all_at_once() -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        MiningSettings(negatives=0, ranks=(9, 3), max_ratio=2.0, margin=-1.0, seed=-1)
    for part in ("negatives is 0", "ranks are 9:3", "max_ratio is 2.0", "margin is -1.0", "seed is -1"):
        assert part in str(raised.value)
    with pytest.raises(InvalidArgumentError, match="hold 2 documents, fewer than 7"):
        MiningSettings(ranks=(0, 2))
    with pytest.raises(InvalidArgumentError, match=r"min_score is 0\.9, more than max_score 0\.1"):
        MiningSettings(min_score=0.9, max_score=0.1)


def test_what_cannot_be_mined(tmp_path: Path) -> None:
    embedder = random_embedder(TEXTS)
    with pytest.raises(InvalidArgumentError, match=r"allowed: \.parquet, \.jsonl"):
        mine(pairs_of(ROWS), embedder, tmp_path / "out.csv")
    with pytest.raises(CorpusError, match="needs pairs"):
        mine(datasets.Dataset.from_dict({"text": ["a"]}), embedder, tmp_path / "out.jsonl")
    for index, message in (("Nonsense", "FAISS cannot make the index"), ("IVF4096,Flat", "of 840 documents")):
        with pytest.raises(InvalidArgumentError, match=message):
            mine(pairs_of(ROWS), embedder, tmp_path / "out.jsonl", settings=MiningSettings(index=index))
    with pytest.raises(InvalidArgumentError, match="which is exact; leave it out"):
        mine(pairs_of(ROWS), embedder, tmp_path / "out.jsonl", settings=MiningSettings(nprobe=3))
    assert not (tmp_path / "out.jsonl").exists()
