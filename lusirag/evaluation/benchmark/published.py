"""What the LUSIFER paper (arXiv 2501.00874) reports, in percent, to be set beside one's own figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.benchmark.catalog import benchmark_names
from lusirag.evaluation.benchmark.choosing import hint

_FILE = Path(__file__).resolve().parent / "published.json"


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """One row of a published table.

    Attributes:
        model: as the paper names it.
        multilingual: whether it was trained on labelled data in many languages, unlike LUSIFER.
        scores: {language, or data set of the cross-lingual table: percent}, in the paper's order.
        average: as the paper states it, of all of `scores`.
        source: the publication.
    """

    model: str
    multilingual: bool
    scores: Mapping[str, float]
    average: float
    source: str

    @property
    def label(self) -> str:
        """The row's name in a table: whose figures these are is always seen."""
        return f"{self.model} (paper)"


def published_results(benchmark_name: str) -> tuple[PublishedResult, ...]:
    """Return the paper's rows for a benchmark of the package; none where the paper did not run it.

    Raises:
        InvalidArgumentError: there is no benchmark of this name.
    """
    if benchmark_name not in benchmark_names():
        raise InvalidArgumentError(f"there is no benchmark {benchmark_name!r}{hint(benchmark_name, benchmark_names())}")
    stored = _read()
    table = stored["benchmarks"].get(benchmark_name, {"columns": [], "models": []})
    return tuple(
        PublishedResult(
            row["model"],
            row["multilingual"],
            dict(zip(table["columns"], row["scores"], strict=True)),
            row["average"],
            stored["source"],
        )
        for row in table["models"]
    )


def published_ablations() -> Mapping[str, float]:
    """Return {what was left out of LUSIFER: average over the 14 languages of lusifer-paper}, "full" first."""
    return {row["name"]: row["average"] for row in _read()["ablations"]}


def _read() -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return stored
