from __future__ import annotations

import datetime
import os
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from books import found
from fake_embedder import FakeEmbedder, SplittingEmbedder, vectors_of

from lusirag.errors import IndexStateError, InvalidArgumentError
from lusirag.index import Index, segment
from lusirag.index.engine import load_faiss
from lusirag.index.filters import masks
from lusirag.index.recent import Recent
from lusirag.types import Document

UTC = datetime.UTC


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("year > 1996", [7, 8, 9]),
        ("year BETWEEN 1992 AND 1993 OR id = 'd9'", [2, 3, 9]),
        ("title IS NULL AND language = 'de' AND source = 'shelf' AND text LIKE '%3'", [3]),
        ("score > 3", [7, 8, 9]),
        ("NOT score > 1", [0, 1, 2]),
        ("coalesce(score, 100) >= 4", [4, 8, 9]),
        ("list_contains(tags, 'a')", [1, 2, 4, 5, 7, 8]),
        ("len(list_filter(tags, lambda tag: tag = 'a' AND year < 1995)) > 0", [1, 2, 4]),
        ("author.name IN ('n1', 'n2')", [1, 2]),
        ("\"when\" < '2020-01-03'", [0, 1]),
        ("zoned < TIMESTAMPTZ '2020-01-02 14:00:00+02'", [0]),
        ("day = DATE '2020-01-04'", [3]),
        ("day > current_date", []),
        ("zoned < now()", [*range(10)]),
        ("price = 4.5", [3]),
        ("NOT good", [5, 6, 7, 8, 9]),
        ("good IS DISTINCT FROM true -- a remark", [5, 6, 7, 8, 9]),
        ('"say ""hi""" = \'v3\'', [3]),
        ('"select" = 3', [3]),
        ('"Year" = 97', [3]),
        ("CASE WHEN good THEN year = 1991 ELSE upper(id) = 'D7' END", [1, 7]),
        ("year::text SIMILAR TO '199[01]'", [0, 1]),
        ("true", [*range(10)]),
        ("1 = 2", []),
        (" OR ".join(["year = 1991"] * 3000), [1]),
    ],
)
def test_sql(books: Index, where: str, expected: list[int]) -> None:
    assert found(books, where) == expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"year": 1993}, [3]),
        ({"year": 1993.0}, [3]),
        ({"year": 1993.5}, []),
        ({"year": {"$gt": 1993.5, "$lt": np.float32(1995.5)}}, [4, 5]),
        ({"year": {"$in": [np.int64(1990), 1991.0, 1992.5, 10**50]}}, [0, 1]),
        ({"year": {"$in": range(1995, 3000)}}, [5, 6, 7, 8, 9]),
        ({"year": {"$nin": range(1995, 3000)}}, [0, 1, 2, 3, 4]),
        ({"year": {"$in": []}}, []),
        ({"year": {"$lt": 10**400}}, [*range(10)]),
        ({"score": {"$gt": 3}}, [7, 8, 9]),
        ({"score": {"$not": {"$gt": 1}}}, [0, 1, 2, 4]),
        ({"score": {"$neq": 1}}, [0, 1, 3, 4, 5, 6, 7, 8, 9]),
        ({"score": None}, [4]),
        ({"year": {"$not": 1990}}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"score": {"$ne": None}, "good": True}, [0, 1, 2, 3]),
        ({"score": {"$in": [None, 0]}}, [0, 4]),
        ({"score": {"$nin": [None, 0]}}, [1, 2, 3, 5, 6, 7, 8, 9]),
        ({"tags": {"$contains": "a"}}, [1, 2, 4, 5, 7, 8]),
        ({"tags": {"$not": {"$contains": "a"}}}, [0, 3, 6, 9]),
        ({"text": {"$contains": "xt 1"}}, [1]),
        ({"title": {"$contains": ""}}, [0, 2, 4, 6, 8]),
        ({"title": {"$contains": "title"}}, []),
        ({"title": {"$not": {"$contains": "Title 4"}}}, [0, 1, 2, 3, 5, 6, 7, 8, 9]),
        ({"title": {"$icontains": "tITLE 4"}}, [4]),
        ({"title": {"$not": {"$icontains": "title 4"}}}, [0, 1, 2, 3, 5, 6, 7, 8, 9]),
        ({"text": {"$contains": "%"}}, []),
        ({"text": {"$contains": "'"}}, []),
        ({"$or": [{"year": 1990}, {"$and": [{"language": "de"}, {"$not": {"year": {"$lt": 1997}}}]}]}, [0, 7, 9]),
        ({"title": "Title 2"}, [2]),
        ({"id": {"$in": ["d1", "d77"]}}, [1]),
        ({"text": {"$gte": "text 8"}}, [8, 9]),
        ({"when": datetime.datetime(2020, 1, 3, 12)}, [2]),
        ({"when": {"$lt": datetime.date(2020, 1, 3)}}, [0, 1]),
        ({"when": {"$lt": "2020-01-03T12:00:01"}}, [0, 1, 2]),
        ({"zoned": "2020-01-03T14:00:00+02:00"}, [2]),
        ({"zoned": {"$lte": datetime.datetime(2020, 1, 2, 12)}}, [0, 1]),
        ({"day": "2020-01-03"}, [2]),
        ({"day": {"$in": [datetime.date(2020, 1, 3), datetime.datetime(2020, 1, 4)]}}, [2, 3]),
        ({"price": Decimal("4.5")}, [3]),
        ({"price": {"$in": [Decimal("4.50"), 6, 7.5, 10**40]}}, [3, 4, 5]),
        ({'say "hi"': "v3"}, [3]),
        ({"SELECT": 3}, [3]),
        ({"Year": 97, "year": 1993}, [3]),
        ({"": 3}, [3]),
        ({"$odd": 3}, [3]),
        ({"tags": None}, []),
        ({"title": "'; DROP TABLE books; --"}, []),
        ({"title": {"$in": ["x') OR (1=1", 'y" OR "1"="1']}}, []),
        ({"title": "nul\0 character"}, []),
    ],
)
def test_dict(books: Index, where: dict[str, Any], expected: list[int]) -> None:
    assert found(books, where) == expected


