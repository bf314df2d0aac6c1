"""`LusiragVectorStore`: nodes go in and come back, are searched in every mode, and go away again."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from llama_fakes import DIMENSION, WordEncoder, bag, node
from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from llama_index_lusirag import LusiragVectorStore
from lusirag import Index
from lusirag.errors import IndexStateError, InvalidArgumentError
from lusirag.index import build
from lusirag.index.ann import kinds

JSON = {
    "text": 'it\'s "quoted" 中文',
    "int": 2**62 + 1,
    "huge": 10**30,
    "float": 0.1,
    "yes": True,
    "null": None,
    "list": [1, "a", 2.5, None, [True]],
    "object": {"a": {"b": []}, "c": None},
    "": "empty key",
    "_node": "ours",
    "id": 5,
    "title": ["a"],
    "ref_doc_id": "not the source",
}


def query(text: str, **options: Any) -> VectorStoreQuery:
    return VectorStoreQuery(
        **{"query_embedding": bag(text, "query"), "similarity_top_k": 10, "query_str": text, **options}
    )


def ids(store: LusiragVectorStore, asked: VectorStoreQuery, **options: Any) -> list[str]:
    result = store.query(asked, **options)
    assert [each.node_id for each in result.nodes or []] == result.ids
    assert len(result.similarities or []) == len(result.ids or [])
    return result.ids or []


def nodes_of_all_kinds() -> list[BaseNode]:
    embedding = bag("x", "document")
    related = {
        NodeRelationship.SOURCE: RelatedNodeInfo(node_id="source", metadata={"a": [1]}, hash="h"),
        NodeRelationship.PREVIOUS: RelatedNodeInfo(node_id="before"),
        NodeRelationship.NEXT: RelatedNodeInfo(node_id="after"),
        NodeRelationship.CHILD: [RelatedNodeInfo(node_id="child-1"), RelatedNodeInfo(node_id="child-2")],
    }
    return [
        TextNode(
            id_="text",
            text="  two\nlines ",
            metadata=JSON,
            relationships=related,
            start_char_idx=3,
            end_char_idx=9,
            excluded_embed_metadata_keys=["yes"],
            excluded_llm_metadata_keys=["null"],
            metadata_template="{key}={value}",
            text_template="{content}",
            embedding=embedding,
        ),
        TextNode(id_="empty", text="", metadata={"a": 1}, embedding=embedding),
        TextNode(id_="white", text=" \n\t ", embedding=embedding),
        TextNode(id_="nul", text="a\0b", embedding=embedding),
        IndexNode(id_="index", text="see there", index_id="elsewhere", embedding=embedding),
        ImageNode(id_="image", image_path="cat.png", text="a cat", embedding=embedding),
        ImageNode(id_="silent", image_url="https://example.org/cat.png", embedding=embedding),
        Node(id_="media", text_resource=MediaResource(text="a speech"), metadata=JSON, embedding=embedding),
    ]


@pytest.mark.parametrize("reopened", [False, True])
def test_nodes_come_back_whole(store: LusiragVectorStore, reopened: bool) -> None:
    given = nodes_of_all_kinds()
    names = [each.node_id for each in given]
    assert store.add(given) == names
    if reopened:
        store = LusiragVectorStore(store.path)
    expected = [each.model_copy(update={"embedding": None}) for each in given]
    assert store.get_nodes(names) == expected
    assert [type(each) for each in store.get_nodes(names)] == [type(each) for each in given]
    assert store.get_nodes(names[::-1]) == expected[::-1]
    found = store.query(query("x", similarity_top_k=8)).nodes or []
    assert sorted(found, key=lambda each: names.index(each.node_id)) == expected
    assert [each.hash for each in store.get_nodes(names)] == [each.hash for each in given]
    assert store.get_nodes(["text"])[0].ref_doc_id == "source"
    assert given[0].embedding is not None  # the caller's nodes are not changed


def test_scores_are_cosines(store: LusiragVectorStore) -> None:
    store.add([node("a", "red green"), node("b", "red blue"), node("c", "white")])
    result = store.query(query("red green", similarity_top_k=2))
    assert result.ids == ["a", "b"]
    assert result.similarities == pytest.approx([0.995, 0.498], abs=0.01)


def test_the_same_text_may_have_several_vectors(store: LusiragVectorStore) -> None:
    """LlamaIndex embeds a text with its metadata."""
    first, second = node("a", "same"), node("b", "same")
    second.embedding = bag("other", "document")
    store.add([first, second])
    assert ids(store, query("other", similarity_top_k=1)) == ["b"]
    assert ids(store, query("same", similarity_top_k=1)) == ["a"]
    first.embedding = bag("third", "document")
    store.add([first])  # the same node, embedded by another model
    assert ids(store, query("third", similarity_top_k=1)) == ["a"]
    assert len(store.get_nodes()) == 2


def test_adding_replaces_by_id_and_the_last_of_a_call_wins(store: LusiragVectorStore) -> None:
    assert store.add([node("a", "one"), node("b", "two"), node("a", "three")]) == ["a", "b", "a"]
    assert [each.get_content() for each in store.get_nodes(["a", "b"])] == ["three", "two"]
    store.add([node("b", "four", x=1)])
    assert [each.get_content() for each in store.get_nodes(["a", "b"])] == ["three", "four"]
    assert store.add([]) == []


def test_words(store: LusiragVectorStore) -> None:
    store.add([node("a", "The parrot sleeps"), node("b", "A parrot, a parrot"), node("c", "Nothing of it")])
    for mode in (VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH):
        asked = query("parrot", mode=mode, query_embedding=None)
        result = store.query(asked)
        assert result.ids == ["b", "a"]
        assert (result.similarities or [0])[0] > (result.similarities or [0, 0])[1] > 0
        asked.sparse_top_k = 1
        assert ids(store, asked) == ["b"]


def test_hybrid(store: LusiragVectorStore) -> None:
    words, meaning = node("words", "parrot parrot"), node("meaning", "something else")
    words.embedding, meaning.embedding = bag("far", "document"), bag("near", "document")
    store.add([words, meaning, node("none", "third")])
    asked = query("parrot", query_embedding=bag("near", "query"), mode=VectorStoreQueryMode.HYBRID, similarity_top_k=3)
    for alpha, first in ((1.0, "meaning"), (0.0, "words"), (0.9, "meaning"), (0.1, "words"), (None, "meaning")):
        asked.alpha = alpha
        assert ids(store, asked)[0] == first
    assert (store.query(asked).similarities or [0])[0] == pytest.approx(0.6)  # lusirag's own weight of meaning
    asked.hybrid_top_k = 1
    assert ids(store, asked) == ["meaning"]
    asked.hybrid_top_k, asked.sparse_top_k = 3, 3
    assert sorted(ids(store, asked)) == ["meaning", "none", "words"]


def test_sparse_top_k_is_how_deep_hybrid_looks(store: LusiragVectorStore) -> None:
    nodes = [node("meaning", "something"), node("words", "parrot parrot parrot"), node("both", "parrot here")]
    for each, text in zip(nodes, ("near", "far", "near near other"), strict=True):
        each.embedding = bag(text, "document")
    store.add(nodes)
    mode = VectorStoreQueryMode.HYBRID
    asked = query("parrot", query_embedding=bag("near", "query"), mode=mode, similarity_top_k=1, alpha=0.5)
    assert ids(store, asked) == ["both"]
    asked.sparse_top_k = 1  # "both" is second of both rankings
    assert ids(store, asked) == ["meaning"]


def test_maximal_marginal_relevance(store: LusiragVectorStore) -> None:
    store.add([node("a", "cat dog"), node("twin", "cat dog"), node("b", "cat fish"), node("far", "stone")])
    asked = query("cat dog", similarity_top_k=2, mode=VectorStoreQueryMode.MMR)
    assert ids(store, asked, mmr_threshold=1.0) in (["a", "twin"], ["twin", "a"])
    assert ids(store, asked, mmr_threshold=0.5)[1] == "b"
    assert ids(store, asked)[1] == "b"
    assert ids(store, asked, mmr_threshold=0)[1] == "far"
    assert ids(store, asked, mmr_threshold=0, mmr_prefetch_factor=1)[1] in ("a", "twin")
    asked.mmr_threshold = 1.0
    assert ids(store, asked)[1] in ("a", "twin")
    result = store.query(asked, mmr_threshold=0)
    assert result.similarities is not None
    assert result.similarities[0] > result.similarities[1]


@pytest.mark.parametrize("mode", ["default", "sparse", "hybrid", "mmr"])
def test_every_mode_takes_filters_ids_and_languages(store: LusiragVectorStore, mode: str) -> None:
    store.add([node(f"n{number}", "red", f"doc-{number % 2}", n=number, language="sw") for number in range(6)])
    store.add(
        [node("de", "red", n=2, language="de"), node("guess", "The red house of my grandmother stands here.", n=2)]
    )
    asked = VectorStoreQueryMode(mode)
    only = MetadataFilters(filters=[MetadataFilter(key="n", value=2, operator=FilterOperator.LTE)])
    assert set(ids(store, query("red", mode=asked, filters=only))) == {"n0", "n1", "n2", "de", "guess"}
    assert set(ids(store, query("red", mode=asked, filters=only, doc_ids=["doc-0"]))) == {"n0", "n2"}
    assert set(ids(store, query("red", mode=asked, node_ids=["n1", "n5", "x"]))) == {"n1", "n5"}
    assert set(ids(store, query("red", mode=asked, node_ids=["n1", "n2"], doc_ids=["doc-0"]))) == {"n2"}
    assert len(ids(store, query("red", mode=asked, node_ids=[], doc_ids=[]))) == 8  # LlamaIndex: no restriction
    assert set(ids(store, query("red", mode=asked), languages=["de", "en"])) == {"de", "guess"}


def test_what_is_no_language_tag_is_no_language(store: LusiragVectorStore) -> None:
    store.add([node("a", "The red house of my grandmother stands here.", language="English")])
    assert ids(store, query("red"), languages=["en"]) == ["a"]


def test_deleting(store: LusiragVectorStore) -> None:
    def reset() -> None:
        store.add([node(f"n{number}", "red", f"doc-{number % 2}", n=number) for number in range(6)])

    def left() -> str:
        return "".join(sorted(each.node_id[1:] for each in store.get_nodes()))

    store.delete("doc-0")
    store.delete_nodes(["n1"])
    store.clear()
    assert left() == ""
    reset()
    store.delete("doc-0")
    store.delete("unknown")
    assert left() == "135"
    reset()
    low = MetadataFilters(filters=[MetadataFilter(key="n", value=2, operator=FilterOperator.LT)])
    store.delete_nodes(["n1", "n4", "unknown"], low)
    assert left() == "02345"
    store.delete_nodes(filters=low)
    assert left() == "2345"
    store.delete_nodes(["n5"])
    store.delete_nodes([])
    assert left() == "234"
    assert store.get_nodes([]) == []
    assert [each.node_id for each in store.get_nodes(["n4", "n2"], low)] == []
    with pytest.raises(InvalidArgumentError, match="give node_ids, filters or both"):
        store.delete_nodes()
    store.clear()
    assert (left(), ids(store, query("red"))) == ("", [])
    reset()
    assert left() == "012345"


async def test_async_methods(store: LusiragVectorStore) -> None:
    low = MetadataFilters(filters=[MetadataFilter(key="n", value=2, operator=FilterOperator.LT)])
    given = [node(f"n{number}", "red", f"doc-{number % 2}", n=number) for number in range(6)]
    added = await asyncio.gather(*(store.async_add(given[start : start + 2]) for start in (0, 2, 4)))
    assert added == [["n0", "n1"], ["n2", "n3"], ["n4", "n5"]]
    assert len((await store.aquery(query("red"))).ids or []) == 6
    assert {each.node_id for each in await store.aget_nodes(filters=low)} == {"n0", "n1"}
    await asyncio.gather(store.adelete("doc-0"), store.adelete_nodes(["n5"]))
    assert {each.node_id for each in await store.aget_nodes()} == {"n1", "n3"}
    await store.aclear()
    assert await store.aget_nodes() == []


@pytest.mark.parametrize(
    ("method", "arguments", "called"),
    [
        ("async_add", [[node("b", "y")]], "add"),
        ("aquery", [query("x")], "search_vectors"),
        ("aget_nodes", [["a"]], "get"),
        ("adelete", ["doc"], "delete"),
        ("adelete_nodes", [["a"]], "delete"),
        ("aclear", [], "delete"),
    ],
)
async def test_the_event_loop_goes_on(
    store: LusiragVectorStore, monkeypatch: pytest.MonkeyPatch, method: str, arguments: list[Any], called: str
) -> None:
    store.add([node("a", "x", "doc")])
    going, real = threading.Event(), getattr(Index, called)

    def wait(*given: Any, **options: Any) -> Any:
        assert going.wait(20), "the event loop waits for the index"
        return real(*given, **options)

    monkeypatch.setattr(Index, called, wait)
    work = asyncio.create_task(getattr(store, method)(*arguments))
    await asyncio.sleep(0.05)
    going.set()
    await work


def test_another_process_reads_and_writes(store: LusiragVectorStore) -> None:
    store.add(nodes_of_all_kinds())
    script = """
