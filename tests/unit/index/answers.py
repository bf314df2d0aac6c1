"""What an index answers in several ways of asking, and how far two of its answers agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lusirag.index import Index
from lusirag.types import Hit


def answers(index: Index, queries: Sequence[str], many: int) -> list[list[list[Hit]]]:
    """To queries together and one by one, in one language, and with so many hits."""
    return [
        index.search_many(queries, k=10),
        [index.search(query, k=10) for query in queries],
        index.search_many(queries, k=10, languages=["zh"]),
        index.search_many(queries, k=many),
    ]


def share(found: Sequence[Sequence[Hit]], expected: Sequence[Sequence[Hit]]) -> float:
    """The part of the expected hits that were found."""
    pairs = zip(found, expected, strict=True)
    return float(np.mean([len({hit.id for hit in a} & {hit.id for hit in b}) / len(b) for a, b in pairs]))
