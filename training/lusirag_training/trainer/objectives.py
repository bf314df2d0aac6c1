"""What a step of each stage computes: chunks through the network, the loss, its gradient.

An objective adds the gradient of the mean over the whole batch, of all processes, to the parameters, on the
understanding that the gradients of the processes are averaged, as DistributedDataParallel and FSDP do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from lusirag.embedding.batching import plan_batches
from lusirag_training.data.alignment import AlignmentBatch, padded_targets
from lusirag_training.data.contrastive import ContrastiveBatch
from lusirag_training.data.texts import Ids, chunked, padded
from lusirag_training.distributed import gather_candidates, largest, several, total
from lusirag_training.gradient_cache import cached_backward
from lusirag_training.losses import Candidates, ContrastiveLoss
from lusirag_training.trainer.teachers import Teachers

Batch = TypeVar("Batch", contravariant=True)
Backward = Callable[[Tensor], object]
NoSync = Callable[[], AbstractContextManager[object]]

# Most tokens, padding included, of one pass on a CPU. Larger tensors leave its caches, and the system clears their
# memory each time anew: 350 texts through a frozen encoder and one trained layer took 16.5 s in one pass, 5.3 s so.
CPU_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step gave.

    Attributes:
        loss: detached; its mean over the processes is the loss of the whole batch.
        tokens: of this process's texts, padding not counted. figures: further measures, such as accuracy.
    """

    loss: Tensor
    tokens: int
    figures: dict[str, float] = field(default_factory=dict)


class Objective(Protocol[Batch]):
    """A stage's step."""

    def step(self, network: Any, batch: Batch, *, device: torch.device, backward: Backward, no_sync: NoSync) -> Outcome:
        """Add the gradient of a batch to the network's parameters.

        Args:
            network: as the Trainer wrapped it. backward: of accelerate. no_sync: where gradients are not exchanged.
        """

    def lengths(self, batch: Batch) -> list[int]:
        """Tokens of each row that goes through the network."""

    def forward(self, network: Any, batch: Batch, rows: Sequence[int], *, device: torch.device) -> Tensor:
        """One pass of some rows through the network, with the graph of their gradient."""

    def most_tokens(self, *, device: torch.device) -> int:
        """Tokens, padding included, whose graph is kept at once."""


@dataclass(frozen=True, slots=True)
class ContrastiveObjective:
    """Stage 2.

    Args:
        loss: over the candidates of all processes.
        chunk_tokens: most tokens whose activations are held at once; gradients are cached where a batch has more.
        padding_id: of the multilingual encoder. teachers: whose similarities the loss imitates.
        equal_chunks: let all processes run as many chunks, as FSDP needs.
    """

    loss: ContrastiveLoss
    chunk_tokens: int
    padding_id: int
    teachers: Teachers | None = None
    equal_chunks: bool = False

    def step(
        self, network: Any, batch: ContrastiveBatch, *, device: torch.device, backward: Backward, no_sync: NoSync
    ) -> Outcome:
        """See `Objective`."""
        lengths = self.lengths(batch)
        chunks = chunked(lengths, chunk_tokens=self.chunk_tokens)
        if self.equal_chunks:
            chunks = chunked(lengths, chunk_tokens=self.chunk_tokens, at_least=largest(len(chunks), device=device))
        places = torch.tensor([row for chunk in chunks for row in chunk])
        unsorted = torch.empty_like(places)
        unsorted[places] = torch.arange(len(places))
        teachers = self._teach(batch, device)
        seen: dict[str, float] = {}

        def embed(chunk: list[int]) -> Tensor:
            parts = passes([lengths[row] for row in chunk], device=device)
            return torch.cat(
                [self.forward(network, batch, [chunk[row] for row in part], device=device) for part in parts]
            )

        def measure(vectors: Tensor) -> Tensor:
            ordered = vectors[unsorted.to(vectors.device)]  # (B + M, D)
            count = len(batch.queries)
            value = self.loss.measure(
                gather_candidates(
                    Candidates(
                        queries=ordered[:count],
                        documents=ordered[count:],
                        owner=batch.owner.to(device),
                        is_positive=batch.is_positive.to(device),
                        query_labels=batch.query_labels.to(device),
                        document_keys=batch.document_keys.to(device),
                        in_batch=batch.in_batch,
                        **teachers,
                    )
                )
            )
            seen["accuracy"] = float(value.diagnostics.accuracy)
            return value.loss

        loss = cached_backward(embed, chunks, measure, backward=backward, no_sync=no_sync)
        return Outcome(loss, sum(lengths), seen)

    def lengths(self, batch: ContrastiveBatch) -> list[int]:
        """Tokens of each query, then of each document."""
        return [len(row) for row in (*batch.queries, *batch.documents)]

    def forward(self, network: Any, batch: ContrastiveBatch, rows: Sequence[int], *, device: torch.device) -> Tensor:
        """Embeddings (rows, O)."""
        texts: Ids = [*batch.queries, *batch.documents]
        ids, mask = padded([texts[row] for row in rows], padding_id=self.padding_id, device=device)
        embeddings: Tensor = network(input_ids=ids, attention_mask=mask).embeddings
        return embeddings

    def most_tokens(self, *, device: torch.device) -> int:
        """A chunk, in one pass or several."""
        del device
        return self.chunk_tokens

    def _teach(self, batch: ContrastiveBatch, device: torch.device) -> dict[str, Tensor]:
        if self.teachers is None:
            return {}
        return {
            "teacher_queries": torch.from_numpy(self.teachers.queries(batch.query_texts)).to(device),
            "teacher_documents": torch.from_numpy(self.teachers.documents(batch.document_texts)).to(device),
        }


