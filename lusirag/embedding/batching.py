"""Which texts run together: sorted by length, as many as a token budget allows, so that little padding is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


def plan_batches(lengths: Sequence[int], *, batch_tokens: int) -> Iterator[list[int]]:
    """Yield the numbers of the texts of each batch, longest first.

    Args:
        lengths: tokens of each text.
        batch_tokens: most tokens a batch may have, padding included; a longer single text still gets its batch.
    """
    order = sorted(range(len(lengths)), key=lambda number: (-lengths[number], number))
    start = 0
    while start < len(order):
        count = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + count]
        start += count


def pad_batch(rows: Sequence[Sequence[int]], *, padding_id: int) -> tuple[Ids, Ids]:
    """Pad on the right: ids (B, S) and mask (B, S), 1 for a token and 0 for padding."""
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), padding_id, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return ids, mask
