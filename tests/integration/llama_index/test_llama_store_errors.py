"""What `LusiragVectorStore` refuses, each in one line, and that nothing is changed by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llama_fakes import DIMENSION, WordEncoder, bag, node
from llama_index.core.schema import BaseNode, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index_lusirag import LusiragVectorStore
from lusirag import Document, Index
from lusirag.errors import IndexStateError, InvalidArgumentError, LusiragError
from tests.command_line import Run


def query(text: str, **options: Any) -> VectorStoreQuery:
    return VectorStoreQuery(
        **{"query_embedding": bag(text, "query"), "similarity_top_k": 10, "query_str": text, **options}
    )


def other_index(path: Path) -> None:
    with Index.create(path, WordEncoder()) as index:
        index.add([Document("a", "text")])


def test_directories_that_are_no_store(tmp_path: Path) -> None:
    other_index(tmp_path / "index")
    with pytest.raises(IndexStateError, match="no nodes of LlamaIndex; search it with LusiragRetriever") as caught:
        LusiragVectorStore(tmp_path / "index", embedder=WordEncoder())
    assert "\n" not in str(caught.value)
    (tmp_path / "folder").mkdir()
    LusiragVectorStore(tmp_path / "folder").add([node("a", "x")])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("Dear", "utf-8")
    with pytest.raises(IndexStateError, match="full"):
        LusiragVectorStore(tmp_path / "full")


@pytest.mark.parametrize(
    ("asked", "options", "message"),
    [
        (query("x", mode=VectorStoreQueryMode.SVM), {}, "mode is 'svm'; allowed: default, sparse"),
        (query("x", query_embedding=None), {}, "needs query_embedding"),
        (query("x", query_embedding=None, mode=VectorStoreQueryMode.HYBRID), {}, "needs query_embedding"),
        (query("x", query_str=None, mode=VectorStoreQueryMode.SPARSE), {}, "needs query_str"),
        (query("x", query_str=None, mode=VectorStoreQueryMode.HYBRID), {}, "needs query_str"),
        (query(" ", mode=VectorStoreQueryMode.SPARSE), {}, "the query is empty"),
        (query("x", similarity_top_k=0), {}, "top_k is 0; it must be a whole number of at least 1"),
        (query("x", query_embedding=[1.0, 2.0]), {}, rf"shape \(n, {DIMENSION}\)"),
        (query("x", mode=VectorStoreQueryMode.HYBRID, alpha=1.5), {}, "from 0 to 1"),
        (query("x", mode=VectorStoreQueryMode.MMR), {"mmr_threshold": 2}, "mmr_threshold is 2"),
        (query("x", mode=VectorStoreQueryMode.MMR), {"mmr_prefetch_factor": 0}, "mmr_prefetch_factor is 0"),
        (query("x"), {"mmr_threshold": 0.5}, "does not know the option 'mmr_threshold'; it has languages"),
        (query("x"), {"languages": "sw"}, "languages"),
    ],
)
def test_queries_that_cannot_be_served(
    store: LusiragVectorStore, asked: VectorStoreQuery, options: dict[str, Any], message: str
) -> None:
    store.add([node("a", "x")])
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        store.query(asked, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([TextNode(id_="bare", text="x")], "the node 'bare' has no embedding"),
        ([TextNode(id_="a", text="x", embedding=[1.0])], rf"shape \(n, {DIMENSION}\), not \(1, 1\)"),
        ([node("b", "x"), TextNode(id_="a", text="x", embedding=[1.0])], "differ in length"),
        ([TextNode(id_="a", text="x", embedding=[0.0] * DIMENSION)], "zero or not finite"),
        ([node("a", "x", half="\ud800")], "cannot be stored"),
        ([node("", "x")], "no id"),
    ],
)
def test_nodes_that_cannot_be_added(store: LusiragVectorStore, given: list[BaseNode], message: str) -> None:
    store.add([node("kept", "x")])
    with pytest.raises(LusiragError, match=message) as caught:
        store.add(given)
    assert "\n" not in str(caught.value)
    assert [each.node_id for each in store.get_nodes()] == ["kept"]


def test_unknown_options_are_refused(store: LusiragVectorStore) -> None:
    for method, arguments in ((store.add, ([],)), (store.delete, ("a",)), (store.delete_nodes, (["a"],))):
        with pytest.raises(InvalidArgumentError, match="does not know the option 'batch'"):
            method(*arguments, batch=3)  # type: ignore[operator]
    with pytest.raises(TypeError, match="unexpected keyword"):
        LusiragVectorStore(store.path, batch=3)  # type: ignore[call-arg]
    with pytest.raises(InvalidArgumentError, match="embedder is 'mini'"):
        LusiragVectorStore(store.path, embedder="mini")  # type: ignore[arg-type]


def test_the_command_line_on_a_store(store: LusiragVectorStore, run: Run) -> None:
    store.add([node("a", "red house", year=1990), node("b", "blue", year=2000)])
    store.delete_nodes(["b"])
    for command in ("verify", "compact", "info"):
        done = run(command, store.path)
        assert done.code == 0, done.err
    done = run("search", store.path, "house")
    assert done.code == 1
    assert "any model of LlamaIndex (open this index with LusiragVectorStore)" in done.err
    assert len(done.err.splitlines()) == 1
    assert [each.node_id for each in LusiragVectorStore(store.path).get_nodes()] == ["a"]
