from __future__ import annotations

import datetime
import decimal
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lusirag.corpus import Corpus, FieldNames
from lusirag.errors import CorpusError

TABLE = pa.table(
    {
        "id": [1, 2],
        "text": ["a", "b"],
        "when": pa.array([datetime.datetime(2024, 1, 1)] * 2, pa.timestamp("ms", tz="UTC")),
        "price": pa.array([decimal.Decimal("1.25")] * 2, pa.decimal128(10, 2)),
        "tags": pa.array([["x"], []], pa.list_(pa.string())),
        "place": pa.array([{"lat": 1.5, "name": "q"}, None], pa.struct([("lat", pa.float32()), ("name", pa.string())])),
        "kind": pa.array(["u", "v"]).dictionary_encode(),
        "source": [1, 2],
    }
)


def _stream(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def _file(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _parquet(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path)


WRITERS = [(_parquet, "a.parquet"), (_file, "a.arrow"), (_stream, "a.arrow"), (_file, "a.feather")]


@pytest.mark.parametrize(("save", "name"), WRITERS)
@pytest.mark.parametrize("packed", [False, True])
def test_columns_keep_their_types(
    tmp_path: Path, save: Callable[[Path, pa.Table], None], name: str, packed: bool
) -> None:
    path = tmp_path / name
    save(path, TABLE)
    if packed:
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = tmp_path / f"{name}.gz"
    corpus = Corpus([path])
    (batch,) = corpus
    assert batch["id"].to_pylist() == ["1", "2"]
    assert batch["source"].to_pylist() == [path.name] * 2
    for column in ("when", "price", "place"):
        assert batch.schema.field(column).type == TABLE.schema.field(column).type
    assert pa.types.is_list(batch.schema.field("tags").type)
    assert batch.schema.field("kind").type == pa.string()
    assert batch["source_"].to_pylist() == [1, 2]
    assert corpus.bytes_read == corpus.bytes_total == path.stat().st_size


def test_batches_are_small_and_rows_counted_on(tmp_path: Path) -> None:
    table = pa.table({"text": [f"t{n}" for n in range(10)]})
    for save, name in ((_parquet, "a.parquet"), (_file, "b.arrow")):
        save(tmp_path / name, table)
        batches = list(Corpus([tmp_path / name], batch_rows=4))
        assert [batch.num_rows for batch in batches] == [4, 4, 2]
        assert batches[2]["id"].to_pylist() == [f"{name}:9", f"{name}:10"]


def test_standard_input(tmp_path: Path) -> None:
    _parquet(tmp_path / "a.parquet", TABLE)
    stdin = io.BytesIO((tmp_path / "a.parquet").read_bytes())
    (batch,) = Corpus(["-"], format="parquet", stdin=stdin)
    assert batch["text"].to_pylist() == ["a", "b"]


@pytest.mark.parametrize(("save", "name"), WRITERS)
def test_damaged_files(tmp_path: Path, save: Callable[[Path, pa.Table], None], name: str) -> None:
    path = tmp_path / name
    save(path, TABLE)
    content = path.read_bytes()
    for damaged, message in ((b"", "is empty"), (content[: len(content) // 2], "cut off"), (b"junk" * 9, "cut off")):
        path.write_bytes(damaged)
        for on_error in ("stop", "skip"):
            with pytest.raises(CorpusError, match=message) as raised:
                list(Corpus([path], on_error=on_error))  # type: ignore[arg-type]
            assert str(raised.value).startswith(f"{path}: ")
            assert "\n" not in str(raised.value)


def test_bad_rows(tmp_path: Path) -> None:
    invalid = pa.array([b"ok", b"\xff", None, b" ", b"n\0l", b"ok"], pa.binary()).view(pa.string())
    _file(tmp_path / "a.arrow", pa.table({"text": invalid, "id": ["1", "2", "3", "4", "5", None]}))
    corpus = Corpus([tmp_path / "a.arrow"], on_error="skip")
    assert [row["id"] for batch in corpus for row in batch.to_pylist()] == ["1"]
    assert corpus.skipped == {
        "invalid UTF-8 in 'text'": 1, "no text": 1, "empty text": 1, "NUL character": 1, "no id": 1
    }  # fmt: skip
    with pytest.raises(CorpusError, match="row 2: invalid UTF-8 in 'text'"):
        list(Corpus([tmp_path / "a.arrow"]))


@pytest.mark.parametrize("values", [[1, 2], [["a"], ["b"]], [1.5, 2.5]])
def test_text_that_is_none(tmp_path: Path, values: list[Any]) -> None:
    _parquet(tmp_path / "a.parquet", pa.table({"text": values, "other": ["x", "y"]}))
    with pytest.raises(CorpusError, match=r"field 'text' holds .*choose another with --text-field"):
        list(Corpus([tmp_path / "a.parquet"]))
    (batch,) = Corpus([tmp_path / "a.parquet"], fields=FieldNames(text="other"))
    assert batch["text_"].to_pylist() == values


def test_a_clash_between_files_is_named(tmp_path: Path) -> None:
    _parquet(tmp_path / "a.parquet", pa.table({"text": ["x"], "year": [1]}))
    _parquet(tmp_path / "b.parquet", pa.table({"text": ["x"], "year": ["one"]}))
    with pytest.raises(CorpusError, match=r"b.parquet: field 'year' holds string, but int64 in the rows before"):
        list(Corpus([tmp_path]))


def test_hugging_face_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    data = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 2]})
    data.save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict({"train": data, "dev": data.select([1])}).save_to_disk(tmp_path / "two")
    rows = [row for batch in Corpus([tmp_path / "one"]) for row in batch.to_pylist()]
    assert [(row["text"], row["label"]) for row in rows] == [("a", 0), ("b", 1), ("c", 2)]
    rows = [row for batch in Corpus([tmp_path / "two"]) for row in batch.to_pylist()]
    assert [(row["text"], row["split"]) for row in rows] == [
        ("a", "train"), ("b", "train"), ("c", "train"), ("b", "dev")
    ]  # fmt: skip
    assert rows[3]["id"] == "dev/data-00000-of-00001.arrow:1"
    assert len({row["id"] for batch in Corpus([tmp_path]) for row in batch.to_pylist()}) == 7
    (tmp_path / "two" / "dev" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(CorpusError, match="is missing"):
        Corpus([tmp_path])
