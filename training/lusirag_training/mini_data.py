"""Sort the English pairs of lusifer-mini by what they are: a recipe weighs each kind, and no batch mixes them.

    python -m lusirag_training.mini_data --pairs pairs.parquet --out data

A batch is of one data set: among texts of one kind, the other examples' passages are harder negatives.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

KINDS = {
    "dictionary": ("wordnet", "wordnet-example", "gcide", "foldoc", "jargon"),
    "questions": ("medquad", "selqa", "qed-nq"),
    "packages": ("ddtp", "man"),
}
LEAD = ":lead"  # of a manual: its first sentence, and what follows it


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


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lusirag_training.mini_data", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--pairs", type=Path, required=True, help="Parquet with query, positive, source")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    options = parser.parse_args()
    for kind, count in split(options.pairs, options.out).items():
        print(f"{kind}: {count:,}")  # noqa: T201


if __name__ == "__main__":
    main()
