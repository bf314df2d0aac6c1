"""Metadata of any kind comes back equal, also beside other metadata under the same keys."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_fakes import CountingEmbeddings

from langchain_lusirag import LusiragVectorStore
from langchain_lusirag.metadata import METADATA_COLUMN, column_name, columns_of, from_json, to_json

KEYS = st.sampled_from(
    ["year", "a b", "", "id", "id_", "text", "title", "title_", "title__", "language", "source", "_chunk", "$gt",
     METADATA_COLUMN, METADATA_COLUMN + "_", "YEAR", "日本", "\ud800", "nul\0"]
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None), max_size=5)
    | st.dates()
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC) | st.just(timezone(timedelta(hours=5, minutes=45))))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from(["a", "$date", "$tuple", "$dict"]), inner, max_size=2)
    ),
    max_leaves=6,
)
METADATA = st.dictionaries(KEYS, VALUES, max_size=5)


def same(found: Any, expected: Any) -> bool:
    """Equal and of the same types: 1 is not 1.0 or True here."""
    if type(found) is not type(expected):
        return False
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    return bool(found == expected)


@given(METADATA)
def test_metadata_as_json_is_read_back_with_its_types(metadata: dict[str, Any]) -> None:
    assert same(from_json(to_json(metadata, "document 1")), metadata)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(METADATA, min_size=1, max_size=4), min_size=1, max_size=3))
def test_documents_come_back_equal_whatever_else_the_index_holds(
    batches: list[list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("round-trip") / "index"
    added = []
    for number, batch in enumerate(batches):
        store = LusiragVectorStore(CountingEmbeddings(), path)
        documents = [
            Document(id=f"{number}/{at}", page_content=f"text {at}", metadata=metadata)
            for at, metadata in enumerate(batch)
        ]
        store.add_documents(documents)
        added += documents
    store = LusiragVectorStore(CountingEmbeddings(), path)
    found = store.get_by_ids([document.id or "" for document in added])
    assert found == added
    assert all(same(one.metadata, other.metadata) for one, other in zip(found, added, strict=True))
    assert {hit.id for hit in store.similarity_search("text 0", k=100)} == {document.id for document in added}


@given(st.lists(KEYS, unique=True))
def test_different_keys_have_different_columns(keys: list[str]) -> None:
    assert len({column_name(key) for key in keys}) == len(keys)


def kinds(columns: dict[str, pa.Array]) -> dict[str, tuple[str, list[Any]]]:
    return {name: (str(column.type), column.to_pylist()) for name, column in columns.items()}


def test_the_first_kind_of_a_key_makes_its_column_and_others_stay_out_of_it() -> None:
    metadatas = [
        {"year": None, "tags": ["a"], "draft": True, "seen": date(2024, 5, 17)},
        {"year": 1948, "draft": 1, "seen": datetime(2024, 5, 17, 12)},
        {"year": "unknown"},
        {"year": 2.5, "draft": "no"},
    ]
    assert kinds(columns_of(metadatas, {})) == {
        "year": ("double", [None, 1948.0, None, 2.5]),
        "draft": ("bool", [True, None, None, None]),
        "seen": ("date32[day]", [date(2024, 5, 17), None, None, None]),
    }
    assert kinds(columns_of(metadatas[:3], {"year": "string"}))["year"] == ("string", [None, None, "unknown"])
    assert kinds(columns_of(metadatas[:2], {"year": "int64"}))["year"] == ("int64", [None, 1948])
    assert "year" not in columns_of(metadatas, {"year": "list<item: string>"})


def test_numbers_beyond_64_bits_stand_in_a_column_of_floats() -> None:
    found = kinds(columns_of([{"n": 2**70}, {"n": -(10**400)}, {"n": 3}], {}))
    assert found == {"n": ("double", [2.0**70, float("-inf"), 3.0])}


def test_the_number_of_columns_is_bounded_and_what_is_left_out_comes_back(store: LusiragVectorStore) -> None:
    documents = [
        Document(id=str(at), page_content=f"text {at}", metadata={f"{at}-{n}": n for n in range(100)})
        for at in range(4)
    ]
    store.add_documents(documents[:1])
    store.add_documents(documents[1:])
    assert len(store.index.info()["columns"]) <= 257
    assert store.get_by_ids(["0", "1", "2", "3"]) == documents


def test_language_and_source_of_the_metadata_are_those_of_the_index(store: LusiragVectorStore, tmp_path: Path) -> None:
    swahili = "Kila mtu ana haki ya kupata elimu bila malipo katika hatua za mwanzo."
    store.add_texts(
        [swahili, swahili + " Ni lazima.", swahili + " Kwa wote."],
        [{"language": "de-AT", "source": "a.txt"}, {"language": "No language found."}, {"source": 5}],
        ids=["tagged", "untagged", "none"],
    )
    found = store.index.get(["tagged", "untagged", "none"])
    assert [document.language for document in found] == ["de-AT", "sw", "sw"]
    assert [document.source for document in found] == ["a.txt", None, None]