def passes(lengths: Sequence[int], *, device: torch.device) -> Iterator[Sequence[int]]:
    """Share a chunk, longest text first, out over passes through the network, in order.

    NOTE: one pass where several processes train. Each call of DistributedDataParallel exchanges buffers, and who has
    more passes than the others would wait for ever.
    """
    if device.type != "cpu" or several():
        return iter([range(len(lengths))])
    return plan_batches(lengths, batch_tokens=CPU_TOKENS)


@dataclass(frozen=True, slots=True)
class AlignmentObjective:
    """Stage 1: the mean cross-entropy over all labelled words of the batch.

    Args:
        chunk_tokens: most tokens of a chunk, source and target together.
        padding_id: of the multilingual encoder. target_padding_id: of the language model.
        given_words: 1 where a target begins with <bos>, which is given and not written, else 0.
        equal_chunks: let all processes run as many chunks, as FSDP needs.
    """

    chunk_tokens: int
    padding_id: int
    target_padding_id: int
    given_words: int
    equal_chunks: bool = False

    def step(
        self, network: Any, batch: AlignmentBatch, *, device: torch.device, backward: Backward, no_sync: NoSync
    ) -> Outcome:
        """See `Objective`."""
        lengths, most = self.lengths(batch), self.most_tokens(device=device)
        chunks = chunked(lengths, chunk_tokens=most)
        if self.equal_chunks:
            chunks = chunked(lengths, chunk_tokens=most, at_least=largest(len(chunks), device=device))
        words = total(sum(len(row) - self.given_words for row in batch.labels), device=device)
        processes = total(1, device=device)
        loss = torch.zeros((), device=device)
        for number, chunk in enumerate(chunks):
            with nullcontext() if number == len(chunks) - 1 else no_sync():
                part = self.forward(network, batch, chunk, device=device) * processes / words
                backward(part)
            loss += part.detach()
        return Outcome(loss, sum(lengths))

    def lengths(self, batch: AlignmentBatch) -> list[int]:
        """Tokens of each source and its target together."""
        return [len(source) + len(target) for source, target in zip(batch.sources, batch.targets, strict=True)]

    def forward(self, network: Any, batch: AlignmentBatch, rows: Sequence[int], *, device: torch.device) -> Tensor:
        """The sum of the cross-entropies of their labelled words."""
        ids, mask = padded([batch.sources[row] for row in rows], padding_id=self.padding_id, device=device)
        columns = ([column[row] for row in rows] for column in (batch.targets, batch.target_masks, batch.labels))
        targets, seen, labels = padded_targets(*columns, padding_id=self.target_padding_id, device=device)
        loss: Tensor = network(
            input_ids=ids,
            attention_mask=mask,
            target_ids=targets,
            target_mask=seen,
            labels=labels,
            reduction="sum",
            with_logits=False,
        ).loss
        return loss

    def most_tokens(self, *, device: torch.device) -> int:
        """A chunk, which is a pass."""
        return min(self.chunk_tokens, CPU_TOKENS) if device.type == "cpu" else self.chunk_tokens
