"""Gradient caching on whole published models: loss and every gradient of one published training step.

Distances are taken from cosines here and from differences there, which at a temperature of 0.05 moves a loss of 3 by
5e-6 and a gradient by 2.2e-5 of the largest.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lusirag.model import LusiferModel
from lusirag.model.adapters import name_in_files
from lusirag.model.published import CheckpointNames
from lusirag_training.gradient_cache import cached_backward, chunk_slices
from lusirag_training.losses import Candidates, ContrastiveLoss
from tests.parity.reference import FOLDER, needs_reference, write_checkpoint

pytestmark = needs_reference
CASES = ("02_xlmr_mistral_ff1_mean_lora", "04_xlmr_llama_ff1_lasttoken_lora7")
# Chunks of 20 texts: three uneven ones, and one alone; the published run had chunks of two examples.
SIZES = (7, 20)


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    return load_file(FOLDER / "gradcache" / "gradcache.safetensors")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", CASES)
def test_a_published_training_step(case: str, size: int, published: dict[str, Tensor], tmp_path: Path) -> None:
    model = LusiferModel.from_published(write_checkpoint(case, tmp_path / case), published_positions=True)
    batch = {
        name.removeprefix(f"{case}.batch."): tensor
        for name, tensor in published.items()
        if name.startswith(f"{case}.batch.")
    }
    ids, mask = (
        torch.cat([batch[f"{part}_{name}"].flatten(0, -2) for part in ("query", "pos", "neg")])
        for name in ("input_ids", "attention_mask")
    )
    queries = len(batch["query_input_ids"])
    positives, negatives = (batch[f"{part}_input_ids"].shape[1] for part in ("pos", "neg"))
    rows = torch.arange(queries)
    owner = torch.cat([rows.repeat_interleave(positives), rows.repeat_interleave(negatives)])

    def loss(vectors: Tensor) -> Tensor:
        return ContrastiveLoss(similarity="l2")(
            Candidates(
                queries=vectors[:queries],
                documents=vectors[queries:],
                owner=owner,
                is_positive=torch.arange(len(owner)) < queries * positives,
                in_batch=False,
            )
        )

    value = cached_backward(
        lambda chunk: model(ids[chunk], mask[chunk]).embeddings, chunk_slices(len(ids), size=size), loss
    )
    torch.testing.assert_close(value[None], published[f"{case}.chunk2.loss"], rtol=5e-6, atol=0)

    ours = {name_in_files(name): parameter.grad for name, parameter in model.named_parameters()}
    our_name = CheckpointNames(model.config)
    prefix = f"{case}.chunk2.grad."
    gradients = {our_name(name.removeprefix(prefix)): each for name, each in published.items() if prefix in name}
    assert len(gradients) == 61
    for name, gradient in gradients.items():
        tolerance = 4e-5 * gradient.abs().max().item()
        torch.testing.assert_close(ours[name], gradient, atol=tolerance, rtol=0)
