"""Runs tokenised texts through a runtime: in batches by length, several at once, smaller ones when memory runs out."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from lusirag.embedding.batching import pad_batch, plan_batches
from lusirag.embedding.runtime import Runtime
from lusirag.errors import ModelError
from lusirag.types import Vectors

logger = logging.getLogger(__name__)


class BatchRunner:
    """Batches for a runtime, and what becomes of them.

    Args:
        runtime: computes.
        padding_id: of the tokenizer.
        batch_tokens: most tokens of a batch, padding included. Halved for good when a batch does not fit into memory.
    """

    def __init__(self, runtime: Runtime, *, padding_id: int, batch_tokens: int) -> None:
        self.runtime = runtime
        self.padding_id = padding_id
        self.batch_tokens = batch_tokens

    def __call__(self, texts: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], Vectors]]:
        """Yield the numbers of each batch's texts and their embeddings, (B, O), not normalised.

        Raises:
            ModelError: a single text does not fit into memory.
        """
        plan = plan_batches([len(ids) for ids in texts], batch_tokens=self.batch_tokens)
        if self.runtime.parallel == 1:
            for batch in plan:
                yield batch, self._run([texts[at] for at in batch])
            return
        with ThreadPoolExecutor(self.runtime.parallel) as threads:
            running: deque[tuple[list[int], Future[Vectors]]] = deque()
            try:
                for batch in plan:
                    running.append((batch, threads.submit(self._run, [texts[at] for at in batch])))
                    if len(running) > 2 * self.runtime.parallel:
                        oldest, future = running.popleft()
                        yield oldest, future.result()
                for oldest, future in running:
                    yield oldest, future.result()
            finally:
                for _, future in running:
                    future.cancel()

    def _run(self, rows: Sequence[Sequence[int]]) -> Vectors:
        try:
            return self.runtime(*pad_batch(rows, padding_id=self.padding_id))
        except MemoryError as error:
            if len(rows) == 1:
                raise ModelError(
                    f"a text of {len(rows[0])} tokens needs more memory than the device has free; "
                    "free some, choose another device, or a smaller dtype"
                ) from error
            half = (len(rows) + 1) // 2
            self._shrink(half * len(rows[0]))
        return np.concatenate([self._run(rows[:half]), self._run(rows[half:])])

    def _shrink(self, tokens: int) -> None:
        if tokens < self.batch_tokens:
            logger.warning("a batch did not fit into memory; batches are now of %d tokens at most", tokens)
            self.batch_tokens = tokens