def test_together_with_languages_deletions_and_vectors(index: Index) -> None:
    index.add([Document(f"d{n}", f"t{n}", language=("en", "de")[n % 2], metadata={"n": n}) for n in range(20)])
    index.delete(["d3", "d4"])
    assert found(index, "n < 8", languages=["de"]) == [1, 5, 7]
    assert found(index, {"n": {"$lt": 8}}, languages=["de"]) == [1, 5, 7]
    index.delete(["d5"])  # what the filter matched is remembered, what is deleted is not
    assert found(index, "n < 8", languages=["de"]) == [1, 7]
    one, two = index.search_vectors(vectors_of(["a", "b"]), k=2, where="n < 2 OR n > 18")
    assert {hit.metadata["n"] for hit in one} <= {0, 1, 19}
    assert [hits[0].metadata["n"] for hits in index.search_many(["a", "b"], k=1, where="n = 7")] == [7, 7]
    assert index.search("x", where="n = 3") == []
    assert len(two) == 2


def test_segments_may_differ_in_columns_and_types(index: Index) -> None:
    index.add([Document("d0", "t", metadata={"n": 2**53 + 1}), Document("d1", "t", metadata={"n": 1})])
    assert found(index, {"n": 2**53 + 1}) == [0]
    index.add([Document("d2", "t", metadata={"n": 1.5, "late": "x"})])
    index.add([Document("d3", "t")])
    assert index.info()["columns"] == {"n": "double", "late": "string"}
    assert found(index, "n >= 1.5") == found(index, {"n": {"$gte": 1.5}}) == [0, 2]
    assert found(index, "late IS NULL") == found(index, {"late": None}) == [0, 1, 3]
    assert found(index, {"late": {"$neq": "x"}}) == [0, 1, 3]
    index.compact()
    assert found(index, "n >= 1.5") == [0, 2]


@pytest.mark.parametrize(
    ("kind", "value", "other"),
    [
        (pa.uint64(), 2**64 - 1, 5),
        (pa.int8(), -128, 127),
        (pa.float16(), np.float16(1.5), np.float16(2)),
        (pa.float32(), 0.5, 0.25),
        (pa.decimal128(38, 10), Decimal("12345678901234567890.5"), Decimal("1")),
        (pa.decimal128(38, 10), Decimal(f"{28 * '9'}.{10 * '9'}"), Decimal(f"{28 * '9'}.{9 * '9'}8")),
        (pa.large_string(), "é", "e"),
        (pa.date64(), datetime.date(1, 1, 1), datetime.date(9999, 12, 31)),
        (pa.timestamp("s"), datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31)),
        (pa.timestamp("ns"), datetime.datetime(2020, 1, 1), datetime.datetime(2021, 1, 1)),
        (pa.timestamp("ns", "Asia/Tokyo"), datetime.datetime(2020, 1, 1, tzinfo=UTC), None),
        (pa.timestamp("ms", "UTC"), datetime.datetime(2020, 1, 1, tzinfo=UTC), None),
    ],
)
def test_types_of_columns(index: Index, kind: pa.DataType, value: Any, other: Any) -> None:
    columns = {"id": ["d0", "d1", "d2"], "text": ["a", "b", "c"], "x": pa.array([value, other, None], kind)}
    index.add(pa.table(columns))
    assert found(index, {"x": value}) == [0]
    assert found(index, {"x": {"$in": [value]}}) == [0]
    assert found(index, {"x": {"$ne": value}}) == [1, 2]
    assert found(index, {"x": None}) == ([2] if other is not None else [1, 2])
    assert found(index, "x IS NOT NULL") == ([0, 1] if other is not None else [0])


