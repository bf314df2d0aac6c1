from __future__ import annotations

import gzip
import io
import logging
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lusirag.corpus import Corpus
from lusirag.errors import CorpusError, InvalidArgumentError


def test_folders_are_read_in_order_without_what_is_hidden(write: Any, caplog: pytest.LogCaptureFixture) -> None:
    write("docs/b.txt", "bee")
    write("docs/a/z.jsonl", '{"text": "zed"}')
    write("docs/a/c.md", "intro\n```\n# no\n```\n## Sea ##\n")
    write("docs/.hidden.txt", "x")
    write("docs/.git/x.txt", "x")
    folder = write("docs/image.png", "x").parent
    with caplog.at_level(logging.WARNING):
        corpus = Corpus([folder])
    assert "2 hidden files or files of unknown endings" in caplog.text
    assert corpus.files == [folder / "b.txt", folder / "a" / "c.md", folder / "a" / "z.jsonl"]
    rows = [row for batch in corpus for row in batch.to_pylist()]
    assert [row["id"] for row in rows] == ["b.txt", "a/c.md", "a/z.jsonl:1"]
    assert [row["title"] for row in rows] == [None, "Sea", None]
    assert [row["source"] for row in rows] == [str(folder / "b.txt"), str(folder / "a" / "c.md"), "a/z.jsonl"]
    assert corpus.bytes_read == corpus.bytes_total == sum(path.stat().st_size for path in corpus.files)


def test_html(write: Any) -> None:
    page = (
        "<!doctype html><html><head><title>A &amp; B\n</title><style>p {}</style></head><body><script>var x</script>"
        "<h1>Big</h1><p>One <b>t</b>wo\nthree&nbsp;<br>four</p><ul><li>a<li>b</ul></body></html>"
    )
    (batch,) = Corpus([write("a.html", page)])
    assert batch["title"].to_pylist() == ["A & B"]
    assert batch["text"].to_pylist() == ["Big\nOne two three\nfour\na\nb"]


def test_html_in_its_own_encoding(write: Any) -> None:
    (batch,) = Corpus([write("a.htm", '<meta charset="windows-1251"><p>Привет</p>'.encode("cp1251"))])
    assert batch["text"].to_pylist() == ["Привет"]


@pytest.mark.parametrize("codec", ["gz", "zst"])
def test_packed_text(tmp_path: Path, codec: str) -> None:
    path = tmp_path / f"a.txt.{codec}"
    with pa.CompressedOutputStream(str(path), {"gz": "gzip", "zst": "zstd"}[codec]) as sink:
        sink.write("grüß".encode() * 1000)
    (batch,) = Corpus([path])
    assert batch["text"].to_pylist() == ["grüß" * 1000]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorpusError, match=r"a.txt.*: cannot be read .*cut off"):
        list(Corpus([path], on_error="skip"))


def test_two_packed_parts_in_one_file(write: Any) -> None:
    path = write("a.jsonl.gz", gzip.compress(b'{"text":"a"}\n') + gzip.compress(b'{"text":"b"}\n'))
    assert [text for batch in Corpus([path]) for text in batch["text"].to_pylist()] == ["a", "b"]


def test_bad_text_files(write: Any) -> None:
    write("docs/a.txt", "fine")
    write("docs/b.txt", b"line\nbad \xff")
    write("docs/c.txt", "")
    folder = write("docs/d.txt", "  \n").parent
    corpus = Corpus([folder], on_error="skip")
    assert [row["id"] for batch in corpus for row in batch.to_pylist()] == ["a.txt"]
    assert corpus.skipped == {"invalid UTF-8": 1, "empty text": 2}
    with pytest.raises(CorpusError, match=r"b.txt, line 2: invalid UTF-8"):
        list(Corpus([folder / "b.txt"]))
    with pytest.raises(CorpusError, match=r"c.txt: the file is empty"):
        list(Corpus([folder / "c.txt"], on_error="skip"))


def test_utf16_is_named(write: Any) -> None:
    with pytest.raises(CorpusError, match="UTF-16"):
        list(Corpus([write("a.csv", "text\nx\n".encode("utf-16"))], on_error="skip"))


def test_faults_of_whole_sources(write: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cases = {
        tmp_path / "missing.jsonl": "no such file or folder",
        tmp_path / "empty": "holds nothing that can be read; known endings: .jsonl",
        write("a.pdf", "x"): "cannot tell the format from the ending; say it by --format",
        write("b.gz", "x"): "cannot tell the format",
    }
    for path, message in cases.items():
        with pytest.raises(CorpusError, match=message) as raised:
            Corpus([path], on_error="skip")
        assert str(raised.value).startswith(f"{path}: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(write: Any) -> None:
    path = write("a.jsonl", "{}")
    path.chmod(0)
    with pytest.raises(CorpusError, match="no permission"):
        Corpus([path])


def test_permission_is_asked_for(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a.jsonl", "{}")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(CorpusError, match="no permission"):
        Corpus([path])


def test_arguments_are_checked(tmp_path: Path) -> None:
    for sources, options in (
        ([], {}),
        ("a.jsonl", {}),
        (["-"], {"format": "xls"}),
        (["-"], {"on_error": "ignore"}),
        (["-"], {"batch_rows": 0}),
    ):
        with pytest.raises(InvalidArgumentError):
            Corpus(sources, **options)  # type: ignore[arg-type]


def test_a_source_given_twice_is_read_once(write: Any) -> None:
    path = write("a.jsonl", '{"text": "x"}')
    assert Corpus([path, path.parent]).files == [path]


def test_standard_input_is_json_lines_unless_said() -> None:
    corpus = Corpus(["-"], stdin=io.BytesIO(b'{"text": "x"}\n'))
    (batch,) = corpus
    assert batch["id"].to_pylist() == ["stdin:1"]
    assert corpus.bytes_total is None
    assert corpus.bytes_read == 14
    (batch,) = Corpus(["-"], stdin=io.BytesIO(b"plain words"), format="txt")
    assert batch["text"].to_pylist() == ["plain words"]


def test_iterating_again_reads_again(write: Any) -> None:
    corpus = Corpus([write("a.jsonl", '{"text": "x"}\n{"text": ""}\n')], on_error="skip")
    for _ in range(2):
        assert sum(batch.num_rows for batch in corpus) == 1
        assert corpus.skipped == {"empty text": 1}
