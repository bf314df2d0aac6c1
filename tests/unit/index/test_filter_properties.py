"""Any filter finds what plain Python finds, in any state of an index: as a dict, and as SQL that says the same."""

from __future__ import annotations

import datetime
import math
import operator
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_embedder import FakeEmbedder, vectors_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_properties import live

from lusirag.index import Index, coded
from lusirag.index.filters import masks
from lusirag.types import Document

DAYS = [datetime.date(2020, 1, day) for day in (1, 2, 3)]
VALUES: dict[str, list[Any]] = {
    "n": [-1, 0, 1, 2, 1.0, 1.5, -0.0, math.inf, math.nan, 2**53],
    "whole": [-1, 0, 1, 7, 2**62, 2**62 + 1],
    "s": ["", "a", "b", "B", "a'b", 'a"b', "é", "1"],
    "flag": [True, False],
    "day": DAYS,
    "title": ["a", "b", "T"],
    "id": ["d0", "d3", "d11"],
}
# Only asked for: no column of integers holds them, and doubles cannot tell some of them from what it holds.
ASKED: dict[str, list[Any]] = {"whole": [7.0, 6.5, float(2**62), 10**40, -(10**400)]}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$neq": operator.ne,
    "$ne": operator.ne,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
SQL = {"$eq": "=", "$neq": "<>", "$ne": "<>", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def order(value: Any) -> Any:
    """NaN equals itself and is the largest number."""
    if not isinstance(value, float | int):
        return value
    unordered = isinstance(value, float) and math.isnan(value)
    return unordered, 0 if unordered else value


def holds(where: dict[str, Any], row: dict[str, Any]) -> bool:
    """The filter's meaning, in Python."""
    for key, value in where.items():
        if key == "$and":
            found = all(holds(part, row) for part in value)
        elif key == "$or":
            found = any(holds(part, row) for part in value)
        elif key == "$not":
            found = not holds(value, row)
        else:
            operations = value if isinstance(value, dict) else {"$eq": value}
            found = all(matches(row.get(key), name, operand) for name, operand in operations.items())
        if not found:
            return False
    return True


def matches(value: Any, name: str, operand: Any) -> bool:
    if name == "$not":
        return not all(matches(value, inner, part) for inner, part in operand.items())
    if name in ("$in", "$nin"):
        return any(matches(value, "$eq", part) for part in operand) == (name == "$in")
    if value is None or operand is None:
        return (value is operand) == (name == "$eq") if name in ("$eq", "$ne", "$neq") else False
    return COMPARISONS[name](order(value), order(operand))


def as_sql(where: dict[str, Any]) -> str:
    """The same filter as SQL text."""
    parts = []
    for key, value in where.items():
        if key in ("$and", "$or"):
            parts.append("(" + f" {key[1:]} ".join(map(as_sql, value)) + ")")
        elif key == "$not":
            parts.append(f"NOT ({as_sql(value)})")
        else:
            operations = value if isinstance(value, dict) else {"$eq": value}
            parts += [condition(key, name, operand) for name, operand in operations.items()]
    return " AND ".join(parts)


def condition(column: str, name: str, operand: Any) -> str:
    if name == "$not":
        return "NOT (" + " AND ".join(condition(column, inner, part) for inner, part in operand.items()) + ")"
    if name in ("$in", "$nin"):
        any_of = " OR ".join(condition(column, "$eq", part) for part in operand) or "false"
        return f"({any_of})" if name == "$in" else f"NOT ({any_of})"
    if operand is None:
        return f'"{column}" IS {"" if name == "$eq" else "NOT "}NULL'
    otherwise = "true" if SQL[name] == "<>" else "false"
    return f'coalesce("{column}" {SQL[name]} {literal(operand)}, {otherwise})'


def literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, datetime.date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and abs(value) > 2**63:
        return "'inf'::DOUBLE" if value > 0 else "'-inf'::DOUBLE"
    return f"'{value}'::DOUBLE" if isinstance(value, float) else str(value)


@st.composite
def column_filters(draw: st.DrawFn) -> dict[str, Any]:
    column = draw(st.sampled_from(sorted(VALUES)))
    value = st.sampled_from([*VALUES[column], *ASKED.get(column, [])])
    perhaps = st.one_of(st.none(), value)
    equal = st.tuples(st.sampled_from(["$eq", "$ne", "$neq"]), perhaps)
    ordered = st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), value)
    among = st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(perhaps, max_size=4))
    some = st.lists(st.one_of(equal, ordered, among), min_size=1, max_size=2).map(dict)
    return {column: draw(st.one_of(perhaps, some, st.fixed_dictionaries({"$not": some})))}