def test_times_out_of_reach_of_nanoseconds(index: Index) -> None:
    times = pa.array([datetime.datetime(1700, 1, 1), datetime.datetime(2262, 1, 1)], pa.timestamp("ns"))
    index.add(pa.table({"id": ["d0", "d1"], "text": ["a", "b"], "x": times}))
    for year, later in ((1, [0, 1]), (2000, [1]), (9999, [])):
        assert found(index, {"x": {"$gt": datetime.datetime(year, 1, 1)}}) == later


def test_a_column_without_any_value(index: Index) -> None:
    index.add(pa.table({"id": ["d0", "d1"], "text": ["a", "b"], "x": pa.nulls(2)}))
    for value in (5, "a", 1.5, True, datetime.date(2020, 1, 1)):
        assert found(index, {"x": value}) == found(index, {"x": {"$lt": value}}) == []
        assert found(index, {"x": {"$ne": value}}) == found(index, {"x": {"$nin": [value]}}) == [0, 1]
    assert found(index, "x IS NULL") == [0, 1]


def test_a_type_that_duckdb_does_not_know_is_named(index: Index) -> None:
    index.add(pa.table({"id": ["d0"], "text": ["a"], "n": [1], "x": pa.array([Decimal(1)], pa.decimal256(60, 2))}))
    with pytest.raises(InvalidArgumentError, match="cannot be evaluated"):
        index.search("x", where="x > 1")
    assert found(index, "n = 1") == [0]


