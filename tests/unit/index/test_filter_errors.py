"""What a filter must not be: each refusal in one line, and nothing reached that is not a column."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from books import found

from lusirag.errors import InvalidArgumentError
from lusirag.index import Index
from lusirag.index.filters import database, sql
from lusirag.types import Document

UTC = datetime.UTC


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("", "where is empty"),
        (" \n", "where is empty"),
        ("-- nothing", "no SQL expression"),
        ("year >", "syntax error"),
        ("1=1) OR (1=1", 'syntax error at or near "\\)"'),
        ("1=1) OR (SELECT true) OR (1=1", "syntax error"),
        ("1=1) --", "syntax error"),
        ("1=1 /* and on", "unterminated"),
        ("1=1;", 'syntax error at or near ";"'),
        ("1=1; DROP TABLE x", "no SQL expression|one SQL expression"),
        ("1=1; SELECT 1", "no SQL expression|one SQL expression"),
        ("DROP TABLE x", "syntax error"),
        ("SELECT true", "syntax error"),
        ("year > 1 FROM books", "syntax error"),
        ("year > 1 WHERE true", "syntax error"),
        ("year > 1 ORDER BY 1", "syntax error"),
        ("year > 1 LIMIT 1", "syntax error"),
        ("year > 1 WINDOW w AS ()", "syntax error"),
        ("year > 1 UNION SELECT true", "syntax error|one SQL expression"),
        ("DISTINCT good", "syntax error|one SQL expression"),
        ("good AS x", "syntax error"),
        ("good, good", "one SQL expression"),
        ("good -- \n, good", "one SQL expression"),
        ("(good, good)", "true or false of a row"),
        ("*", "without a star"),
        ("COLUMNS(*) = 1", "without a star"),
        ("#1", "without a column by its number"),
        ("$1", "without a parameter"),
        ("year > ?", "without a parameter"),
        ("(SELECT true)", "without a subquery"),
        ("year IN (SELECT 1)", "without a subquery"),
        ("EXISTS (FROM 'secret.csv')", "without a subquery"),
        ("year = ANY([1990])", "without a subquery"),
        ("CASE WHEN good THEN (SELECT true) END", "without a subquery"),
        ("row_number() OVER () = 1", "without a window function"),
        ("count(*) > 1", "an aggregate"),
        ("sum(year) FILTER (good) > 1", "an aggregate"),
        ("unnest(tags) = 'a'", "the function 'unnest', which filters do not have"),
        ("random() > 0.5", "the function 'random'"),
        ("current_setting('threads') = '1'", "the function 'current_setting'"),
        ("getenv('HOME') = ''", "the function 'getenv'"),
        ("read_text('/etc/passwd') = ''", "the function 'read_text'"),
        ("uper(title) = 'A'", "did you mean 'upper'"),
        ("main.upper(title) = 'A'", "write upper"),
        ("title.upper() = 'A'", "write upper"),
        ("current_user = 'me'", "the column 'current_user'"),
        ("rowid = 1", "the column 'rowid'"),
        ('"lusirag: number" = 1', "the column 'lusirag: number'"),
        (
            "yeer > 1990",
            "the column 'yeer', which this index does not have; it has id, title, .* its own columns year,",
        ),
        ("YEAR > 1990", "any of the columns 'year', 'Year'"),
        ('year > 1990 AND "Year" > 3', "does not tell apart; give where as a dict"),
        ("year", "true or false of a row, not BIGINT"),
        ("NULL", "true or false of a row"),
        ("CAST(id AS INTEGER) = 1", "cannot be evaluated: .*'d0'"),
        ("abs(title) > 1", "cannot be evaluated"),
        ("NOT " * 30_000 + "good", "longer|characters|nested too deeply"),
        ("(" * 5_000 + "good" + ")" * 5_000, "nested too deeply"),
        ("NOT " * 900 + "good", "nested too deeply"),
        ("good\0", "NUL"),
    ],
)
def test_wrong_sql_gets_words(books: Index, where: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as error:
        books.search("x", where=where)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (5, "where is 5; give SQL"),
        (["year > 1"], "give SQL"),
        ({}, "empty"),
        ({"$and": []}, "at least one"),
        ({"$or": {"year": 1}}, "at least one"),
        ({"$or": "year"}, "at least one"),
        ({"$and": [5]}, "a dict is needed"),
        ({"$not": [{"year": 1}]}, "a dict is needed"),
        ({"$not": {}}, "empty"),
        ({5: 1}, "the key 5"),
        ({"yeer": 1}, r"the column 'yeer', which this index does not have; it has id, title, .* its own columns year,"),
        ({"YEAR": 1}, "the column 'YEAR'"),
        ({"$xor": []}, r"'\$xor' in the place of a column"),
        ({"year": {}}, r"no operator; it takes \$eq"),
        ({"year": {"$regex": "x"}}, r"the operator '\$regex'; it takes \$eq"),
        ({"year": {"$and": [1]}}, r"the operator '\$and'"),
        ({"year": [1990]}, r"\$in"),
        ({"year": {"$in": 1990}}, "takes a list"),
        ({"title": {"$in": "ab"}}, "takes a list"),
        ({"year": {"$gt": None}}, "give a value"),
        ({"year": "1990"}, r"the column 'year', which holds int64, with '1990' \(str\); give a number"),
        ({"year": True}, r"with True \(bool\); give a number"),
        ({"score": {"$in": [1, "x"]}}, "'x'"),
        ({"year": {"$contains": 1}}, r"\$contains to the column 'year', which holds int64; it is for text and lists"),
        ({"tags": {"$icontains": "a"}}, r"\$icontains .* it is for text$"),
        ({"tags": {"$contains": 1}}, r"with 1 \(int\); give a str"),
        ({"title": {"$contains": None}}, "give a str"),
        ({"title": 5}, r"the column 'title', which holds string, with 5 \(int\); give a str"),
        ({"title": "\ud800"}, "give a str"),
        ({"title": b"x"}, "give a str"),
        ({"title": "long " * 10_000 + "\ud800"}, "give a str"),
        ({"good": 1}, r"with 1 \(int\); give True or False"),
        ({"day": "yesterday"}, "ISO 8601"),
        ({"day": 5}, "ISO 8601"),
        ({"when": datetime.datetime(2020, 1, 1, tzinfo=UTC)}, "without time zone"),
        (
            {"tags": "a"},
            r"list<.*>, which a dict cannot compare; give where as SQL, such as list_contains\(\"tags\", 'a'\)",
        ),
        ({"tags": {"$in": ["a"]}}, "list_contains"),
        ({"author": "x"}, "which a dict cannot compare; give where as SQL"),
    ],
)
def test_wrong_dicts_get_words(books: Index, where: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as error:
        books.search("x", where=where)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_dicts_have_a_greatest_depth(books: Index) -> None:
    where: dict[str, Any] = {"year": 1990}
    inner: dict[str, Any] = {"$gt": 1990}
    for _ in range(5000):
        where, inner = {"$not": where}, {"$not": inner}
    for deep in (where, {"year": inner}):
        with pytest.raises(InvalidArgumentError, match=r"deep|many"):
            books.search("x", where=deep)


def test_an_index_without_columns_of_its_own_says_so(index: Index) -> None:
    assert index.search("x", where="year > 3") == []  # no documents, no columns that could be wrong
    index.add([Document("a", "text")])
    for where in ("year > 3", {"year": 3}):
        with pytest.raises(
            InvalidArgumentError, match="it has id, title, language, source, text and no columns of its"
        ):
            index.search("x", where=where)


def test_nothing_outside_is_reached(tmp_path: Path) -> None:
    """Even a statement that got past the check of its tree would find the database closed."""
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    outside = pa.table({"x": [1]})
    assert outside.num_rows == 1
    for statement in (
        f"SELECT * FROM read_csv('{secret}')",
        f"SELECT * FROM '{secret}'",
        f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
        f"ATTACH '{tmp_path / 'other.db'}'",
        "SELECT * FROM outside",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET threads = 8",
    ):
        with pytest.raises(InvalidArgumentError), database.cursor() as own:
            own.execute(statement).fetchall()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["secret.csv"]


def test_after_an_internal_error_of_duckdb_filters_work_again(books: Index) -> None:
    with pytest.raises(InvalidArgumentError, match="broken"), database.cursor():
        raise duckdb.InternalException("INTERNAL Error: broken\nand more")
    assert database._shared == {}
    assert found(books, "year = 1991 AND 5 = 5") == [1]


def test_functions_that_filters_may_call() -> None:
    allowed, aggregates = sql._functions()
    assert {"upper", "list_contains", "regexp_matches", "date_part", "struct_extract", "now"} <= allowed
    assert not {"random", "write_log", "nextval", "getvariable", "repeat", "pg_sleep", "sleep_ms"} & allowed
    assert not {"read_csv", "read_text", "glob", "query", "unnest"} & (allowed | aggregates)
