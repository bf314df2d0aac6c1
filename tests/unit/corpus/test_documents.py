from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from lusirag.corpus import CHUNK_COLUMN, CHUNK_TYPE, Corpus, documents_to_batches
from lusirag.errors import InvalidArgumentError
from lusirag.types import Document


def test_documents_become_rows() -> None:
    documents = [
        Document("a", "x", title="T", language="sw", source="web", metadata={"n": 1, "id": 9}),
        Document("b", "y", metadata={"n": 2.5}),
    ]
    (batch,) = documents_to_batches(documents)
    assert batch.to_pylist() == [
        {"id": "a", "text": "x", "title": "T", "language": "sw", "source": "web", "n": 1.0, "id_": 9},
        {"id": "b", "text": "y", "title": None, "language": None, "source": None, "n": 2.5, "id_": None},
    ]
    assert batch.schema.field("text").type == pa.large_string()


def test_documents_are_taken_as_they_come() -> None:
    taken = []

    def source() -> Any:
        for n in range(10):
            taken.append(n)
            yield Document(str(n), "x")

    batches = documents_to_batches(source(), batch_rows=4)
    assert next(batches).num_rows == 4
    assert len(taken) == 4
    assert [batch.num_rows for batch in batches] == [4, 2]


TABLE = pa.table({"id": [1, 2], "text": ["x", "y"], "extra": [[1], [2]]})


@pytest.mark.parametrize(
    "given",
    [TABLE, TABLE.to_batches()[0], TABLE.to_reader(), TABLE.to_batches(), [TABLE]],
    ids=["table", "batch", "reader", "batches", "tables"],
)
def test_arrow_is_taken_too(given: Any) -> None:
    first, second = documents_to_batches(given, batch_rows=1)
    assert first["id"].to_pylist() == ["1"]
    assert second["text"].to_pylist() == ["y"]
    assert first.schema.field("extra").type == pa.list_(pa.int64())


def test_datasets_are_taken_too() -> None:
    import pyarrow.dataset

    datasets = pytest.importorskip("datasets")
    (batch,) = documents_to_batches(pyarrow.dataset.dataset(TABLE))
    assert batch["id"].to_pylist() == ["1", "2"]
    (batch,) = documents_to_batches(datasets.Dataset(TABLE))
    assert batch["id"].to_pylist() == ["1", "2"]


def test_a_corpus_passes_unchanged(write: Any) -> None:
    corpus = Corpus([write("a.jsonl", '{"text": "x", "n": 1}')])
    assert list(documents_to_batches(corpus)) == list(corpus)


def test_chunks_keep_their_place() -> None:
    place = pa.array([{"document_id": "d", "start": 0, "end": 1}], CHUNK_TYPE)
    (batch,) = documents_to_batches(pa.table({"id": ["d#1"], "text": ["x"], CHUNK_COLUMN: place}))
    assert batch[CHUNK_COLUMN].to_pylist() == place.to_pylist()
    assert "_chunk_" not in batch.schema.names
    (batch,) = documents_to_batches(pa.table({"id": ["d"], "text": ["x"], CHUNK_COLUMN: [1]}))
    assert batch["_chunk_"].to_pylist() == [1]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Document("b", ""), r"document 2 \(id b\): empty text"),
        (Document("b", None), r"document 2 \(id b\): no text"),  # type: ignore[arg-type]
        (Document("", "x"), r"document 2 \(id \): no id"),
        (Document("b", "\ud800"), "lone surrogate in the text"),
        (Document("b", "a\0"), "NUL character"),
        (Document("b", ["x"]), "text is a list, not a string"),  # type: ignore[arg-type]
        (Document("b", "x", metadata={"n": "one"}), r"document 2 \(id b\): mixed types in field 'n'"),
        (Document("b", "x", metadata={"n": object()}), r"document 2 \(id b\): mixed types in field 'n'"),
        ({"id": "b", "text": "x"}, "item 2 is a dict; give Document objects"),
    ],
)
@pytest.mark.parametrize("batch_rows", [1, 2])
def test_bad_documents_are_named(bad: Any, message: str, batch_rows: int) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        list(documents_to_batches([Document("a", "x", metadata={"n": 1}), bad], batch_rows=batch_rows))


@pytest.mark.parametrize("given", ["text", None, 5, Document("a", "x"), {"id": "a"}])
def test_other_things_are_refused(given: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="give"):
        list(documents_to_batches(given))


def test_arrow_without_the_needed_columns() -> None:
    with pytest.raises(InvalidArgumentError, match="have no column id; their columns are: text"):
        list(documents_to_batches(pa.table({"text": ["x"]})))
    with pytest.raises(InvalidArgumentError, match="the text must be a string"):
        list(documents_to_batches(pa.table({"id": ["a"], "text": [1]})))
    with pytest.raises(InvalidArgumentError, match=r"document 2 \(id None\): no id"):
        list(documents_to_batches(pa.table({"id": ["a", None], "text": ["x", "y"]}), batch_rows=1))
