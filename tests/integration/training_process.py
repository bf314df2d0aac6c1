"""One of several processes that train a tiny network together; `test_two_processes.py` starts them.

    python training_process.py FOLDER RANK WORLD CASES

CASES is JSON, name -> what to train; losses and gradients of each are written to FOLDER/NAME.RANK.safetensors, or what
went wrong, in words, to FOLDER/NAME.RANK.error.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lusirag.errors import LusiragError
from lusirag_training.distributed import end_done_process, gather_candidates, largest
from lusirag_training.gradient_cache import cached_backward, chunk_slices
from lusirag_training.losses import Candidates, ContrastiveLoss, FalseNegatives

# Of each example: one or two positives, and no to three hard negatives.
POSITIVES = (1, 2, 1, 1, 2)
NEGATIVES = (2, 0, 3, 1, 1)


def network() -> nn.Module:
    """With a normalisation of which DDP exchanges the buffers, though evaluation leaves them alone."""
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Linear(12, 6)).eval()


def texts(examples: range, *, labels: bool, keys: bool, teacher: bool) -> dict[str, Any]:
    """The features of some examples and the columns of their documents."""
    generator = torch.Generator().manual_seed(1)
    features: list[Tensor] = []
    for example in range(len(POSITIVES)):
        query = torch.randn(1, 5, generator=generator)
        documents = torch.randn(POSITIVES[example] + NEGATIVES[example], 5, generator=generator)
        documents[: POSITIVES[example]] += query
        features.append(torch.cat([query, documents]))
    here = [features[example] for example in examples]
    sizes = torch.tensor([len(each) - 1 for each in here])
    columns: dict[str, Any] = {
        "owner": torch.arange(len(here)).repeat_interleave(sizes),
        "is_positive": torch.cat([torch.arange(NEGATIVES[at] + POSITIVES[at]) < POSITIVES[at] for at in examples]),
    }
    queries, documents = torch.cat([each[:1] for each in here]), torch.cat([each[1:] for each in here])
    if labels:
        columns["query_labels"] = torch.tensor([4, 9, 4, 2, 9])[list(examples)]
    if keys:
        starts = [sum(POSITIVES[:at]) + sum(NEGATIVES[:at]) for at in range(len(POSITIVES) + 1)]
        numbers = 2**40 + torch.arange(starts[-1]) % 9  # some texts of one process occur in another
        columns["document_keys"] = numbers[starts[examples[0]] : starts[examples[-1] + 1]]
    if teacher:
        columns["teacher_queries"], columns["teacher_documents"] = queries[:, :3], documents[:, :3]
    return {"features": torch.cat([queries, documents]), "queries": len(here), "columns": columns}


def step(model: nn.Module, batch: dict[str, Any], case: dict[str, Any], *, rank: int) -> Tensor:
    """One backward pass; the loss."""
    options = dict(case["loss"])
    if "false_negatives" in options:
        options["false_negatives"] = FalseNegatives(**options["false_negatives"])
    objective = ContrastiveLoss(**options)
    in_batch = case["in_batch"][rank] if isinstance(case["in_batch"], list) else case["in_batch"]

    def loss(vectors: Tensor) -> Tensor:
        own = Candidates(
            queries=vectors[: batch["queries"]],
            documents=vectors[batch["queries"] :],
            in_batch=in_batch,
            **batch["columns"],
        )
        return objective(gather_candidates(own, averaged=case["averaged"]))

    features = batch["features"]
    if not case["chunk"]:
        value = loss(model(features))
        value.backward()
        return value.detach()
    if case.get("equal_chunks"):
        chunks = chunk_slices(len(features), size=case["chunk"], chunks=largest(-(-len(features) // case["chunk"])))
    else:
        chunks = chunk_slices(len(features), size=case["chunk"])
    no_sync = model.no_sync if isinstance(model, DistributedDataParallel) else nullcontext
    return cached_backward(lambda rows: model(features[rows]), chunks, loss, no_sync=no_sync)


def train(case: dict[str, Any], *, rank: int, world: int) -> dict[str, Tensor]:
    """Take two steps, so that a collective that one process owes shows; the loss and the gradients of both."""
    examples = range(len(POSITIVES))
    if world > 1:
        examples = examples[case["edges"][rank] : case["edges"][rank + 1]]
    model = network()
    wrapped = DistributedDataParallel(model) if world > 1 and case["averaged"] else model
    batch = texts(examples, labels=case["labels"], keys=case["keys"], teacher=case["teacher"])
    result: dict[str, Tensor] = {}
    for _ in range(2):
        result["loss"] = step(wrapped, batch, case, rank=rank)[None]
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        if world > 1 and not case["averaged"]:
            dist.all_reduce(parameter.grad)
        result[name] = parameter.grad
    return result


def main(folder: Path, rank: int, world: int, cases: dict[str, dict[str, Any]]) -> None:
    """Run all cases one after the other, in step with the other processes."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'rendezvous'}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=60),
    )
    for name, case in cases.items():
        try:
            save_file(train(case, rank=rank, world=world), folder / f"{name}.{rank}.safetensors")
        except LusiragError as error:
            (folder / f"{name}.{rank}.error").write_text(str(error), encoding="utf-8")
    dist.barrier()  # who leaves first must not break what another still receives
    end_done_process()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))
