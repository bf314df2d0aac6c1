from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lusirag.corpus import Corpus, FieldNames, streams
from lusirag.errors import CorpusError


def rows(path: Path, **options: Any) -> list[dict[str, Any]]:
    return [row for batch in Corpus([path], **options) for row in batch.to_pylist()]


def test_lines_become_rows_of_the_schema(write: Any) -> None:
    path = write(
        "a.jsonl", '\ufeff{"id": 7, "text": "één", "n": 1}\r\n\n{"id": "b", "text": "y", "n": 2.5, "l": [1]}\n'
    )
    (batch,) = Corpus([path])
    expected = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("text", pa.large_string(), nullable=False),
            ("title", pa.string()),
            ("language", pa.string()),
            ("source", pa.string()),
            ("n", pa.float64()),
            ("l", pa.list_(pa.int64())),
        ]
    )
    assert batch.schema == expected
    assert batch["id"].to_pylist() == ["7", "b"]
    assert batch["text"].to_pylist() == ["één", "y"]
    assert batch["source"].to_pylist() == ["a.jsonl", "a.jsonl"]
    assert batch["l"].to_pylist() == [None, [1]]


def test_rows_without_id_are_named_by_file_and_line(write: Any) -> None:
    assert [row["id"] for row in rows(write("a.jsonl", '{"text":"x"}\n\n{"text":"y"}\n'))] == ["a.jsonl:1", "a.jsonl:3"]


BAD_LINES = {
    b"nope": "broken JSON",
    b'{"text": "a"': "broken JSON",
    b"[" * 200_000: "broken JSON",
    b'["text"]': "row is no JSON object",
    b'{"other": "a"}': "no text",
    b'{"text": null}': "no text",
    b'{"text": ""}': "empty text",
    b'{"text": " \\n\\u3000"}': "empty text",
    b'{"text": 5}': "text is a number, not a string",
    b'{"text": ["a"]}': "text is a list, not a string",
    b'{"text": "\\ud800"}': "lone surrogate in the text",
    b'{"text": "a", "more": ["\\ud800"]}': "lone surrogate in field 'more'",
    b'{"text": "a\\u0000b"}': "NUL character",
    b'{"text": "\xff"}': "invalid UTF-8",
    b'{"text": "a", "number": 99999999999999999999}': "integer beyond 64 bits in field 'number'",
    b'{"text": "a", "number": "one"}': "mixed types in field 'number': not int64 as in the rows before",
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.items(), ids=lambda value: str(value)[:24])
@pytest.mark.parametrize("packed", [False, True])
def test_a_bad_line_is_named_or_skipped(write: Any, line: bytes, reason: str, packed: bool) -> None:
    content = b'{"text": "first", "number": 1}\n\n' + line + b'\n{"text": "last", "number": 2}\n'
    path = write("a.jsonl.gz", gzip.compress(content)) if packed else write("a.jsonl", content)
    with pytest.raises(CorpusError) as stopped:
        rows(path)
    assert str(stopped.value).startswith(f"{path}, line 3: {reason}")
    assert str(stopped.value).endswith("use --on-error skip to leave such rows out")
    assert "\n" not in str(stopped.value)
    corpus = Corpus([path], on_error="skip")
    assert [text for batch in corpus for text in batch["text"].to_pylist()] == ["first", "last"]
    assert corpus.skipped == {reason: 1}


def test_line_31007(write: Any) -> None:
    lines = ['{"text": "x"}'] * 31_006 + ["{broken", '{"text": "y"}']
    with pytest.raises(CorpusError, match="line 31007: broken JSON"):
        rows(write("a.jsonl", "\n".join(lines)))


@pytest.mark.parametrize("value", [None, "", " "])
def test_null_id_is_bad(write: Any, value: str | None) -> None:
    content = json.dumps({"id": value, "text": "x"}) + '\n{"id": "b", "text": "y"}'
    with pytest.raises(CorpusError, match="line 1: no id"):
        rows(write("a.jsonl", content))


def test_types_may_widen_between_batches(write: Any) -> None:
    path = write("a.jsonl", "".join(f'{{"text": "x", "n": {n}}}\n' for n in ("null", "1", "2.5", "3")))
    types = [str(batch.schema.field("n").type) for batch in Corpus([path], batch_rows=1)]
    assert types == ["null", "int64", "double", "double"]


def test_a_clash_is_found_across_batches(write: Any) -> None:
    path = write("a.jsonl", '{"text": "x", "n": 1}\n{"text": "x", "n": "one"}\n')
    with pytest.raises(CorpusError, match="line 2: mixed types in field 'n'"):
        rows(path, batch_rows=1)


