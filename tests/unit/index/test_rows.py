"""Passages read from the file's buffers, one or many: what Arrow gives, or words; whatever byte was altered."""

from __future__ import annotations

import datetime
import gc
import struct
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lusirag.corpus import CHUNK_COLUMN, CHUNK_TYPE
from lusirag.errors import IndexStateError
from lusirag.index.columns import CORPUS, rebatch
from lusirag.index.documents import Documents

ROWS = 21
BATCH = 8
MANY = [11 * row % ROWS for row in range(5 * ROWS)]
FLIPS = {"structure": 1800, "values": 700}
TEXTS = ("one more text", "ещё текст", "文書を読む", "दस्तावेज़", "البحث", "a 😀")
OPENING = (pa.ArrowException, OSError, ValueError, KeyError, IndexError, MemoryError)  # as `segment._checked` has it

NAIVE = datetime.datetime(2024, 10, 27, 0, 30, 1, 234567)
UTC = NAIVE.replace(tzinfo=datetime.UTC)
LARGE = 2**63 - 1
# Values of many types; each column is tried with and without nulls.
VALUES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.int8(), [-128, 0, 127]),
    (pa.int16(), [-(2**15), 5]),
    (pa.int32(), [-(2**31), 2**31 - 1]),
    (pa.int64(), [-LARGE - 1, LARGE]),
    (pa.uint8(), [0, 255]),
    (pa.uint16(), [2**16 - 1]),
    (pa.uint32(), [2**32 - 1]),
    (pa.uint64(), [2**64 - 1, 0]),
    (pa.float16(), [np.float16(1.5)]),
    (pa.float32(), [0.1, float("inf"), -0.0]),
    (pa.float64(), [0.1, -1e308, 5e-324]),
    (pa.bool_(), [True, False, False]),
    (pa.string(), ["", "ü", "x" * 300]),
    (pa.large_string(), ["", "文", "x#1"]),
    (pa.binary(), [b"", b"\xff"]),
    (pa.binary(3), [b"abc"]),
    (pa.date32(), [datetime.date(1, 1, 1), datetime.date(9999, 12, 31)]),
    (pa.date64(), [datetime.date(2024, 2, 29)]),
    (pa.time64("us"), [datetime.time(23, 59, 59, 999999)]),
    (pa.duration("ms"), [datetime.timedelta(days=-3, milliseconds=7)]),
    (pa.timestamp("s"), [NAIVE, datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31)]),
    (pa.timestamp("ms"), [NAIVE, datetime.datetime(1969, 12, 31, 23, 59, 59)]),
    (pa.timestamp("us"), [NAIVE, datetime.datetime(1, 1, 1)]),
    (pa.timestamp("ns"), [NAIVE]),
    (pa.timestamp("us", "UTC"), [UTC]),
    # Summer time ends: an hour stands twice on the clock.
    (pa.timestamp("s", "Europe/Berlin"), [UTC, UTC + datetime.timedelta(hours=1), UTC + datetime.timedelta(days=200)]),
    (pa.timestamp("ms", "+05:30"), [UTC]),
    (pa.decimal128(38, 4), [Decimal("12345678901234567890.1234"), Decimal("-0.0001")]),
    (pa.list_(pa.string()), [[], ["a", None, "文"], ["b"]]),
    (pa.list_(pa.bool_()), [[True, None, False], []]),
    (pa.large_list(pa.list_(pa.timestamp("s", "UTC"))), [[[UTC], None, []], []]),
    (pa.list_(pa.float32(), 2), [[0.5, 1.5]]),
    (pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]), [{"a": 1, "b": ["x"]}, {"a": None, "b": None}]),
    (pa.list_(pa.struct([("a", pa.int8())])), [[{"a": 1}, None], []]),
    (pa.map_(pa.string(), pa.int64()), [[("a", 1)], []]),
    (pa.null(), [None]),
]


