"""Sort the English pairs of lusifer-mini by what they are: a recipe weighs each kind, and no batch mixes them.

    python -m lusirag_training.mini_data --pairs pairs.parquet --texts text.parquet --out data

A batch is of one data set: among texts of one kind, the other examples' passages are harder negatives. Texts give pairs
of another kind, "prose": the first sentence of a passage of news, fiction, speeches or reviews, and what follows it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sentencex import segment

KINDS = {
    "dictionary": ("wordnet", "wordnet-example", "gcide", "foldoc", "jargon"),
    "questions": ("medquad", "selqa", "qed-nq"),
    "packages": ("ddtp", "man"),
}
LEAD = ":lead"  # of a manual: its first sentence, and what follows it
PROSE = "nltk:"  # corpora of news, fiction, speeches and film reviews
SHORTEST = {"query": 20, "positive": 60}  # characters of a pair of prose


def kind_of(source: str) -> str:
    """The kind of a pair: "dictionary", "questions", "packages", "lead" or "manual" (heading and body).

    >>> kind_of("python3.11-doc:lead")
    'lead'
    """
    if source.endswith(LEAD):
        return "lead"
    return next((kind for kind, sources in KINDS.items() if source in sources), "manual")


def split(pairs: Path, out: Path) -> dict[str, int]:
    """Write KIND.parquet for each kind, from a file with query, positive and source; returns how many rows each has."""
    table = pq.read_table(pairs)
    kinds = [kind_of(source) for source in table["source"].to_pylist()]
    out.mkdir(parents=True, exist_ok=True)
    counts = {}
    for kind in sorted(set(kinds)):
        part = table.filter(pa.array([each == kind for each in kinds]))
        pq.write_table(part, out / f"{kind}.parquet")
        counts[kind] = part.num_rows
    return counts


def split_prose(texts: Path, out: Path) -> int:
    """Write prose.parquet from a file with text and source; returns how many rows it has."""
    table = pq.read_table(texts, columns=["text", "source"]).to_pylist()
    rows = [pair for row in table if row["source"].startswith(PROSE) for pair in prose_pair(row["text"], row["source"])]
    schema = pa.schema([(name, pa.string()) for name in ("query", "positive", "source")])
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), out / "prose.parquet")
    return len(rows)


def prose_pair(text: str, source: str) -> Iterator[dict[str, str]]:
    """The first sentence of a text and its others; nothing where one of them is too short.

    >>> len(list(prose_pair("One sentence stands alone.", "nltk:abc")))
    0
    """
    first, *others = [sentence.strip() for sentence in segment("en", text) if sentence.strip()] or [""]
    rest = " ".join(others)
    if len(first) >= SHORTEST["query"] and len(rest) >= SHORTEST["positive"]:
        yield {"query": first, "positive": rest, "source": source}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lusirag_training.mini_data", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--pairs", type=Path, required=True, help="Parquet with query, positive, source")
    parser.add_argument("--texts", type=Path, help="Parquet with text, source, for pairs of prose")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    options = parser.parse_args()
    counts = split(options.pairs, options.out)
    if options.texts is not None:
        counts["prose"] = split_prose(options.texts, options.out)
    for kind, count in counts.items():
        print(f"{kind}: {count:,}")  # noqa: T201


if __name__ == "__main__":
    main()
