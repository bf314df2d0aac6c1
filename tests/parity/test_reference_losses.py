"""Losses and their gradients against what the published implementation gave, and where ours differs on purpose.

Values to 5e-6, gradients to 2e-5 of the largest, as the fixtures' README suggests; at a temperature of 0.05 float32 has
no more to give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lusirag_training.losses import Candidates, ContrastiveLoss
from tests.parity.reference import FOLDER, needs_reference

pytestmark = needs_reference
KINDS = {"NTXentLoss": "nt_xent", "SupConLoss": "sup_con"}
SIMILARITIES = {"lp": "l2", "cos": "cosine"}
SETS = ("A", "B_duplabels", "C_single")
NAMES = [
    f"{kind}.{distance}.{miner}.t{temperature}"
    for kind in KINDS
    for distance in SIMILARITIES
    for miner in ("miner", "nominer")
    for temperature in ("0.05", "0.5")
]


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    return load_file(FOLDER / "losses" / "losses.safetensors")


@dataclass
class Batch:
    """The inputs of a published loss, q (B, D), pos (B, P, D), neg (B, N, D), as leaves."""

    q: Tensor
    pos: Tensor
    neg: Tensor
    labels: Tensor

    def candidates(self, *, in_batch: bool) -> Candidates:
        count, width = self.q.shape
        rows = torch.arange(count)
        positives, negatives = self.pos.shape[1], self.neg.shape[1]
        owner = torch.cat([rows.repeat_interleave(positives), rows.repeat_interleave(negatives)])
        return Candidates(
            queries=self.q,
            documents=torch.cat([self.pos.reshape(-1, width), self.neg.reshape(-1, width)]),
            owner=owner,
            is_positive=torch.arange(len(owner)) < count * positives,
            query_labels=self.labels,
            in_batch=in_batch,
        )


def batch_of(tensors: Mapping[str, Tensor], *prefixes: str) -> Batch:
    """The inputs of one process, or of several one after the other."""
    parts = [torch.cat([tensors[f"{prefix}.{name}"] for prefix in prefixes]) for name in ("q", "pos", "neg", "labels")]
    return Batch(*(part.clone().requires_grad_() for part in parts[:3]), parts[3])


def loss_of(name: str, *, mine: bool | None = None) -> ContrastiveLoss:
    kind, distance, miner, temperature = name.split(".", 3)
    mined = miner == "miner" if mine is None else mine
    return ContrastiveLoss(
        kind=KINDS[kind],
        similarity=SIMILARITIES[distance],
        temperature=float(temperature[1:]),
        miner_epsilon=0.25 if mined else None,
    )


def assert_gradients(batch: Batch, theirs: Mapping[str, Tensor], prefix: str, scale: float = 1.0) -> None:
    for name in ("q", "pos", "neg"):
        ours, expected = getattr(batch, name).grad, theirs[f"{prefix}.grad_{name}"] / scale
        tolerance = 2e-5 * max(1.0, expected.abs().max().item())
        torch.testing.assert_close(ours, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("in_batch", [False, True])
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("NTXent")])
@pytest.mark.parametrize("data", SETS)
def test_nt_xent(published: dict[str, Tensor], data: str, name: str, in_batch: bool) -> None:
    batch = batch_of(published, data)
    prefix = f"ws1.{data}.{name}.cross" if in_batch else f"{data}.{name}.local"
    # The published local loss ignores its miner: see the test of that name.
    loss = loss_of(name, mine=None if in_batch else False)(batch.candidates(in_batch=in_batch))
    torch.testing.assert_close(loss[None], published[f"{prefix}.loss"], atol=5e-6, rtol=0)
    loss.backward()
    assert_gradients(batch, published, prefix)


@pytest.mark.parametrize("in_batch", [False, True])
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("SupCon")])
def test_sup_con(published: dict[str, Tensor], name: str, in_batch: bool) -> None:
    """The published SupCon never ran; these numbers are the library's, as its code evidently meant them."""
    batch = batch_of(published, "A")
    prefix = f"ws1.A.{name}.cross" if in_batch else f"A.{name}.local"
    loss = loss_of(name, mine=None if in_batch else False)(batch.candidates(in_batch=in_batch))
    torch.testing.assert_close(loss[None], published[f"{prefix}.loss"], atol=5e-6, rtol=0)
    loss.backward()
    assert_gradients(batch, published, prefix)


@pytest.mark.parametrize("name", ["SupConLoss.lp.nominer.t0.05", "SupConLoss.cos.nominer.t0.05"])
def test_sup_con_averages_over_all_anchors_where_the_library_leaves_out_those_that_round_to_zero(
    published: dict[str, Tensor], name: str
) -> None:
    """Leaving them out makes the loss jump, here to twice itself, when one more anchor is learned well."""
    batch = batch_of(published, "B_duplabels")
    ours, theirs = loss_of(name)(batch.candidates(in_batch=False)), published[f"B_duplabels.{name}.local.loss"]
    anchors = batch.q.shape[0] * (1 + batch.pos.shape[1])
    counted = round(anchors * (ours / theirs).item())
    assert 0 < counted < anchors
    torch.testing.assert_close(ours[None], theirs * counted / anchors, atol=5e-6, rtol=0)
    ours.backward()
    assert_gradients(batch, published, f"B_duplabels.{name}.local", scale=anchors / counted)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("NTXent") and ".miner." in name])
def test_the_miner_is_obeyed_without_in_batch_negatives_where_the_published_loss_ignores_it(
    published: dict[str, Tensor], name: str
) -> None:
    unmined = name.replace(".miner.", ".nominer.")
    assert torch.equal(published[f"A.{name}.local.loss"], published[f"A.{unmined}.local.loss"])
    candidates = batch_of(published, "A").candidates(in_batch=False)
    assert abs(loss_of(name)(candidates) - loss_of(unmined)(candidates)) > 1e-3


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("NTXent") and name.endswith("t0.05")])
@pytest.mark.parametrize("ranks", ["ws2eq", "ws2mis"])
def test_two_processes_get_the_gradient_of_one_batch_where_the_published_one_has_world_size_squared(
    published: dict[str, Tensor], ranks: str, name: str
) -> None:
    """Its loss is 2 times, its gradient 2 * 2 times that of the whole batch; ours (distributed.py) is once."""
    prefixes = [f"{ranks}.rank{rank}" for rank in (0, 1)]
    whole = batch_of(published, *prefixes)
    loss = loss_of(name)(whole.candidates(in_batch=True))
    for prefix in prefixes:
        torch.testing.assert_close(2 * loss[None], published[f"{prefix}.{name}.cross.loss"], atol=1e-5, rtol=0)
    loss.backward()
    theirs = {
        f"both.grad_{part}": torch.cat([published[f"{prefix}.{name}.cross.grad_{part}"] for prefix in prefixes])
        for part in ("q", "pos", "neg")
    }
    assert_gradients(whole, theirs, "both", scale=4)