def table(columns: dict[str, pa.Array], rows: int = ROWS) -> pa.RecordBatch:
    texts = [f"{TEXTS[row % len(TEXTS)]} {row}" * (row % 4 + 1) for row in range(rows)]
    ids = [f"d{row // 2}#{row % 2 + 1}" if row < 6 else f"d{row}" for row in range(rows)]
    chunks = [
        {"document_id": name.partition("#")[0], "start": row, "end": row + len(text)}
        for row, (name, text) in enumerate(zip(ids, texts, strict=True))
    ]
    fixed = {
        "id": pa.array(ids),
        "text": pa.array(texts, pa.large_string()),
        "title": pa.array([None if row % 3 == 1 else f"Title {row}" for row in range(rows)], pa.string()),
        "language": pa.array([("sw", "zh-Hant")[row % 2] for row in range(rows)]),
        "source": pa.nulls(rows, pa.string()),
        CHUNK_COLUMN: pa.array(chunks, CHUNK_TYPE),
    }
    fields = [*CORPUS, pa.field(CHUNK_COLUMN, CHUNK_TYPE), *(pa.field(name, own.type) for name, own in columns.items())]
    return pa.RecordBatch.from_arrays([*fixed.values(), *columns.values()], schema=pa.schema(fields))


def write(path: Path, batches: list[pa.RecordBatch]) -> Path:
    folder = path / "index" / "segments" / "s1"
    folder.mkdir(parents=True, exist_ok=True)
    with pa.ipc.new_file(str(folder / "documents.arrow"), batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return folder / "documents.arrow"


def values_of(found: Documents, row: int) -> dict[str, Any]:
    """What is read of a row, by column."""
    hit = found.hit(row)
    chunk = {"document_id": hit.document_id, "start": hit.start, "end": hit.end}
    fixed = {name: getattr(hit, name) for name in CORPUS.names} | {CHUNK_COLUMN: chunk}
    return fixed | {name: hit.metadata.get(name) for name in found.schema.names if name not in fixed}


def expect_rows(path: Path, whole: pa.RecordBatch) -> None:
    found = Documents(path, whole.num_rows)
    wanted = whole.to_pylist()
    for row in [*range(whole.num_rows), *reversed(range(whole.num_rows))]:
        values = values_of(found, row)
        assert None not in found.hit(row).metadata.values()
        assert repr(values) == repr(wanted[row])  # types and zones count too, and -0.0
        assert values == wanted[row]
        assert found.document_id(row) == wanted[row][CHUNK_COLUMN]["document_id"]
    expect_many(found, whole.num_rows)
    for row in (-1, whole.num_rows):
        for read in (lambda: found.hit(row), lambda: found.hits([*MANY, row], [0.5] * (len(MANY) + 1))):  # noqa: B023
            with pytest.raises(IndexStateError, match=f"no row {row}"):
                read()


def expect_many(found: Documents, rows: int) -> None:
    """Many rows at once, in any order and some twice, are what each is alone."""
    wanted = [row % rows for row in MANY]
    scores = [row / 64 for row in wanted]
    alone = [found.hit(row, score) for row, score in zip(wanted, scores, strict=True)]
    assert repr(found._gathered(np.array(wanted), scores)) == repr(alone)
    assert repr(found.hits(wanted, scores)) == repr(alone)


@pytest.mark.parametrize(("kind", "values"), VALUES, ids=[str(kind) for kind, _ in VALUES])
def test_values_are_those_of_arrow(tmp_path: Path, kind: pa.DataType, values: list[Any]) -> None:
    full = pa.array([values[row % len(values)] for row in range(ROWS)], kind)
    gaps = pa.array([None if row % 3 == 0 or row > 15 else values[row % len(values)] for row in range(ROWS)], kind)
    # A column that Arrow reads must not put the ones behind it out of place.
    after = pa.array([f"after {row}" for row in range(ROWS)])
    whole = table({"full": full, "gaps": gaps, "none": pa.nulls(ROWS, kind), "after": after})
    expect_rows(write(tmp_path, list(rebatch([whole], BATCH))), whole)


def test_batches_that_are_not_equally_long_are_refused(tmp_path: Path) -> None:
    whole = table({})
    for lengths in ([3, 10, 8], [8, 12, 1], [4, 4, 4, 9], [7, 6, 8]):
        edges = np.cumsum([0, *lengths]).tolist()
        found = Documents(write(tmp_path, [whole.slice(*each) for each in zip(edges, lengths, strict=False)]), ROWS)
        with pytest.raises(IndexStateError, match=r"do not hold 21 rows|has another length"):
            [found.hit(row) for row in range(ROWS)]


def test_batches_of_any_length(tmp_path: Path) -> None:
    tags = pa.array([[str(row)] * (row % 3) for row in range(ROWS)])
    moments = pa.array([datetime.timedelta(row) for row in range(ROWS)], pa.duration("s"))
    whole = table({"tags": tags, "moments": moments})
    for lengths in ([ROWS], [8, 8, 5], [7, 7, 7], [1] * ROWS, [20, 1]):
        edges = np.cumsum([0, *lengths]).tolist()
        parts = [whole.slice(start, length) for start, length in zip(edges, lengths, strict=False)]
        expect_rows(write(tmp_path, parts), whole)


def test_batches_that_were_read_leave_no_objects(tmp_path: Path) -> None:
    """Else millions of passages would be millions of objects, which Python's garbage collector looks at in a search."""
    whole = table({"n": pa.array(range(400)), "author": pa.array([f"author {row}" for row in range(400)])}, 400)
    found = Documents(write(tmp_path, list(rebatch([whole], 2))), 400)
    found.hit(0)
    found.hits(MANY, [0.0] * len(MANY))
    gc.collect()
    before = len(gc.get_objects())
    for row in range(400):
        found.hit(row)
    found.hits(range(400), [0.0] * 400)
    gc.collect()
    assert len(gc.get_objects()) - before < 100


@pytest.fixture
def sound(tmp_path: Path) -> tuple[Path, pa.RecordBatch]:
    """A file with columns that are read directly, then one that Arrow reads."""
    columns = {
        "n": pa.array([None if row % 5 == 0 else row for row in range(ROWS)], pa.int32()),
        "open": pa.array([row % 3 == 0 for row in range(ROWS)]),
        "author": pa.array([None if row % 4 == 0 else f"author {row}" for row in range(ROWS)]),
        "when": pa.array([UTC + datetime.timedelta(row) for row in range(ROWS)], pa.timestamp("us", "UTC")),
        "tags": pa.array([None if row % 7 == 0 else ["a", "bc"][: row % 3] for row in range(ROWS)]),
        "amount": pa.array([Decimal(row) for row in range(ROWS)], pa.decimal128(9, 2)),
        "pair": pa.array([{"a": row, "b": "x" * (row % 3)} for row in range(ROWS)]),
    }
    whole = table(columns)
    return write(tmp_path, list(rebatch([whole], BATCH))), whole


def unnoticed(path: Path) -> dict[int, tuple[str, int]]:
    """Bytes that nothing else in the file speaks of: their column, and how many rows share them.

    These are texts, numbers, and offsets; not those of ids and texts, which must agree with what the chunk says.
    """
    found = {}
    source = pa.memory_map(str(path))
    base = source.read_buffer().address
    reader = pa.ipc.open_file(source)
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            known = {CHUNK_COLUMN: 99, "id": 2, "text": 2}.get(name, 0)
            for place, buffer in list(enumerate(column.buffers()))[known:]:
                if buffer is not None:
                    start, shared = buffer.address - base, 8 if place == 0 or name == "open" else 2
                    found |= dict.fromkeys(range(start, start + buffer.size), (name, shared))
    return found


def cells(path: Path, rows: int) -> list[dict[str, Any] | None]:
    """All rows; None for one that is refused."""
    found = Documents(path, rows)
    values: list[dict[str, Any] | None] = []
    for row in range(rows):
        try:
            values.append(values_of(found, row))
            assert found.document_id(row) == values[-1][CHUNK_COLUMN]["document_id"]  # type: ignore[index]
        except IndexStateError:
            values.append(None)
    try:
        many = found.hits(MANY, [0.0] * len(MANY))
    except IndexStateError:
        assert None in values
    else:
        assert repr(many) == repr([found.hit(row) for row in MANY])
    return values


@pytest.mark.parametrize("part", ["structure", "values"])
def test_an_altered_byte_gives_the_right_value_or_words(sound: tuple[Path, pa.RecordBatch], part: str) -> None:
    """NOTE: a text of the same length, or another number, cannot be noticed without a checksum, which is not computed
    here; nor can the border between two titles that moved, or as many nulls elsewhere, or none in a small batch. There
    only that column may differ, in the rows that share the byte."""
    path, whole = sound
    wanted, content, silent = whole.to_pylist(), path.read_bytes(), unnoticed(path)
    random = np.random.default_rng(5)
    places = [place for place in range(len(content)) if (place in silent) == (part == "values")]
    refused = changed = 0
    for place in random.choice(places, FLIPS[part], replace=len(places) < FLIPS[part]).tolist():
        flip = int(random.choice([1 << int(random.integers(8)), int(random.integers(1, 256))]))
        altered = bytearray(content)
        altered[place] ^= flip
        path.write_bytes(altered)
        try:
            found = cells(path, ROWS)
        except OPENING:
            refused += 1
            continue
        differ = {
            (row, name)
            for row, values in enumerate(found)
            if values is not None
            for name in values.keys() | wanted[row].keys()
            if repr(values.get(name, "missing")) != repr(wanted[row].get(name, "missing"))
        }
        refused += None in found
        changed += bool(differ)
        empty = {(row, name) for row, name in differ if wanted[row].get(name, "") is None and not found[row].get(name)}  # type: ignore[union-attr]
        if part == "structure" and len({name for _, name in empty}) == 1:
            differ -= empty
        column, rows = silent.get(place, ("", 0))
        assert {name for _, name in differ} <= {column}, (place, flip, differ)
        assert len(differ) <= rows, (place, flip, differ)
    assert refused > FLIPS[part] / 8
    assert (changed > 100) == (part == "values")


def test_a_cut_file_is_refused(sound: tuple[Path, pa.RecordBatch]) -> None:
    path, _ = sound
    content = path.read_bytes()
    for size in np.random.default_rng(8).choice(len(content), 300, replace=False).tolist():
        path.write_bytes(content[:size])
        with pytest.raises(OPENING):
            Documents(path, ROWS)


def test_a_moment_is_read_without_pandas(sound: tuple[Path, pa.RecordBatch]) -> None:
    path, whole = sound
    write(path.parents[3], [whole.select([*CORPUS.names, CHUNK_COLUMN, "when"])])
    script = (
        "import sys; from pathlib import Path; from lusirag.index.documents import Documents\n"
        f"print(Documents(Path({str(path)!r}), {ROWS}).hit(3).metadata['when'], 'pandas' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["2024-10-30", "00:30:01.234567+00:00", "False"]


@pytest.mark.parametrize("name", ["title", "author", "tags"])
@pytest.mark.parametrize("offset", [-1, 500, 2**31 - 1])
def test_an_offset_outside_its_column_is_refused(sound: tuple[Path, pa.RecordBatch], name: str, offset: int) -> None:
    path, _ = sound
    source = pa.memory_map(str(path))
    base = source.read_buffer().address
    offsets = pa.ipc.open_file(source).get_batch(0).column(name).buffers()[1]
    content = bytearray(path.read_bytes())
    struct.pack_into("<i", content, offsets.address - base + 4 * 3, offset)
    path.write_bytes(content)
    found = Documents(path, ROWS)
    for row in (2, 3):
        with pytest.raises(IndexStateError, match=f"row {row} was altered"):
            found.hit(row)
