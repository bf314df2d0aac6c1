"""Gradient caching: the gradient of a large batch in the memory of a small one.

Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (arXiv 2101.06983,
section 3): all chunks are embedded without a graph, the loss gives the gradient at the vectors, and each chunk is then
embedded once more, with a graph, and takes its part of that gradient back to the parameters.

N texts, D values a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from lusirag.errors import InvalidArgumentError, ModelError
from lusirag_training.distributed import several

Chunk = TypeVar("Chunk")


def cached_backward(
    embed: Callable[[Chunk], Tensor],
    chunks: Sequence[Chunk],
    loss: Callable[[Tensor], Tensor],
    *,
    backward: Callable[[Tensor], object] = torch.Tensor.backward,
    no_sync: Callable[[], AbstractContextManager[object]] = nullcontext,
    check_replay: bool = False,
) -> Tensor:
    """Add the gradient of `loss(all vectors)` to the parameters, with the graph of one chunk at a time.

    The random numbers of a chunk (dropout) are the same in both passes, and afterwards the generators stand where the
    first pass left them. What `embed` changes besides, such as running statistics, is changed twice. Where one
    process trains alone, a single chunk is embedded once and gives its gradient directly.

    Under DistributedDataParallel every process must call this once a step, with at least one chunk; the numbers of
    chunks may differ, for gradients are exchanged in the last replay alone. FSDP exchanges weights in every pass: there
    the numbers must agree (`distributed.largest`, `chunk_slices(chunks=...)`).

    Args:
        embed: (n, D) vectors of a chunk, in whatever autocast and device placement it needs.
        chunks: what `embed` takes; nothing is asked of them.
        loss: a scalar from the vectors of all chunks, float32 (N, D) in their order. It may gather those of other
            processes (`distributed.gather_candidates`).
        backward: starts a backward pass, such as accelerate's, which scales; each call gets a scalar.
        no_sync: the context in which a backward pass does not exchange gradients, such as `model.no_sync`.
        check_replay: compare the vectors of both passes; for a first step, since it waits for the device.

    Returns:
        The loss, detached.

    Raises:
        InvalidArgumentError: there is no chunk, or the loss does not depend on the vectors.
        ModelError: with `check_replay`, the second pass gave other vectors: `embed` draws random numbers elsewhere.
    """
    if not chunks:
        raise InvalidArgumentError("there are no chunks; give every process at least one a step")
    # NOTE: not beside other processes. DDP exchanges buffers in a step's first pass and the order of its buckets in the
    # first one with a graph; with one pass for both they come in the other order, and peers with two wait for ever.
    if len(chunks) == 1 and not several():
        value = _depends(loss(_wide(embed(chunks[0]))))
        backward(value)
        return value.detach()

    states: list[RandomState] = []
    first: list[Tensor] = []
    with torch.no_grad():
        for chunk in chunks:
            states.append(RandomState.now())
            first.append(_wide(embed(chunk)))
    vectors = torch.cat(first).requires_grad_()  # (N, D)
    value = _depends(loss(vectors))
    (gradient,) = torch.autograd.grad(value, vectors)  # (N, D)

    parts = torch.split(gradient, [len(part) for part in first])
    for at, (chunk, state, part, before) in enumerate(zip(chunks, states, parts, first, strict=True)):
        # An outer autocast keeps the weights it has cast; those of the first pass lead to no parameter.
        torch.clear_autocast_cache()
        with nullcontext() if at == len(chunks) - 1 else no_sync():
            with state.again():
                again = _wide(embed(chunk))
            if check_replay:
                _require_same(again.detach(), before, at)
            backward((again * part).sum())
    return value.detach()


def chunk_slices(rows: int, *, size: int, chunks: int | None = None) -> list[slice]:
    """Cut `rows` rows into chunks of at most `size`, as even as can be.

    Args:
        rows: at least 1. size: at least 1.
        chunks: make so many, as FSDP needs when another process has more rows; as few as fit when None.

    Raises:
        InvalidArgumentError: a number is too small, or there are more chunks than rows.
    """
    if rows < 1 or size < 1:
        raise InvalidArgumentError(f"cannot cut {rows} rows into chunks of {size}; both must be at least 1")
    least = -(-rows // size)
    count = least if chunks is None else chunks
    if not least <= count <= rows:
        raise InvalidArgumentError(f"{rows} rows, at most {size} a chunk, make {least} to {rows} chunks, not {count}")
    edges = [rows * at // count for at in range(count + 1)]
    return [slice(start, end) for start, end in pairwise(edges)]


@dataclass(frozen=True)
class RandomState:
    """Where the generators of the CPU and of the current CUDA device stand."""

    cpu: Tensor
    cuda: Tensor | None

    @classmethod
    def now(cls) -> RandomState:
        """Take them down; a CUDA device that is not in use yet is left alone."""
        in_use: bool = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call,unused-ignore]
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state() if in_use else None)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draw the same numbers once more; afterwards the generators stand where they stood before."""
        devices = [] if self.cuda is None else [torch.cuda.current_device()]
        with torch.random.fork_rng(devices):
            torch.set_rng_state(self.cpu)
            if self.cuda is not None:
                torch.cuda.set_rng_state(self.cuda)
            yield


def _wide(vectors: Tensor) -> Tensor:
    """At least float32, so that small gradients of the loss do not vanish in float16."""
    return vectors.to(torch.promote_types(vectors.dtype, torch.float32))


def _depends(value: Tensor) -> Tensor:
    if not value.requires_grad:
        raise InvalidArgumentError("the loss does not depend on the vectors, or was computed without a graph")
    return value


def _require_same(again: Tensor, before: Tensor, at: int) -> None:
    """Both passes, within what the order of sums in low precision explains."""
    difference = (again - before).norm() / before.norm().clamp_min(torch.finfo(before.dtype).tiny)
    if difference > 1e-2:
        raise ModelError(
            f"chunk {at} gave vectors that differ by {float(difference):.1%} when it was embedded again; let `embed` "
            "draw random numbers from torch's own generators alone and keep nothing between its calls"
        )
