"""Batches in a runtime: order, several at once, and what happens when memory runs out."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest

from lusirag.embedding.batching import Ids
from lusirag.embedding.running import BatchRunner
from lusirag.errors import ModelError
from lusirag.types import Vectors


class SmallDevice:
    """Embeds a text as its sum, and holds `room` tokens at most."""

    def __init__(self, *, room: int, parallel: int = 1) -> None:
        self.room, self.parallel = room, parallel
        self.batches: list[tuple[int, ...]] = []
        self._lock = threading.Lock()

    def __call__(self, ids: Ids, mask: Ids) -> Vectors:
        with self._lock:
            self.batches.append(ids.shape)
        if ids.size > self.room:
            raise MemoryError("full")
        return (ids * mask).sum(axis=1, keepdims=True).astype(np.float32)


TEXTS = [[number] * (1 + number % 7) for number in range(50)]


def sums(runner: BatchRunner) -> list[float]:
    found = np.full(len(TEXTS), np.nan)
    for batch, rows in runner(TEXTS):
        found[batch] = rows[:, 0]
    return found.tolist()


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("room", [7, 20, 1000])
def test_every_text_gets_its_embedding_whatever_the_memory(parallel: int, room: int) -> None:
    runner = BatchRunner(SmallDevice(room=room, parallel=parallel), padding_id=0, batch_tokens=100)
    assert sums(runner) == [float(sum(text)) for text in TEXTS]


def test_batches_stay_small_once_memory_ran_out(caplog: pytest.LogCaptureFixture) -> None:
    device = SmallDevice(room=30)
    runner = BatchRunner(device, padding_id=0, batch_tokens=100)
    with caplog.at_level(logging.WARNING):
        sums(runner)
    assert runner.batch_tokens <= 30
    assert "did not fit into memory; batches are now of" in caplog.text
    device.batches.clear()
    sums(runner)
    assert max(rows * width for rows, width in device.batches) <= 30


def test_one_text_that_does_not_fit_is_an_error_in_words() -> None:
    runner = BatchRunner(SmallDevice(room=6), padding_id=0, batch_tokens=100)
    with pytest.raises(ModelError, match="a text of 7 tokens needs more memory than the device has free"):
        sums(runner)