filters = st.recursive(
    column_filters(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$and": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$or": parts}),
        inner.map(lambda part: {"$not": part}),
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
    ),
    max_leaves=6,
)
numbers = st.integers(0, 30)
seeds = st.integers(0, 10_000)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("add"), seeds),
        st.tuples(st.just("delete"), st.sets(numbers, max_size=5)),
        st.tuples(st.just("delete where"), filters),
        st.tuples(st.just("compact"), st.none()),
        st.tuples(st.just("reopen"), st.none()),
    ),
    max_size=4,
)
ANCHOR = {"id": "d99", "n": 1, "whole": 1, "s": "a", "flag": True, "day": DAYS[0], "title": None}


def document(name: str, row: dict[str, Any]) -> Document:
    metadata = {key: value for key, value in row.items() if key not in ("id", "title") and value is not None}
    # Some texts are shared by documents, so that equal scores occur.
    return Document(name, f"text {len(name) + int(name[1:]) % 4}", title=row["title"], metadata=metadata)


def random_rows(seed: int) -> dict[str, dict[str, Any]]:
    """Some documents with many nulls; the column n holds integers or floats, so that segments differ in its type."""
    draw = np.random.default_rng(seed)
    floats = [0.0, -0.0, 1.0, 1.5, math.nan, math.inf] if draw.random() < 0.5 else [-1, 0, 1, 2, 2**53]
    values = {**VALUES, "n": floats, "whole": VALUES["whole"]}
    found = {}
    for number in draw.choice(31, int(draw.integers(1, 16)), replace=False).tolist():
        row = {key: some[int(draw.integers(len(some)))] for key, some in values.items()}
        nulls = {key: None for key in row if draw.random() < 0.25}
        found[f"d{number}"] = row | nulls | {"id": f"d{number}"}
    return found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seeds, changes, st.lists(filters, min_size=3, max_size=8), st.booleans())
def test_a_filter_means_what_python_means(
    seed: int, changes: list[tuple[str, Any]], wheres: list[dict[str, Any]], by_value: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "_ROWS_WORTH_CODES", 0 if by_value else 1 << 30)
        patch.setattr(coded, "_ONE_IN", 1)
        index = Index.create(Path(folder) / "index", FakeEmbedder(), identify_languages=False)
        # One document has a value in every column, and stays, so that each is known.
        index.add([document("d99", ANCHOR)])
        model = {"d99": ANCHOR}
        for kind, what in [("add", seed), ("add", seed + 1), *changes]:
            if kind == "add":
                added = random_rows(what)
                index.add([document(name, row) for name, row in added.items()], commit_passages=3)
                model |= added
            elif kind == "delete":
                names = {f"d{number}" for number in what}
                assert index.delete(names) == len(names & set(model))
                model = {name: row for name, row in model.items() if name not in names}
            elif kind == "delete where":
                both = {"$and": [what, {"id": {"$ne": "d99"}}]}
                gone = {name for name, row in model.items() if holds(both, row)}
                assert index.delete(where=both) == len(gone)
                model = {name: row for name, row in model.items() if name not in gone}
            elif kind == "compact":
                index.compact()
            else:
                index = Index.open(index.path, FakeEmbedder())
        for where in wheres:
            check(index, model, where, where)
            check(index, model, where, as_sql(where))


def check(index: Index, model: dict[str, Any], where: dict[str, Any], given: dict[str, Any] | str) -> None:
    stored = [name for segment in index._snapshot.segments for name in live(segment)]
    assert sorted(stored) == sorted(model)
    kept = [name for name in stored if holds(where, model[name])]
    texts = [f"{row['title']}\n" * bool(row["title"]) for row in (model[name] for name in kept)]
    texts = [text + document(name, model[name]).text for name, text in zip(kept, texts, strict=True)]
    vectors = vectors_of(texts).astype(np.float64)
    for k in (3, 100):
        scores = (vectors * vectors_of(["q"])[0]).sum(axis=1).astype(np.float32)
        ranking = np.lexsort((np.arange(len(kept)), -scores))[:k]
        assert [hit.id for hit in index.search("q", k=k, where=given)] == [kept[row] for row in ranking]
