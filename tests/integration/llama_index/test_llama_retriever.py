"""`LusiragRetriever` over indexes that LlamaIndex did not make, and `LusiragRerank`."""

from __future__ import annotations

import asyncio
import datetime
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_fakes import WordEncoder, node
from llama_index.core import VectorStoreIndex
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, TextNode

from llama_index_lusirag import LusiragRerank, LusiragRetriever, LusiragVectorStore
from lusirag import Document, Index
from lusirag.errors import IndexStateError, InvalidArgumentError, ModelError
from lusirag.types import Hit
from tests.command_line import Run

DOCUMENTS = [
    Document("d1", "red house", "Houses", "en", "a.txt", {"year": 1990, "day": datetime.date(2020, 1, 1)}),
    Document("d2", "red boat", language="en", metadata={"year": 2000}),
    Document("d3", "das rote Haus", language="de", metadata={"tags": ["a"]}),
]


class Backwards:
    """Likes best what came last, and notes what it was shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        self.shown += [hit.text for hit in hits]
        return [float(place) for place in range(len(hits))]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "index", WordEncoder()) as index:
        index.add(DOCUMENTS)
        yield index


def names(found: list[NodeWithScore]) -> list[str]:
    return [each.node.node_id for each in found]


def test_nodes_say_what_the_index_knows(index: Index) -> None:
    found = LusiragRetriever(index, k=2).retrieve("red house")
    assert names(found) == ["d1", "d2"]
    best = found[0]
    assert best.score == pytest.approx(index.search("red house")[0].score)
    assert isinstance(best.node, TextNode)
    assert (best.node.text, best.node.start_char_idx, best.node.end_char_idx) == ("red house", 0, 9)
    assert best.node.ref_doc_id == "d1"
    assert best.node.metadata == {
        "title": "Houses",
        "language": "en",
        "source": "a.txt",
        "year": 1990,
        "day": datetime.date(2020, 1, 1),
    }
    assert found[1].node.metadata == {"language": "en", "year": 2000}


def test_options_are_those_of_the_search(index: Index) -> None:
    assert names(LusiragRetriever(index, where="year > 1990").retrieve("red")) == ["d2"]
    assert names(LusiragRetriever(index, where={"year": 1990}).retrieve("red")) == ["d1"]
    assert names(LusiragRetriever(index, languages=["de"]).retrieve("red")) == ["d3"]
    for instruction, first in (("boat boat", "d2"), ("house house", "d1"), ("Haus das", "d3")):
        assert names(LusiragRetriever(index, instruction=instruction).retrieve("red"))[0] == first
    reranker = Backwards()
    assert names(LusiragRetriever(index, reranker=reranker, k=1).retrieve("red house")) == ["d3"]
    assert len(reranker.shown) == 3
    assert names(LusiragRetriever(index, reranker=reranker, candidates=2, k=1).retrieve("red house")) == ["d2"]
    assert names(LusiragRetriever(index, diversity=1.0, k=2).retrieve("red house")) == ["d1", "d3"]


def test_options_that_cannot_be_served(index: Index, tmp_path: Path) -> None:
    for options, message in (
        ({"k": 0}, "k is 0"),
        ({"mode": "sideways"}, "mode is 'sideways'; allowed"),
        ({"mode": "lexical"}, "without a lexical part"),
        ({"where": "yeer > 1"}, "yeer"),
        ({"diversity": 2}, "diversity is 2"),
        ({"candidates": 5}, "nothing chooses among them"),
        ({"reranker": "best"}, "must have a method score"),
    ):
        with pytest.raises(InvalidArgumentError, match=message) as caught:
            LusiragRetriever(index, **options).retrieve("red")  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    with pytest.raises(IndexStateError, match="nowhere"):
        LusiragRetriever(tmp_path / "nowhere")


async def test_the_event_loop_goes_on(tmp_path: Path) -> None:
    going = threading.Event()

    def wait() -> None:
        assert going.is_set() or going.wait(20), "the event loop waits for the search"

    with Index.create(tmp_path / "index", WordEncoder()) as index:
        index.add(DOCUMENTS)
    with Index.open(tmp_path / "index", WordEncoder(before=wait)) as index:
        work = asyncio.create_task(LusiragRetriever(index, k=1).aretrieve("boat"))
        await asyncio.sleep(0.05)
        going.set()
        assert names(await work) == ["d2"]


def test_nodes_of_a_store_are_themselves(tmp_path: Path) -> None:
    given = node("a", "red house", "source", year=1990)
    LusiragVectorStore(tmp_path / "store", embedder=WordEncoder()).add([given])
    with Index.open(tmp_path / "store", WordEncoder()) as index:
        (found,) = LusiragRetriever(index).retrieve("red")
    assert found.node == given.model_copy(update={"embedding": None})


def test_an_index_from_the_command_line(tmp_path: Path, run: Run) -> None:
    sentences = " ".join(f"Item {number} tells of ships and of the sea." for number in range(90))
    (tmp_path / "laws").mkdir()
    (tmp_path / "laws" / "school.txt").write_text("Kila mtu ana haki ya kupata elimu.", "utf-8")
    (tmp_path / "laws" / "ships.txt").write_text(sentences, "utf-8")
    done = run("index", tmp_path / "laws", "--out", tmp_path / "index", "--model", "lusifer-mini")
    assert done.code == 0, done.err
    index = Index.open(tmp_path / "index")
    for mode in ("dense", "lexical", "hybrid"):
        retriever = LusiragRetriever(index, k=3, mode=mode)
        question = "haki ya elimu" if mode == "lexical" else "Who has the right to education?"
        assert "elimu" in retriever.retrieve(question)[0].node.get_content(), mode
    passages = LusiragRetriever(str(tmp_path / "index"), k=3, mode="lexical").retrieve("ships sea")
    assert len({each.node.node_id for each in passages}) == 3
    for each in passages:
        assert isinstance(each.node, TextNode)
        assert sentences[each.node.start_char_idx : each.node.end_char_idx] == each.node.text
    assert len({each.node.ref_doc_id for each in passages}) == 1
    engine = RetrieverQueryEngine.from_args(LusiragRetriever(tmp_path / "index", k=1))
    assert "elimu" in str(engine.query("Who has the right to education?"))


def test_reranking_nodes(store: LusiragVectorStore) -> None:
    reranker = Backwards()
    nodes = [
        NodeWithScore(node=node(name, f"text {name}", n=1), score=score) for name, score in (("a", 0.9), ("b", None))
    ]
    nodes.append(nodes[0].model_copy(update={"score": 0.1}))
    found = LusiragRerank(reranker, top_n=2).postprocess_nodes(nodes, query_str="x")
    assert [(each.node.node_id, each.score) for each in found] == [("a", 2.0), ("b", 1.0)]
    assert reranker.shown == ["n: 1\n\ntext a", "n: 1\n\ntext b", "n: 1\n\ntext a"]
    assert [each.score for each in nodes] == [0.9, None, 0.1]
    assert LusiragRerank(reranker).postprocess_nodes([], query_str="x") == []
    assert asyncio.run(LusiragRerank(reranker, top_n=1).apostprocess_nodes(nodes, query_str="x"))[0].score == 2.0
    store.add([node("a", "red house"), node("b", "red")])
    engine = VectorStoreIndex.from_vector_store(store).as_query_engine(
        node_postprocessors=[LusiragRerank(Backwards(), top_n=1)]
    )
    assert names(engine.query("red house").source_nodes) == ["b"]


def test_reranking_that_cannot_be_done() -> None:
    class Silent:
        def score(self, query: str, hits: Any) -> list[float]:
            return []

    nodes = [NodeWithScore(node=node("a", "text"), score=0.5)]
    for options, error, message in (
        ({"reranker": Silent()}, ModelError, r"returned shape \(0,\) for 1 hits"),
        ({"reranker": "best"}, InvalidArgumentError, "must have a method score"),
        ({"reranker": Backwards(), "top_n": 0}, InvalidArgumentError, "top_n is 0"),
    ):
        with pytest.raises(error, match=message) as caught:
            LusiragRerank(**options).postprocess_nodes(nodes, query_str="x")
        assert "\n" not in str(caught.value)
    with pytest.raises(InvalidArgumentError, match="needs the query"):
        LusiragRerank(Backwards()).postprocess_nodes(nodes)
