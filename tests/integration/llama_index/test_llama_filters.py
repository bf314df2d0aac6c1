"""Any filter finds what plain Python finds; of one condition that is LlamaIndex's own function for its plain store."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_fakes import bag, node
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from llama_index_lusirag import LusiragVectorStore
from lusirag.errors import InvalidArgumentError

TEXTS = ["", "a", "b", "ab", "A", "B c", "a'b", 'a"b', "é", "É x", "1", "%", "中文", "+a", "_x"]
NUMBERS = [0, 1, -1, 2, 7, 1.0, 1.5, -0.5, 2**53 + 1, 2**62 + 1, 2**70, 10**400, float("inf"), float("nan")]
ASKED = [0, 1, 2, 7, 1.0, 1.5, -0.5, 2**53, 2**62 + 1, 2**62]
# Keys that need care: names of fixed columns, of ours, of operators; with quotes; as those of other columns' kinds.
KEYS = [
    "k",
    "year",
    "text",
    "id",
    "language",
    "_keys",
    "_text:k",
    "_node",
    "$and",
    'say "hi"',
    "K",
    "",
    "x.y",
    "unknown",
]

scalars = st.one_of(st.none(), st.booleans(), st.sampled_from(TEXTS), st.sampled_from(NUMBERS))
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=3),
    st.dictionaries(st.sampled_from(TEXTS), scalars, max_size=2),
    st.lists(st.lists(scalars, max_size=2), max_size=2),
)
rows = st.lists(st.dictionaries(st.sampled_from(KEYS[:-1]), values, max_size=5), min_size=1, max_size=6)

one = st.one_of(st.sampled_from(TEXTS), st.sampled_from(ASKED))
several = st.one_of(
    st.lists(st.sampled_from(TEXTS), max_size=3),
    st.lists(st.sampled_from([number for number in ASKED if type(number) is int]), max_size=3),
    st.lists(st.sampled_from([number for number in ASKED if type(number) is float]), max_size=3),
)
O = FilterOperator  # noqa: E741
TAKES = {
    **dict.fromkeys([O.EQ, O.NE], st.one_of(one, st.none())),
    **dict.fromkeys([O.GT, O.GTE, O.LT, O.LTE, O.CONTAINS], one),
    **dict.fromkeys([O.IN, O.NIN, O.ANY, O.ALL], several),
    **dict.fromkeys([O.TEXT_MATCH, O.TEXT_MATCH_INSENSITIVE], st.sampled_from(TEXTS)),
    O.IS_EMPTY: st.none(),
}
conditions = st.sampled_from(list(O)).flatmap(
    lambda name: st.builds(MetadataFilter, key=st.sampled_from(KEYS), value=TAKES[name], operator=st.just(name))
)
filters = st.recursive(
    st.builds(MetadataFilters, filters=st.lists(conditions, min_size=1, max_size=1)),
    lambda inner: st.builds(
        MetadataFilters,
        filters=st.lists(st.one_of(conditions, inner), max_size=3),
        condition=st.sampled_from([*FilterCondition, None]),
    ),
    max_leaves=6,
)


def holds(wanted: MetadataFilters, metadata: Mapping[str, Any]) -> bool:
    """The filter's meaning, in Python."""
    found = [
        holds(part, metadata) if isinstance(part, MetadataFilters) else matches(part, metadata)
        for part in wanted.filters
    ]
    if not found:
        return True
    if wanted.condition == FilterCondition.NOT:
        return not any(found)
    return any(found) if wanted.condition == FilterCondition.OR else all(found)


def matches(wanted: MetadataFilter, metadata: Mapping[str, Any]) -> bool:
    """LlamaIndex's answer; where it ends with a TypeError, nothing matches."""
    try:
        return build_metadata_filter_fn(lambda _: metadata, MetadataFilters(filters=[wanted]))("a node")
    except TypeError:
        return False


def test_every_operator_is_tested() -> None:
    assert set(TAKES) == set(FilterOperator)


def test_infinities_come_back_and_are_found(tmp_path: Path) -> None:
    store = LusiragVectorStore(tmp_path / "store", identify_languages=False)
    infinite = float("inf")
    given_metadata = {"k": infinite, "low": -infinite, "a": 1.5, "in": [{"x": [infinite, 2]}, None]}
    plain, special = node("n0", "text 0"), node("n1", "text 1")
    plain.metadata, special.metadata = {"k": None, "a": 2}, given_metadata | {"no": float("nan")}
    store.add([plain, special])
    [found] = store.get_nodes(["n1"])
    assert math.isnan(found.metadata.pop("no"))
    assert found.metadata == given_metadata
    assert store.get_nodes(["n0"])[0].metadata == {"k": None, "a": 2}
    for operator, value, ids in ((O.IS_EMPTY, None, ["n0"]), (O.ALL, [], ["n1"]), (O.GT, 7, ["n1"])):
        wanted = MetadataFilters(filters=[MetadataFilter(key="k", value=value, operator=operator)])
        query = VectorStoreQuery(bag("text", "query"), similarity_top_k=9, filters=wanted)
        assert store.query(query).ids == ids


