"""`IndexSearch`: a real index under mteb's retrieval and reranking, compared with exact search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lusirag import Embedder
from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.benchmark.definition import Benchmark, BenchmarkTask
from lusirag.evaluation.benchmark.encoder import BenchmarkEncoder
from lusirag.evaluation.benchmark.index_search import IndexSearch
from lusirag.evaluation.benchmark.running import run_benchmark
from lusirag.types import Encoder
from tests.hashing_encoder import HashingEncoder

BOTH = frozenset({"query", "document"})
CODES = {"fr": ("fra",), "sw": ("swa",)}
IDS = ["b", "a/'1#2\"", "ключ", "", "0"]
TEXTS = ["red apples", "green pears", "red pears", "   ", "blue plums"]


def benchmark(*names: str, languages: tuple[str, ...] = ("fr", "sw")) -> Benchmark:
    return Benchmark("local", "", tuple(BenchmarkTask(name, "retrieval", languages, None) for name in names), CODES)


def about(name: str = "LocalRetrieval") -> dict[str, Any]:
    from tests.mteb_tasks import TASKS

    where = {"hf_split": "test", "hf_subset": "fr"}
    return {"task_metadata": TASKS[name].metadata, **where, "encode_kwargs": {}, "num_proc": None}


def rows(texts: list[str], ids: list[str], titles: list[str] | None = None) -> Any:
    from datasets import Dataset

    columns = {"id": ids, "text": texts}
    return Dataset.from_dict(columns if titles is None else {**columns, "title": titles})


@pytest.fixture(scope="module")
def mini() -> Encoder:
    return Embedder.load("lusifer-mini", runtime="onnx")


@pytest.mark.parametrize("encoder", ["hashing", "instructed", "mini"])
def test_a_flat_index_scores_as_exact_search_does(encoder: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    from tests.mteb_tasks import load_local

    some: Encoder = request.getfixturevalue("mini") if encoder == "mini" else HashingEncoder(
        roles=BOTH if encoder == "instructed" else frozenset()
    )  # fmt: skip
    tasks = benchmark("LocalRetrieval", "LocalReranking", languages=("sw",))
    told = {"LocalRetrieval": "Find the article", "LocalReranking": "Rank the articles"}
    exact = run_benchmark(tasks, BenchmarkEncoder(some, told), cache=tmp_path / "a", load_task=load_local)
    if isinstance(some, HashingEncoder):
        before = {(call.role, call.instruction) for call in some.calls}
        some.calls.clear()
    with IndexSearch(some, told, ann="flat") as model:
        found = run_benchmark(tasks, model, cache=tmp_path / "a", load_task=load_local)
    assert not exact.failures
    assert not found.failures
    assert len(exact.scores) == 2
    assert [score.score for score in found.scores] == pytest.approx([score.score for score in exact.scores], abs=1e-3)
    if isinstance(some, HashingEncoder):
        assert {(call.role, call.instruction) for call in some.calls} == before
        assert ("document", "Rank the articles" if encoder == "instructed" else None) in before
    else:
        assert min(score.score for score in found.scores) > 0.85


def test_ids_come_back_as_they_are_and_blank_documents_do_not() -> None:
    with IndexSearch(HashingEncoder()) as model:
        model.index(rows(TEXTS, IDS), **about())
        found = model.search(rows(["red", "pears", " "], ["q/1", "", "blank"]), top_k=10, **about())
        few = model.search(rows(["red"], ["q"]), top_k=2, **about())
    assert set(found) == {"q/1", "", "blank"}
    assert set(found["q/1"]) == set(found[""]) == {"b", "a/'1#2\"", "ключ", "0"}
    assert found["blank"] == {}
    assert sorted(found["q/1"], key=found["q/1"].__getitem__)[-2:] in (["b", "ключ"], ["ключ", "b"])
    assert set(few["q"]) == {"b", "ключ"}


def test_titles_are_joined_as_mteb_joins_them() -> None:
    from mteb._create_dataloaders import create_dataloader
    from mteb.types import PromptType

    encoder = HashingEncoder()
    corpus = rows(["text ", "no title"], ["1", "2"], ["A title", ""])
    with IndexSearch(encoder) as model:
        model.index(corpus, **about())
    batches = create_dataloader(
        corpus.select([0]), task_metadata=about()["task_metadata"], prompt_type=PromptType.document
    )
    assert [text for call in encoder.calls for text in call.texts] == [*next(iter(batches))["text"], "no title"]


def test_reranking_gives_exactly_the_given_documents(mini: Encoder) -> None:
    given = {"q1": ["b", "0", "ключ"], "q2": ["0"], "q4": []}
    for mode in ("dense", "lexical", "hybrid"):
        with IndexSearch(mini, mode=mode) as model:
            model.index(rows(TEXTS, IDS), **about("LocalReranking"))
            found = model.search(
                rows(["red apples", "pears", "no list", "empty list"], ["q1", "q2", "q3", "q4"]),
                top_k=1000,
                top_ranked=given,
                **about("LocalReranking"),
            )
        assert {name: set(scores) for name, scores in found.items()} == {
            "q1": {"b", "0", "ключ"}, "q2": {"0"}, "q3": set(), "q4": set()
        }  # fmt: skip
        assert max(found["q1"], key=found["q1"].__getitem__) == "b"


def test_a_long_document_counts_once_with_its_best_chunk(mini: Encoder) -> None:
    from tests.mteb_tasks import articles

    english = articles("en")
    long = "\n\n".join(english[number] for number in (23, 24, 25, 26))
    ids, texts = ["long", "marriage", "slavery"], [long, english[16], english[4]]
    with IndexSearch(mini, ann="flat", chunk_tokens=48) as model:
        model.index(rows(texts, ids), **about())
        found = model.search(rows(["the right to work and to education"], ["q"]), top_k=2, **about())["q"]
        ranked = model.search(
            rows(["the right to education"], ["q"]), top_k=9, top_ranked={"q": ["slavery", "long"]}, **about()
        )["q"]
    assert next(iter(found)) == "long"
    assert len(found) == 2  # though the long one's chunks come first
    assert list(ranked) == ["long", "slavery"]
    with IndexSearch(mini, ann="flat", chunk_tokens=0) as whole:
        whole.index(rows(texts, ids), **about())
        assert whole.search(rows(["the right to education"], ["q"]), top_k=1, **about())["q"]["long"] < ranked["long"]


def test_the_index_is_gone_afterwards(tmp_path: Path) -> None:
    model = IndexSearch(HashingEncoder(), directory=tmp_path)
    for _ in range(2):
        model.index(rows(TEXTS, IDS), **about())
        assert len(list(tmp_path.iterdir())) == 1
    model.close()
    model.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InvalidArgumentError, match="nothing is indexed"):
        model.search(rows(["red"], ["q"]), top_k=1, **about())
    with pytest.raises(TypeError, match="top_k"), model:
        model.search(rows(["red"], ["q"]), **model.index(rows(TEXTS, IDS), **about()) or about())
    assert list(tmp_path.iterdir()) == []


def test_a_run_leaves_no_index_behind_even_where_it_fails(tmp_path: Path) -> None:
    from tests.mteb_tasks import articles, load_local

    model = IndexSearch(HashingEncoder(fail_at=articles("sw")[7]), directory=tmp_path)
    run = run_benchmark(benchmark("LocalRetrieval"), model, cache=tmp_path / "cache", load_task=load_local)
    assert [score.language for score in run.scores] == ["fr"]
    assert run.failures == {"LocalRetrieval": "sw: RuntimeError: the device is on fire and more lines"}
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_the_ann_kind_and_the_mode_are_in_the_description(mini: Encoder) -> None:
    meta = IndexSearch(mini, ann="hnsw", mode="hybrid").mteb_model_meta
    assert meta.experiment_kwargs == {"ann": "hnsw", "mode": "hybrid", "runtime": "onnx-int8"}
    assert meta.model_type == ["hybrid"]


def test_other_tasks_cannot_be_run_through_an_index(tmp_path: Path) -> None:
    from tests.mteb_tasks import LOADED, load_local

    LOADED.clear()
    run = run_benchmark(benchmark("LocalSTS"), IndexSearch(HashingEncoder()), cache=tmp_path, load_task=load_local)
    assert "only retrieval and reranking" in run.failures["LocalSTS"]
    assert LOADED == []


def test_modes_and_conversations_that_cannot_be_used_are_refused() -> None:
    from datasets import Dataset

    with pytest.raises(InvalidArgumentError, match="dense, lexical, hybrid"):
        IndexSearch(HashingEncoder(), mode="sparse")
    with IndexSearch(HashingEncoder()) as model:
        model.index(rows(TEXTS, IDS), **about())
        with pytest.raises(InvalidArgumentError, match="answers texts"):
            model.search(Dataset.from_dict({"id": ["q"], "text": [["a", "b"]]}), top_k=1, **about())
