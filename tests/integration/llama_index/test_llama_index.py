"""The store under LlamaIndex's own index, engine and pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest
from llama_fakes import WordEncoder
from llama_index.core import Document, Settings, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import IndexNode, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

from llama_index_lusirag import LusiferEmbedding, LusiragVectorStore

TEXTS = {
    "marriage": "Men and women of full age have the right to marry.",
    "education": "Everyone has the right to education, and it shall be free.",
    "travel": "Everyone may leave any country and return to their own.",
}


def documents() -> list[Document]:
    return [Document(id_=name, text=text, metadata={"topic": name}) for name, text in TEXTS.items()]


def build(store: LusiragVectorStore) -> VectorStoreIndex:
    return VectorStoreIndex.from_documents(documents(), StorageContext.from_defaults(vector_store=store))


def sources(index: VectorStoreIndex, question: str, **options: object) -> list[str | None]:
    return [found.node.ref_doc_id for found in index.as_retriever(**options).retrieve(question)]


def test_from_documents_and_reopened(store: LusiragVectorStore) -> None:
    for index in (build(store), VectorStoreIndex.from_vector_store(LusiragVectorStore(store.path))):
        for mode in ("default", "sparse", "hybrid", "mmr"):
            found = sources(index, "marry women", similarity_top_k=1, vector_store_query_mode=mode)
            assert found == ["marriage"], mode
        assert sorted(map(str, sources(index, "marry", similarity_top_k=9))) == sorted(TEXTS)
        only = MetadataFilters(filters=[MetadataFilter(key="topic", value="travel")])
        assert sources(index, "marry", filters=only) == ["travel"]
        assert sources(index, "marry", doc_ids=["education"]) == ["education"]
        assert len(sources(index, "marry", similarity_top_k=9, vector_store_kwargs={"languages": ["en"]})) == 3
        (found,) = index.as_retriever(similarity_top_k=1).retrieve("free education")
        assert found.node.get_content() == TEXTS["education"]
        assert found.node.metadata == {"topic": "education"}
        assert found.score == pytest.approx(0.5, abs=0.3)


async def test_asynchronous(store: LusiragVectorStore) -> None:
    index = VectorStoreIndex.from_documents(
        documents(), StorageContext.from_defaults(vector_store=store), use_async=False
    )
    found = await index.as_retriever(similarity_top_k=1).aretrieve("marry women")
    assert [each.node.ref_doc_id for each in found] == ["marriage"]
    await index.ainsert(Document(id_="rest", text="Everyone has the right to rest and leisure."))
    await index.adelete_ref_doc("marriage")
    assert (await index.as_retriever(similarity_top_k=1).aretrieve("leisure"))[0].node.ref_doc_id == "rest"
    assert "marriage" not in {each.ref_doc_id for each in await store.aget_nodes()}


def test_use_async(store: LusiragVectorStore) -> None:
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex.from_documents(documents(), context, use_async=True)
    assert sources(index, "marry women", similarity_top_k=1) == ["marriage"]


def test_query_engine(store: LusiragVectorStore) -> None:
    answer = build(store).as_query_engine(similarity_top_k=1).query("Which men and women have the right to marry?")
    assert TEXTS["marriage"] in str(answer)  # MockLLM answers with its prompt
    assert [found.node.ref_doc_id for found in answer.source_nodes] == ["marriage"]


def test_insert_delete_refresh(store: LusiragVectorStore) -> None:
    index = build(store)
    index.insert(Document(id_="rest", text="Everyone has the right to rest and leisure."))
    assert sources(index, "leisure", similarity_top_k=1) == ["rest"]
    index.delete_ref_doc("rest", delete_from_docstore=True)
    assert {each.ref_doc_id for each in store.get_nodes()} == set(TEXTS)
    before = {each.node_id for each in store.get_nodes()}
    changed = documents()
    changed[1].set_content("Nobody shall be held in slavery.")
    changed.append(Document(id_="new", text="Everyone has the right to a nationality."))
    assert index.refresh_ref_docs(changed) == [False, True, False, True]
    assert sources(index, "slavery", similarity_top_k=1) == ["education"]
    assert sources(index, "nationality", similarity_top_k=1) == ["new"]
    assert not any("free" in each.get_content() for each in store.get_nodes())
    assert len(store.get_nodes()) == 4
    assert len({each.node_id for each in store.get_nodes()} & before) == 2
    assert index.refresh_ref_docs(changed) == [False] * 4


def test_storage_context_is_persisted_beside_the_store(store: LusiragVectorStore, tmp_path: Path) -> None:
    index = build(store)
    index.storage_context.persist(tmp_path / "context")
    context = StorageContext.from_defaults(
        persist_dir=str(tmp_path / "context"), vector_store=LusiragVectorStore(store.path)
    )
    again = load_index_from_storage(context)
    assert isinstance(again, VectorStoreIndex)
    assert sources(again, "marry women", similarity_top_k=1) == ["marriage"]
    assert again.refresh_ref_docs(documents()) == [False] * 3  # the document store remembers their hashes


def test_long_documents_become_nodes_that_know_each_other(store: LusiragVectorStore) -> None:
    text = " ".join(f"Sentence number {number} is here." for number in range(60))
    index = VectorStoreIndex.from_documents(
        [Document(id_="long", text=text)],
        StorageContext.from_defaults(vector_store=store),
        transformations=[SentenceSplitter(chunk_size=40, chunk_overlap=0)],
    )
    nodes = {each.node_id: each for each in store.get_nodes()}
    assert len(nodes) > 5
    first = next(each for each in nodes.values() if each.prev_node is None)
    met = [first]
    while met[-1].next_node is not None:
        met.append(nodes[met[-1].next_node.node_id])
    assert " ".join(each.get_content() for each in met) == text
    index.delete_ref_doc("long")
    assert store.get_nodes() == []


def test_index_nodes_lead_to_their_objects(store: LusiragVectorStore) -> None:
    goal = TextNode(id_="goal", text="the goal itself")
    pointer = IndexNode.from_text_node(TextNode(id_="sign", text="a sign to it"), "goal")
    pointer.obj = goal
    index = VectorStoreIndex(objects=[pointer], storage_context=StorageContext.from_defaults(vector_store=store))
    assert [found.node.node_id for found in index.as_retriever().retrieve("sign")] == ["goal"]


def test_ingestion_pipeline_replaces_what_changed(store: LusiragVectorStore, encoder: WordEncoder) -> None:
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(), LusiferEmbedding(encoder)],
        vector_store=store,
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS,
    )
    assert len(pipeline.run(documents=documents())) == 3
    changed = documents()
    changed[0].set_content("All are equal before the law.")
    assert len(pipeline.run(documents=changed)) == 1
    assert {each.ref_doc_id: each.get_content() for each in store.get_nodes()} == TEXTS | {
        "marriage": "All are equal before the law."
    }


def test_the_embedded_model_finds_across_languages(tmp_path: Path) -> None:
    embedding = LusiferEmbedding("lusifer-mini", device="cpu")
    Settings.embed_model = embedding
    store = LusiragVectorStore(tmp_path / "store", embedder=embedding.embedder)
    build(store)
    index = VectorStoreIndex.from_vector_store(LusiragVectorStore(store.path))
    assert sources(index, "Nani ana haki ya kupata elimu?", similarity_top_k=1) == ["education"]
    assert sources(index, "Wer darf heiraten?", similarity_top_k=1, vector_store_query_mode="hybrid") == ["marriage"]