@settings(max_examples=40, deadline=None)
@given(rows=rows, more=rows, asked=st.lists(filters, min_size=1, max_size=12))
def test_filters_find_what_python_finds(
    rows: list[dict[str, Any]], more: list[dict[str, Any]], asked: list[MetadataFilters]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = LusiragVectorStore(Path(directory) / "store", identify_languages=False)
        nodes = [node(f"n{number}", f"text {number}", **{}) for number in range(len(rows) + len(more))]
        for each, metadata in zip(nodes, [*rows, *more], strict=True):
            each.metadata = metadata
        store.add(nodes[: len(rows)])
        store.add(nodes[len(rows) :])
        question = bag("text", "query")
        for wanted in asked:
            expected = {each.node_id for each in nodes if holds(wanted, each.metadata)}
            query = VectorStoreQuery(question, similarity_top_k=100, filters=wanted)
            assert set(store.query(query).ids or []) == expected, wanted
            assert {each.node_id for each in store.get_nodes(filters=wanted)} == expected
        store.delete_nodes(filters=asked[0])
        left = {each.node_id for each in nodes if not holds(asked[0], each.metadata)}
        assert {each.node_id for each in store.get_nodes()} == left
        assert store.client is not None
        store.client.close()


def test_one_filter_of_each_operator(store: LusiragVectorStore) -> None:
    store.add(
        [
            node("a", "x", "doc-1", year=1990, tags=["red", "blue"], title="Old Law", good=True, empty=[]),
            node("b", "x", "doc-1", year=1995.5, tags=["red"], title="new law", good=False),
            node("c", "x", "doc-2", year="unknown", tags=[], title="Treaty", numbers=[1, 2.5]),
            node("d", "x", place={"city": "Bern", "street": None}),
        ]
    )

    def found(key: str, name: str, value: Any) -> str:
        wanted = MetadataFilters(filters=[MetadataFilter(key=key, operator=FilterOperator(name), value=value)])
        return "".join(sorted(each.node_id for each in store.get_nodes(filters=wanted)))

    assert found("year", "==", 1990) == "a"
    assert found("year", "==", "unknown") == "c"
    assert found("year", ">", 1990) == "b"
    assert found("year", ">=", 1990.0) == "ab"
    assert found("year", "<", 1995.5) == "a"
    assert found("year", "<=", 2000) == "ab"
    assert found("year", "!=", 1990) == "bcd"
    assert found("year", "in", [1990, 7]) == "a"
    assert found("title", "nin", ["Treaty", "x"]) == "abd"
    assert found("good", "==", 1) == "a"
    assert found("tags", "any", ["blue", "green"]) == "a"
    assert found("tags", "all", ["blue", "red"]) == "a"
    assert found("tags", "contains", "red") == "ab"
    assert found("numbers", "contains", 2.5) == "c"
    assert found("place", "contains", "city") == "d"
    assert found("place", "contains", "Bern") == ""
    assert found("title", "text_match", "law") == "b"
    assert found("title", "text_match_insensitive", "LAW") == "ab"
    assert found("tags", "is_empty", None) == "cd"
    assert found("empty", "is_empty", None) == "abcd"
    for key in ("ref_doc_id", "doc_id", "document_id"):
        assert found(key, "==", "doc-1") == "ab"
        assert found(key, "is_empty", None) == "d"
        assert found(key, "!=", "doc-1") == "cd"
        assert found(key, "all", []) == "abc"


def test_ten_thousand_values(store: LusiragVectorStore) -> None:
    store.add([node(f"n{number}", "x", f"doc-{number}", number=number, name=f"it's {number}") for number in range(20)])
    numbers, names = list(range(10, 10_000)), [f"it's {number}" for number in range(15, 10_000)]
    wanted = MetadataFilters(
        filters=[
            MetadataFilter(key="number", value=numbers, operator=FilterOperator.IN),
            MetadataFilter(key="name", value=names, operator=FilterOperator.NIN),
            MetadataFilter(key="name", value="it's", operator=FilterOperator.TEXT_MATCH),
        ]
    )
    query = VectorStoreQuery(
        bag("x", "query"), 100, filters=wanted, doc_ids=[f"doc-{number}" for number in range(11, 10_000)]
    )
    assert sorted(store.query(query).ids or []) == ["n11", "n12", "n13", "n14"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("==", ["a"], r"'==' on 'k' has the value \['a'\]; it takes one text or number"),
        (">", None, "it takes one text or number"),
        ("contains", ["a"], "it takes one text or number"),
        ("in", "abc", "it takes a list of texts or numbers"),
        ("any", "abc", "it takes a list"),
        ("all", 3, "it takes a list"),
        ("text_match", 3, "it takes a text"),
        ("text_match_insensitive", None, "it takes a text"),
    ],
)
def test_values_that_do_not_go_with_the_operator(
    store: LusiragVectorStore, name: str, value: Any, message: str
) -> None:
    store.add([node("a", "x", k="a")])
    wanted = MetadataFilters(filters=[MetadataFilter(key="k", value=value, operator=FilterOperator(name))])
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        store.query(VectorStoreQuery(bag("x", "query"), filters=wanted))
    assert "\n" not in str(caught.value)