def test_id_is_the_documents_and_text_the_passages(tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", SplittingEmbedder(8), identify_languages=False) as index:
        index.add([Document(f"d{n}", "one two three. " * 10 + f"end{n}", metadata={"n": n}) for n in range(3)])
        assert len(index.search("x", k=100, where="id = 'd1'")) > 1
        assert {hit.document_id for hit in index.search("x", k=100, where={"id": "d1"})} == {"d1"}
        [last] = index.search("x", k=100, where="text LIKE '%end2'")
        assert last.id.startswith("d2#")
        assert index.delete(where="text LIKE '%end2'") == 1
        assert {hit.document_id for hit in index.search("x", k=100)} == {"d0", "d1"}


def test_delete_by_filter(index: Index) -> None:
    index.add([Document(f"d{n}", f"t{n}", metadata={"n": n}) for n in range(30)], commit_passages=10)
    assert index.delete(where="n >= 20 AND n < 25") == 5
    assert index.delete(where={"n": {"$gte": 20, "$lt": 26}}) == 1
    assert index.delete(["d1", "d2", "d2", "d26", "nobody"], where="n < 10") == 2
    assert index.delete(["d3"]) == 1
    assert index.delete([]) == index.delete([], where="true") == index.delete(where="n = 1000") == 0
    gone = {1, 2, 3, *range(20, 26)}
    assert found(index, "true") == [n for n in range(30) if n not in gone]
    for arguments in ({}, {"where": "nope = 1"}, {"where": {}}, {"where": ""}):
        with pytest.raises(InvalidArgumentError):
            index.delete(**arguments)
    assert len(index) == 30 - len(gone)
    assert index.verify().ok
    assert Index.open(index.path, FakeEmbedder()).info()["documents"] == 30 - len(gone)
    assert index.delete(where="true") == 30 - len(gone)
    assert index.delete(where="n = 1") == 0


def test_what_a_filter_matched_is_remembered_but_not_what_depends_on_the_time(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add([Document("d0", "t", metadata={"when": datetime.datetime(2020, 1, 1), "n": 1})])
    evaluated = []
    evaluate = masks._evaluated
    monkeypatch.setattr(masks, "_evaluated", lambda *given: evaluated.extend(given[0]) or evaluate(*given))
    for where, times in (("n = 1", 1), ({"n": 1}, 1), ('"when" < now()', 2), ('"when" < current_date', 2)):
        evaluated.clear()
        assert found(index, where) == found(index, where) == [0]
        assert len(evaluated) == times, where


def test_recent_keeps_the_last_asked_for() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert (recent.get("a"), recent.get("b"), recent.get("c")) == (1, None, 3)


def test_few_rows_are_copied_out_with_the_same_ranking(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    from lusirag.index import scan

    same = [Document(f"d{n}", f"text {n % 40}", language="en", metadata={"n": n}) for n in range(600)]
    index.add(same, commit_passages=200)
    for k in (1, 5, 20, 100):
        for where in ("n % 20 = 3", "n % 3 = 0", {"n": {"$in": [7, 47, 87, 127]}}):
            copied = index.search_many(["q", "text 3"], k=k, where=where)
            with monkeypatch.context() as patched:
                patched.setattr(scan, "FEW", 10**9)
                assert index.search_many(["q", "text 3"], k=k, where=where) == copied
                patched.setattr(scan, "MANY", 1)
                assert index.search_many(["q", "text 3"], k=k, where=where) == copied
                patched.setattr(scan, "FEW", 8)
                assert index.search_many(["q", "text 3"], k=k, where=where) == copied


def test_segments_filtered_at_once_give_the_same(books: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    wheres = [f"year > {year} AND {year} = {year}" for year in range(1985, 2000)]
    expected = [found(books, where) for where in wheres]
    assert len({tuple(each) for each in expected}) > 3
    monkeypatch.setattr(masks, "_ROWS_WORTH_THREADS", 0)
    monkeypatch.setattr(masks, "_FEWEST_ROWS", 8)
    faiss = load_faiss()
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(4)
    with Index.open(books.path, FakeEmbedder()) as fresh:
        assert [found(fresh, where) for where in wheres] == expected
    faiss.omp_set_num_threads(threads)


def test_a_segment_filtered_in_pieces_gives_the_same(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add([Document(f"d{n}", f"t{n}", metadata={"n": n}) for n in range(100)])
    monkeypatch.setattr(masks, "_ROWS_WORTH_THREADS", 0)
    for threads, size in ((16, 8), (16, 16), (3, 8), (2, 96), (1, 8)):
        monkeypatch.setattr(masks, "thread_count", lambda threads=threads: threads)
        monkeypatch.setattr(masks, "_FEWEST_ROWS", size)
        for least in (0, 37, 99, 100):
            expected = [n for n in range(least, 100) if n % 3 != threads % 3]
            assert found(index, f"n >= {least} AND n % 3 <> {threads} % 3 AND {size} = {size}") == expected


def test_threads_filter_at_once(books: Index) -> None:
    problems: list[object] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                n = (number + turn) % 10
                for where in (f"year = {1990 + n} AND {turn} = {turn}", {"SELECT": {"$eq": n, "$lt": turn + 100}}):
                    if found(books, where) != [n]:
                        problems.append((where, found(books, where)))
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_an_altered_column_is_named_and_never_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "_CHECKED_ON_OPEN_BYTES", 0)
    path = tmp_path / "index"
    with Index.create(path, FakeEmbedder(), identify_languages=False) as index:
        index.add([Document(f"d{n}", f"t{n}", title=f"T{n}", metadata={"s": "x" * n, "n": n}) for n in range(40)])
    file = next(path.glob("segments/*/documents.arrow"))
    content = file.read_bytes()
    random = np.random.default_rng(5)
    refused = 0
    for place in random.choice(len(content), 120, replace=False).tolist():
        altered = bytearray(content)
        altered[place] ^= int(random.integers(1, 256))
        file.write_bytes(altered)
        try:
            with Index.open(path, FakeEmbedder()) as index:
                index.search("x", where="s LIKE 'xx%' OR n > 3 OR title = 'T1' OR id = 'd1' OR text = 't1'")
                index.search("x", where={"s": {"$gt": "xx"}, "id": {"$ne": "d3"}})
        except IndexStateError:
            refused += 1
    assert refused > 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_filters_too(index: Index) -> None:
    index.add([Document("d1", "text", metadata={"n": 1})])
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from fake_embedder import FakeEmbedder\n"
        "from lusirag.index import Index\n"
        "index = Index.open(sys.argv[2], FakeEmbedder())\n"
        "index.search('x', where='n = 1')\n"
        "if child := os.fork():\n"
        "    os.waitpid(child, 0)\n"
        "print(len(index.search('x', where='n > 0')), flush=True)\n"
        "os._exit(0)\n"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent), str(index.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["1", "1"]


def test_duckdb_is_imported_by_filters_alone(index: Index) -> None:
    index.add([Document("a", "text", metadata={"n": 1})])
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from fake_embedder import FakeEmbedder\n"
        "from lusirag.index import Index\n"
        "index = Index.open(sys.argv[2], FakeEmbedder())\n"
        "index.search('x'); print('duckdb' in sys.modules)\n"
        "index.search('x', where='n = 1'); print('duckdb' in sys.modules, 'pandas' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent), str(index.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]
