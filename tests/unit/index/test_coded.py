"""Filters over columns of few values: asked about the values, with the same answer as about the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lusirag.index import Index, coded
from lusirag.index.filters import masks


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows or values each statement was asked about, where columns are coded whatever their length."""
    monkeypatch.setattr(masks, "_ROWS_WORTH_CODES", 0)
    counts: list[int] = []
    mask = masks._mask

    def counted(whole: Any, start: int, rows: int, expression: Any) -> Any:
        counts.append(rows)
        return mask(whole, start, rows, expression)

    monkeypatch.setattr(masks, "_mask", counted)
    return counts


def few_values(rows: int, start: int = 0) -> pa.Table:
    numbers = range(start, start + rows)
    return pa.table({
        "id": [f"d{number}" for number in numbers],
        "text": ["a"] * rows,
        "shelf": [None if number % 7 == 6 else f"s{number % 7}" for number in numbers],
        "year": pa.array([1900 + number % 5 for number in numbers], pa.int16()),
        "own": [f"o{number // 2}" for number in numbers],
        "lent": [f"s{number % 3}" for number in numbers],
        "x": [0.0 if number % 2 else -0.0 for number in numbers],
    })  # fmt: skip


def numbers_found(index: Index, where: Any) -> list[int]:
    return sorted(int(hit.id[1:]) for hit in index.search("q", k=1000, where=where))


def test_a_column_of_few_values_is_asked_about_each_of_them_once(index: Index, asked: list[int]) -> None:
    index.add(few_values(200))
    index.add(few_values(300, 200))
    assert len(index._snapshot.segments) == 2
    for number, where in enumerate(["shelf = 's3'", {"shelf": "s4"}, "shelf IN ('s5', 's0')", {"shelf": None}]):
        asked.clear()
        kept = ([3], [4], [5, 0], [6])[number]
        assert numbers_found(index, where) == [each for each in range(500) if each % 7 in kept]
        assert asked == ([200, 300] if number == 0 else [14])  # seven values in each segment, in one statement
    asked.clear()
    assert numbers_found(index, "year < 1901") == numbers_found(index, "year = 1900") == [*range(0, 500, 5)]
    assert asked == [200, 300, 10]
    index.delete(["d3"])
    index.add(few_values(1, 3).set_column(2, "shelf", [["s9"]]))
    asked.clear()
    assert numbers_found(index, "shelf >= 's9'") == [3]
    assert sorted(asked) == [1, 14]  # the new segment is asked for the first time


def test_two_columns_of_one_type_are_told_apart(index: Index, asked: list[int]) -> None:
    index.add(few_values(300))
    for _ in range(2):
        for value in ("s1", "s2"):
            assert numbers_found(index, {"shelf": value}) == [n for n in range(300) if f"s{n % 7}" == value]
            assert numbers_found(index, {"lent": value}) == [n for n in range(300) if f"s{n % 3}" == value]
    assert asked == [300, 300, 7, 3]


def test_a_column_that_is_widened_later_is_coded_again(index: Index, asked: list[int]) -> None:
    index.add(few_values(300))
    for year in (1900, 1901):
        assert numbers_found(index, {"year": year}) == [n for n in range(300) if n % 5 == year - 1900]
    wider = few_values(300, 300)
    index.add(wider.set_column(3, "year", pa.array([1900 + n % 5 + (n % 2) * 2**40 for n in range(300)])))
    for year in (1902, 1903, 1904 + 2**40):
        expected = [n for n in range(600) if 1900 + n % 5 + (n >= 300) * (n % 2) * 2**40 == year]
        assert numbers_found(index, {"year": year}) == expected
    assert asked == [300, 5, 300, 300, 15, 15]


def test_more_values_than_a_byte_can_number(asked: list[int], index: Index) -> None:
    table = few_values(4000)
    many = pa.array([f"v{number % 400}" for number in range(4000)])
    index.add(table.append_column("many", many))
    for value in (0, 255, 256, 399):
        assert numbers_found(index, {"many": f"v{value}"}) == [n for n in range(4000) if n % 400 == value]
    assert asked == [4000, 400, 400, 400]


def test_other_columns_are_asked_about_row_by_row(index: Index, asked: list[int]) -> None:
    index.add(few_values(300))
    for where in ("own = 'o{}'", "x = 0 AND {0} = {0}", "shelf = 's1' AND year > {}", "{0} = {0}"):
        for number in (1, 2, 3):
            asked.clear()
            index.search("q", where=where.format(number))
            assert asked == [300]
    for _ in range(3):  # what depends on more than its column is asked about each row, each time
        asked.clear()
        assert len(numbers_found(index, "shelf = 's1' AND current_date > '2000-01-01'")) == 43
        assert asked == [300]


def test_short_segments_are_asked_about_row_by_row(index: Index) -> None:
    index.add(few_values(300))
    for value in "s1", "s2", "s3":
        index.search("q", where={"shelf": value})
    assert not index._snapshot.segments[0].documents.coded._asked


def test_a_column_of_many_values_is_not_taken_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    distinct = coded._distinct

    def counted(column: pa.ChunkedArray) -> pa.Array:
        looked_at.append(len(column))
        return distinct(column)

    monkeypatch.setattr(coded, "_distinct", counted)
    monkeypatch.setattr(coded, "_ROWS_AT_ONCE", 100)
    assert coded.coded(pa.chunked_array([[f"text {number}" for number in range(2000)]])) is None
    assert looked_at == [100, 100, 100]  # more than one in eight
    found = coded.coded(pa.chunked_array([[None, "a"] * 450, ["b", "a"] * 50]))
    assert found is not None
    assert found.codes.dtype == np.uint8
    assert [found.values[code].as_py() for code in found.codes] == [None, "a"] * 450 + ["b", "a"] * 50
    assert len(found.values) == 3
