from __future__ import annotations

import datetime
import gzip
import io
from typing import Any

import pyarrow as pa
import pytest

from lusirag.corpus import Corpus, FieldNames, delimited
from lusirag.errors import CorpusError


def test_values_keep_their_types(write: Any) -> None:
    path = write(
        "a.csv",
        "\ufefftext,n,f,zip,day,flag,none,long\r\n"
        '"two\r\nlines, ""quoted""",1,1.5,007,2024-01-31,true,,9999999999999999999\r\n'
        "NA,NA,2,123,,false,,1\r\n",
    )
    (batch,) = Corpus([path])
    first, second = batch.to_pylist()
    assert first["text"] == 'two\r\nlines, "quoted"'
    assert (first["n"], first["f"], first["zip"], first["flag"]) == (1, 1.5, "007", True)
    assert first["day"] == datetime.date(2024, 1, 31)
    assert first["long"] == "9999999999999999999"
    assert second["text"] == "NA"
    assert (second["n"], second["f"], second["day"], second["none"]) == (None, 2.0, None, None)
    assert batch.schema.field("n").type == pa.int64()


def test_one_type_for_the_whole_file(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", (4096, 65536))
    lines = "".join(f"text {n},{n},{n}\n" for n in range(20_000))
    path = write("a.csv", f"text,n,mixed\n{lines}last,0.5,none of them\n")
    batches = list(Corpus([path]))
    assert sum(batch.num_rows for batch in batches) == 20_001
    assert {str(batch.schema.field("n").type) for batch in batches} == {"double"}
    assert {str(batch.schema.field("mixed").type) for batch in batches} == {"string"}


def test_ids_are_strings_and_stay_as_written(write: Any) -> None:
    (batch,) = Corpus([write("a.csv", "id,text\n1,x\n02,y\n")])
    assert batch["id"].to_pylist() == ["1", "02"]


def test_bad_rows_are_named_by_their_number(write: Any) -> None:
    content = b'text,n\n"a\nb",1\nshort\n\nc,2\n\xff,3\nlong,4,5\n,6\nd,7\n'
    path = write("a.csv", content)
    with pytest.raises(CorpusError, match=r"a.csv, row 2: wrong number of columns \(1 instead of 2\)"):
        list(Corpus([path]))
    corpus = Corpus([path], on_error="skip")
    (batch,) = corpus
    assert batch["id"].to_pylist() == ["a.csv:1", "a.csv:3", "a.csv:7"]
    assert corpus.skipped == {"wrong number of columns": 2, "invalid UTF-8 in 'text'": 1, "empty text": 1}
    with pytest.raises(CorpusError, match="row 1: invalid UTF-8 in 'text'"):
        list(Corpus([write("b.csv", b"text,n\n\xff,1\n")]))


def test_a_row_longer_than_a_block(write: Any) -> None:
    text = "x" * 10_000_000
    (batch,) = Corpus([write("a.csv", f"text,n\n{text},1\ny,2\n")])
    assert batch["text"].to_pylist() == [text, "y"]


def test_a_quote_that_never_closes(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", (4096, 65536))
    path = write("a.csv", 'text,n\nx,1\n"never closed,2\n' + "y,3\n" * 50_000)
    with pytest.raises(CorpusError, match="opened and never closed"):
        list(Corpus([path]))


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.tsv", b"text\tn\nx, y\t1\n", {}),
        ("a.csv", b"text;n\nx, y;1\n", {}),
        ("a.csv.gz", gzip.compress(b'text,n\n"x, y",1\n', mtime=0), {}),
        ("data.log", b'text,n\n"x, y",1\n', {"format": "csv"}),
    ],
)
def test_other_shapes(write: Any, name: str, content: bytes, options: Any) -> None:
    path = write(name, content)
    corpus = Corpus([path], **options)
    (batch,) = corpus
    assert (batch["text"].to_pylist(), batch["n"].to_pylist()) == (["x, y"], [1])
    assert corpus.bytes_read == corpus.bytes_total == len(content)


def test_standard_input_and_chosen_fields() -> None:
    corpus = Corpus(
        ["-"], format="csv", fields=FieldNames(text="b", id="a"), stdin=io.BytesIO(b"a,b\n1,2\n3,\n"), on_error="skip"
    )
    (batch,) = corpus
    assert batch.select(["id", "text", "source"]).to_pylist() == [{"id": "1", "text": "2", "source": "stdin"}]
    assert corpus.skipped == {"empty text": 1}
    with pytest.raises(CorpusError, match=r"^-, row 2: empty text"):
        list(Corpus(["-"], format="csv", fields=FieldNames(text="b"), stdin=io.BytesIO(b"a,b\n1,2\n3,\n")))


def test_repeated_and_missing_header_names(write: Any) -> None:
    (batch,) = Corpus([write("a.csv", "text,n,n,\nx,1,2,3\n")])
    assert batch.schema.names[5:] == ["n", "n_", "column_4"]
