"""The pairs of the embedded model are sorted by what they are; none is lost."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lusirag_training.mini_data import split, split_prose


def test_each_pair_goes_to_the_file_of_its_kind(tmp_path: Path) -> None:
    sources = ["wordnet", "medquad", "ddtp", "rust-doc", "rust-doc:lead", "foldoc", "gap-doc"]
    rows = [{"query": f"q{at}", "positive": f"p{at}", "source": source} for at, source in enumerate(sources)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    counts = split(tmp_path / "pairs.parquet", tmp_path / "data")
    assert counts == {"dictionary": 2, "lead": 1, "manual": 2, "packages": 1, "questions": 1}
    manual = pq.read_table(tmp_path / "data" / "manual.parquet").to_pylist()
    assert [row["query"] for row in manual] == ["q3", "q6"]


def test_prose_is_the_first_sentence_and_what_follows_it(tmp_path: Path) -> None:
    first, rest = "The river rose in the night.", "By morning it had reached the mill. Nobody in the village had slept."
    rows = [
        {"text": f"{first} {rest}", "source": "nltk:abc"},
        {"text": f"{first} {rest}", "source": "rust-doc"},
        {"text": first, "source": "nltk:abc"},
        {"text": "", "source": "nltk:abc"},
        {"text": f"{first} Then it fell.", "source": "nltk:abc"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "text.parquet")
    assert split_prose(tmp_path / "text.parquet", tmp_path / "data") == 1
    written = pq.read_table(tmp_path / "data" / "prose.parquet").to_pylist()
    assert written == [{"query": first, "positive": rest, "source": "nltk:abc"}]
