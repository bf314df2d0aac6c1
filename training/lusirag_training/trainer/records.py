"""What a run writes down: training.csv, one line a log, and evaluation.csv, one line an evaluation."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

TRAINING, EVALUATION = "training.csv", "evaluation.csv"


def append_record(file: Path, record: Mapping[str, float]) -> None:
    """Add a line; the first one brings the column names. A value without a column is left out, a missing one empty."""
    columns = list(record) if not file.is_file() else read_columns(file)
    new = not file.is_file()
    with file.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", restval="")
        if new:
            writer.writeheader()
        writer.writerow(record)


def read_columns(file: Path) -> list[str]:
    """The names of a file's columns."""
    with file.open(encoding="utf-8", newline="") as stream:
        return next(csv.reader(stream))


def read_records(file: Path) -> list[dict[str, float]]:
    """All whole lines of a file; none where there is no file."""
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if None not in row.values()]
    return [{name: float(value) for name, value in row.items() if value} for row in rows]


def forget_after(folder: Path, step: int) -> None:
    """Drop the lines of later steps, which a run that goes on from a checkpoint will write anew."""
    for name in (TRAINING, EVALUATION):
        file = folder / name
        if not file.is_file():
            continue
        kept = [record for record in read_records(file) if record["step"] <= step]
        columns = read_columns(file)
        temporary = file.with_suffix(".writing")
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns, restval="")
            writer.writeheader()
            writer.writerows(kept)
        temporary.replace(file)
