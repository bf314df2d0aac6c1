"""Drawing passages of each language at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lusirag.index.segment import Segment
from lusirag.index.snapshot import Snapshot


def sampled_rows(snapshot: Snapshot, sample: int | None, seed: int) -> Iterator[tuple[Segment, npt.NDArray[np.int64]]]:
    """Rows of each segment, such that of every language `sample` live passages are drawn, or all when it has fewer."""
    if sample is None:
        yield from ((segment, np.flatnonzero(~segment.deleted)) for segment in snapshot.segments)
        return
    draw = np.random.default_rng(seed)
    drawn = {
        language: draw.choice(count, min(count, sample), replace=False, shuffle=False)
        for language, count in sorted(snapshot.languages.items(), key=lambda item: item[0] or "")
    }
    passed: Counter[str | None] = Counter()
    for segment in snapshot.segments:
        codes, names = segment.languages
        wanted = np.zeros(segment.record.rows, dtype=np.bool_)
        for code, language in enumerate(names):
            here = np.flatnonzero((codes == code) & ~segment.deleted)
            places = drawn.get(language, np.zeros(0, np.int64)) - passed[language]
            wanted[here[places[(places >= 0) & (places < len(here))]]] = True
            passed[language] += len(here)
        yield segment, np.flatnonzero(wanted)