def test_a_named_field_may_be_missing_in_a_later_batch(write: Any) -> None:
    path = write("a.jsonl", '{"a": "x", "t": "T"}\n{"a": "y"}\n')
    assert [row["title"] for row in rows(path, batch_rows=1, fields=FieldNames(text="a", title="t"))] == ["T", None]


def test_numbers_as_titles_become_strings(write: Any) -> None:
    path = write("a.jsonl", '{"text": "x", "title": 1984}\n{"text": "y", "title": "Emma"}\n')
    assert [row["title"] for row in rows(path, batch_rows=1)] == ["1984", "Emma"]


def test_columns_of_the_schema_names_move_aside(write: Any) -> None:
    path = write("a.jsonl", '{"body": "x", "text_": 3, "text__": 4, "text": 1, "_chunk": 2, "source": "web"}\n')
    (row,) = rows(path, fields=FieldNames(text="body"))
    assert row == {
        "id": "a.jsonl:1", "text": "x", "title": None, "language": None, "source": "web",
        "text_": 3, "text__": 4, "text___": 1, "_chunk_": 2,
    }  # fmt: skip


def test_ten_megabytes_on_one_line(write: Any) -> None:
    text = "word " * 2_000_000
    assert [row["text"] for row in rows(write("a.jsonl", json.dumps({"text": text})))] == [text]
    assert [row["text"] for row in rows(write("a.json", json.dumps([{"text": text}, {"text": "z"}])))] == [text, "z"]


def test_a_line_beyond_the_limit_is_passed_over(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_LINE_BYTES", 100)
    path = write("a.jsonl", json.dumps({"text": "x" * 1000}) + '\n{"text": "y"}')
    corpus = Corpus([path], on_error="skip")
    assert [row["id"] for batch in corpus for row in batch.to_pylist()] == ["a.jsonl:2"]
    assert corpus.skipped == {"line too long": 1}


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ('[{"text": "a"},\n {"text": "b"}]', ["a", "b"]),
        ('{"text": "a"}\n{"text": "b"}\n', ["a", "b"]),
        ('\ufeff\n{\n  "text": "a"\n}\n', ["a"]),
    ],
)
def test_json_files(write: Any, content: str, texts: list[str]) -> None:
    assert [row["text"] for row in rows(write("a.json", content))] == texts


def test_a_json_array_is_read_in_pieces(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lusirag.corpus import json_values

    monkeypatch.setattr(json_values, "_FIRST_READ", 3)  # cuts every value, escape and number somewhere
    items = [{"text": f'é\U0001f600 "{n}\\', "n": n * 1000, "f": n / 7, "t": True, "z": None} for n in range(50)]
    found = rows(write("a.json", json.dumps(items, indent=1)))
    assert [{key: row[key] for key in items[0]} for row in found] == items


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "a"},\n{"text" "b"}]', r"line 2: broken JSON \(Expecting ':'"),
        ('[{"text": "a"}\n', r"line 2: broken JSON \(the file ends before its array does"),
        ('[{"text": "a"}\n{"text": "b"}]', "line 2: broken JSON .expected ','"),
        ('[{"text": "a"},]', "line 1: broken JSON .expected a value"),
        ('[{"text": "a"}] x', "line 1: broken JSON .more text"),
        ('[{"text": "a', "line 1: broken JSON .Unterminated"),
        ('[{"text": "a"}, 5]', "row 2: row is no JSON object"),
        (b'[{"text": "a\xff"}]', "invalid UTF-8"),
        ("[]", "the file is empty"),
    ],
)
def test_broken_json_files(write: Any, content: str | bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        rows(write("a.json", content))


MEASURED = """
import io, resource, sys
from lusirag.corpus import Corpus

class Lines(io.RawIOBase):
    left, block = 100, b"".join(b'{"id": "%d", "text": "%s"}\\n' % (n, b"words " * 160) for n in range(1000))
    def read(self, size=-1):
        self.left -= 1
        return self.block if self.left >= 0 else b""

import lusirag.corpus.streams as streams
streams._BUFFER_BYTES = 2_000_000  # the stream hands out a block of 1 MB whatever is asked for
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
corpus = Corpus(["-"], stdin=Lines())
count = sum(batch.num_rows for batch in corpus)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
print(count, corpus.bytes_read // 2**20, grown)
"""


def test_memory_stays_bounded() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True)
    count, mebibytes, grown = map(int, done.stdout.split())
    assert (count, mebibytes) == (100_000, 94)
    assert grown < 60