import json, sys
sys.path.insert(0, sys.argv[2])
from llama_fakes import bag, node
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index_lusirag import LusiragVectorStore
store = LusiragVectorStore(sys.argv[1])
found = store.query(VectorStoreQuery(bag("x", "query"), similarity_top_k=10))
store.add([node("other", "parrot", "source", int="now a text")])
store.delete_nodes(["empty"])
print(json.dumps([found.ids, store.get_nodes(["text"])[0].metadata]))
"""
    here = str(Path(__file__).parent)
    run = subprocess.run([sys.executable, "-c", script, store.path, here], capture_output=True, text=True, check=True)
    found, metadata = json.loads(run.stdout)
    assert sorted(found) == sorted(each.node_id for each in nodes_of_all_kinds())
    assert metadata == JSON
    again = LusiragVectorStore(store.path)
    wanted = MetadataFilters(
        filters=[MetadataFilter(key="int", value="now a text"), MetadataFilter(key="int", value=2**62 + 1)],
        condition="or",
    )
    assert {each.node_id for each in again.get_nodes(filters=wanted)} == {"other", "text", "media"}
    assert again.get_nodes(["empty"]) == []
    assert ids(again, query("parrot", mode=VectorStoreQueryMode.SPARSE)) == ["other"]


def test_with_a_model_of_lusirag_the_index_is_searched_by_lusirag_too(tmp_path: Path) -> None:
    encoder = WordEncoder()
    store = LusiragVectorStore(tmp_path / "store", embedder=encoder)
    store.add([node("a", "red green", year=1990), node("b", "red blue", year=2000)])
    with Index.open(tmp_path / "store", WordEncoder()) as index:
        assert [hit.id for hit in index.search("green")] == ["a", "b"]
        assert [hit.id for hit in index.search("green", where="year > 1990")] == ["b"]
    again = LusiragVectorStore(tmp_path / "store", embedder=WordEncoder())
    assert ids(again, query("blue", similarity_top_k=1)) == ["b"]
    with pytest.raises(IndexStateError, match="was made with the model 'words'"):
        LusiragVectorStore(tmp_path / "store", embedder=WordEncoder(fingerprint="words-2"))


def test_nothing_is_found_before_nodes_are_added(store: LusiragVectorStore) -> None:
    assert (store.get_nodes(), store.client, ids(store, query("x"))) == ([], None, [])
    assert not Path(store.path).exists()
    store.persist("anywhere")
    assert not Path("anywhere").exists()


def test_columns_are_what_lusirag_filters_too(store: LusiragVectorStore) -> None:
    store.add([node("a", "x", "doc", year=1990, tags=["law"], good=True, title="T", nothing=None, empty=[])])
    store.add([node("b", "x", "doc", year="unknown", tags=[1, 2.5])])
    assert store.client is not None
    assert store.client.info()["columns"] == {
        "ref_doc_id": "string",
        "_node": "string",
        "_node_type": "string",
        "_keys": "list<item: string>",
        "year": "int64",
        "tags": "list<item: string>",
        "good": "bool",
        "_text:title": "string",
        "_text:year": "string",
        "_ints:tags": "list<item: int64>",
        "_floats:tags": "list<item: double>",
    }
    assert [document.id for document in store.client.get(where="year > 1980 AND good")] == ["a"]


def test_settings_of_a_new_index(tmp_path: Path) -> None:
    store = LusiragVectorStore(tmp_path / "store", vectors="int8", ann="flat", memory="1GB", identify_languages=False)
    store.add([node("a", "The red house of my grandmother stands here.")])
    assert store.client is not None
    info = store.client.info()
    assert (info["ann"]["kind"], info["ann"]["memory_allowed"]) == ("flat", 10**9)
    assert (info["vectors"], info["dimension"], info["languages"]) == ("int8", DIMENSION, {None: 1})


def test_structures_may_be_built_after_a_change_has_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "SMALLEST_SEGMENT", 16)
    monkeypatch.setattr(build, "build_structures", lambda _: pytest.fail("built within the change"))
    for first in (0, 20):
        store = LusiragVectorStore(tmp_path / "store", ann="hnsw", background=True)
        store.add([node(str(number), f"house {number}") for number in range(first, first + 20)])
        assert store.client is not None
        store.client.wait()
        assert "HNSW32,SQ8" in store.client.info()["ann"]["structures"]
        store.client.close()
