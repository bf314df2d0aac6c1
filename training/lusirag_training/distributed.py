"""Vectors of all processes in one loss, with the gradient that one process would get from the whole batch.

Every process gathers the same global batch and computes the same loss from it. The gradient at its own rows is then
already the whole truth about them, so the backward pass needs no exchange: parameters get this process's part, and the
parts sum up to the gradient of the whole batch. DistributedDataParallel and FSDP, however, average: the backward pass
multiplies by the number of processes first.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

from lusirag.errors import InvalidArgumentError
from lusirag_training.losses.candidates import Candidates

OPTIONAL = ("query_labels", "document_keys", "teacher_queries", "teacher_documents")
CHECKED = ("in_batch", "the width of queries", *(f"the width of {name}" for name in OPTIONAL))


def gather_candidates(candidates: Candidates, *, averaged: bool = True) -> Candidates:
    """Join the batches of all processes, in the order of their ranks; alone, the batch itself.

    Every process calls this at the same time, with any numbers of queries and documents above 0. The loss of the result
    is that of the whole batch on every process: log it as it is, multiply it by nothing.

    Args:
        candidates: of this process; `owner` counts its own queries. Labels and keys mean the same everywhere.
        averaged: gradients of parameters will be averaged over the processes (DistributedDataParallel, FSDP); False
            where they are summed.

    Returns:
        The global batch. Gradients flow to this process's vectors alone.

    Raises:
        InvalidArgumentError: on every process alike, when the batches are of different kinds: `in_batch`, a width,
            or a column that one has and another lacks. All processes draw a step's batch from one data set.
    """
    if not several():
        return candidates
    headers = _headers(candidates)
    _require_alike(headers)
    queries, documents = ([header[at] for header in headers] for at in (0, 1))
    counts = {"query_labels": queries, "teacher_queries": queries}
    columns: dict[str, Tensor] = {
        name: gather_rows(_exchangeable(column), counts.get(name, documents))
        for name in OPTIONAL
        if (column := getattr(candidates, name)) is not None
    }
    scale = float(len(headers)) if averaged else 1.0
    return Candidates(
        queries=gather_rows(_exchangeable(candidates.queries), queries, scale=scale),
        documents=gather_rows(_exchangeable(candidates.documents), documents, scale=scale),
        owner=gather_rows(candidates.owner.long() + sum(queries[: dist.get_rank()]), documents),
        is_positive=gather_rows(candidates.is_positive.long(), documents).bool(),
        in_batch=candidates.in_batch,
        **columns,
    )


def gather_rows(rows: Tensor, counts: list[int], *, scale: float = 1.0) -> Tensor:
    """Join rows of all processes, in the order of their ranks.

    Args:
        rows: (n, ...) of this process. counts: n of every process.
        scale: what the gradient at this process's rows is multiplied by.

    Returns:
        (sum of counts, ...), the same on every process.
    """
    joined: Tensor = _Gather.apply(rows, counts, scale)  # type: ignore[no-untyped-call]
    return joined


def largest(number: int, *, device: torch.device | str = "cpu") -> int:
    """The largest of a number over all processes, such as the chunks that a step needs under FSDP.

    Args:
        number: of this process. device: where the processes can exchange it ("cuda" with NCCL).
    """
    if not several():
        return number
    shared = torch.tensor(number, device=device)
    dist.all_reduce(shared, op=dist.ReduceOp.MAX)
    return int(shared)


def total(number: int, *, device: torch.device | str = "cpu") -> int:
    """The sum of a number over all processes, such as the words of a batch.

    Args:
        number, device: as in `largest`.
    """
    if not several():
        return number
    shared = torch.tensor(number, device=device)
    dist.all_reduce(shared)
    return int(shared)


class _Gather(torch.autograd.Function):
    """All rows forward; backward this process's own slice."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int], scale: float) -> Tensor:
        start = sum(counts[: dist.get_rank()])
        ctx.own, ctx.scale = slice(start, start + len(rows)), scale
        # Collectives want equal shapes: shorter ones are padded, and cut again.
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows.detach()
        received = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(received, padded)
        return torch.cat([each[:count] for each, count in zip(received, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.own] * ctx.scale, None, None


def _exchangeable(column: Tensor) -> Tensor:
    """float32 or int64: processes may hold other types, and not every backend takes them."""
    return column.float() if column.is_floating_point() else column.long()


def several() -> bool:
    """Whether this is one of several processes that train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def end_done_process() -> NoReturn:
    """End a process that is done, one of several or not, with the code 0 and without taking the interpreter apart.

    DistributedDataParallel keeps gloo's threads alive after the group is gone. One that lets go of a tensor while the
    interpreter is taken apart aborts the process (pytorch/pytorch issue 190489), and a launcher then reports a run as
    failed whose every file is written.
    """
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _headers(candidates: Candidates) -> list[list[int]]:
    """Of each process, what `CHECKED` names after the numbers of its queries and documents."""
    header = [
        len(candidates.queries),
        len(candidates.documents),
        int(candidates.in_batch),
        candidates.queries.shape[1],
        *(_width(getattr(candidates, name)) for name in OPTIONAL),
    ]
    own = torch.tensor(header, device=candidates.queries.device)
    received = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(received, own)
    headers: list[list[int]] = torch.stack(received).tolist()
    return headers


def _width(column: Tensor | None) -> int:
    """0 when there is no such column."""
    return 0 if column is None else column[0].numel()


def _require_alike(headers: list[list[int]]) -> None:
    """Every process sees all headers, so all of them raise, or none.

    Raises:
        InvalidArgumentError: names what differs, and on which processes.
    """
    problems = []
    for name, values in zip(CHECKED, list(zip(*headers, strict=True))[2:], strict=True):
        if len(set(values)) > 1:
            said = ", ".join(f"{value} on process {rank}" for rank, value in enumerate(values))
            problems.append(f"{name} is {said}")
    if problems:
        raise InvalidArgumentError(
            f"the processes hold batches of different kinds: {'; '.join(problems)} (0: none); "
            "draw each step's batch from one data set on all processes"
        )
