"""Training on a GPU: it learns, goes on where it stopped, and chunks change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lusirag.model import LusiferModel
from lusirag_training.gradient_cache import cached_backward, chunk_slices
from lusirag_training.losses import Candidates, ContrastiveLoss
from lusirag_training.trainer.checkpoints import checkpoints
from lusirag_training.trainer.records import read_records
from lusirag_training.trainer.running import run_stage
from tests.conftest import tiny_model
from tests.fsdp import train_sharded
from tests.training_world import alignment, contrastive, recipe, write_world

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU on this machine")

DEVICE, RUN_DEVICE = "cuda:0", "auto"
TEXTS, QUERIES = 12, 4


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_records(folder / "training.csv")]


def run_at(folder: Path, **more: Any) -> dict[str, Any]:
    return {"output": str(folder), "device": RUN_DEVICE} | more


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_contrastive_training_learns(world: Path, tmp_path: Path, precision: str) -> None:
    config = contrastive(
        world,
        run=run_at(tmp_path / "run", save_every=10),
        data={"phases": [{"epochs": 5}]},
        loss={"name": "info_nce", "similarity": "cosine", "miner_epsilon": None},
        optimization={"precision": precision},
        evaluation={"sets": {"dev": str(world / "pairs.jsonl")}, "every": 10},
    )
    report = run_stage(config)
    curve = losses(tmp_path / "run")
    assert report.steps == len(curve) == 30
    assert np.mean(curve[-5:]) < 0.8 * np.mean(curve[:5])
    assert report.figures["mean"] > 0


def test_alignment_learns(world: Path, tmp_path: Path) -> None:
    config = alignment(
        world,
        run=run_at(tmp_path / "run"),
        alignment={"attention": "prefix", "mask_probability": 0.5},
        optimization={"learning_rate": 1e-2},
        data={"phases": [{"tasks": "reconstruction", "epochs": 2}, {"tasks": "all", "epochs": 2}]},
    )
    run_stage(config)
    curve = losses(tmp_path / "run")
    assert np.mean(curve[-3:]) < np.mean(curve[:3]) - 0.1


def test_the_gpu_computes_what_the_cpu_does(world: Path, tmp_path: Path) -> None:
    curves = []
    for device in (RUN_DEVICE, "cpu"):
        run = {"output": str(tmp_path / device), "device": device}
        run_stage(
            contrastive(world, run=run, trainable={"lora": {"dropout": 0.0}}, optimization={"learning_rate": 1e-4})
        )
        curves.append(losses(tmp_path / device))
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-3)


@pytest.fixture(scope="module")
def interrupted(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of 12 steps, and the same one stopped after its 7th and gone on with; dropout draws on the GPU."""
    made = tmp_path_factory.mktemp("interrupted")
    changes: dict[str, Any] = {"data": {"phases": [{"epochs": 2}]}, "trainable": {"lora": {"dropout": 0.3}}}
    run_stage(contrastive(world, run=run_at(made / "whole"), **changes))
    broken = contrastive(world, run=run_at(made / "broken"), **changes)

    def stop_at_seven(record: Any) -> None:
        if record["step"] == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(broken, progress=stop_at_seven)
    assert run_stage(broken).resumed_at == 6
    return made / "whole", made / "broken"


def test_an_interrupted_run_goes_on_bit_for_bit(interrupted: tuple[Path, Path]) -> None:
    whole, broken = interrupted
    assert len(losses(whole)) == 12
    assert losses(broken) == losses(whole)
    ends = [load_file(checkpoints(folder)[-1] / "trained.safetensors") for folder in interrupted]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def gradients(model: LusiferModel, *, size: int) -> tuple[float, Tensor]:
    """Loss and gradient of a batch in chunks of so many texts."""
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(4, 256, (TEXTS, 9), generator=generator).to(DEVICE)
    mask = (torch.arange(9) < torch.randint(2, 10, (TEXTS, 1), generator=generator)).long().to(DEVICE)
    owner, is_positive = torch.arange(TEXTS - QUERIES) % QUERIES, torch.arange(TEXTS - QUERIES) < QUERIES

    def loss(vectors: Tensor) -> Tensor:
        return ContrastiveLoss(temperature=0.1)(
            Candidates(
                queries=vectors[:QUERIES],
                documents=vectors[QUERIES:],
                owner=owner.to(DEVICE),
                is_positive=is_positive.to(DEVICE),
            )
        )

    model.zero_grad()
    torch.manual_seed(8)
    value = cached_backward(
        lambda rows: model(ids[rows], mask[rows]).embeddings, chunk_slices(TEXTS, size=size), loss, check_replay=True
    )
    parts = [each.grad.flatten() for each in model.parameters() if each.grad is not None]
    return float(value), torch.cat(parts).double()


@pytest.mark.parametrize("size", [1, 5])
def test_cached_gradients_are_those_of_the_whole_batch(size: int) -> None:
    model = tiny_model("xlm-roberta", "mistral").to(DEVICE)
    whole, chunked = gradients(model, size=TEXTS), gradients(model, size=size)
    assert chunked[0] == pytest.approx(whole[0], rel=1e-4)
    assert float((chunked[1] - whole[1]).norm() / whole[1].norm()) < 1e-4


def test_dropout_is_drawn_again_as_it_was() -> None:
    model = tiny_model("xlm-roberta", "mistral").to(DEVICE).train()  # the encoder drops a tenth
    gradients(model, size=5)  # refuses a second pass that gives other vectors


def test_chunks_change_memory_and_not_the_run(world: Path, tmp_path: Path) -> None:
    curves = []
    for chunk_tokens in (50, 100_000):
        folder = tmp_path / str(chunk_tokens)
        trainable = {"lora": {"dropout": 0.0}}
        options = {"chunk_tokens": chunk_tokens, "learning_rate": 1e-4}
        run_stage(contrastive(world, run=run_at(folder), trainable=trainable, optimization=options))
        curves.append(losses(folder))
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)


@pytest.mark.enable_socket
def test_fsdp_trains_and_writes_whole_weights(world: Path, tmp_path: Path) -> None:
    # One process holds all shares here: on one GPU the wrapped network, its steps and its checkpoints can be tried.
    values = recipe(world, "contrastive", run=run_at(tmp_path / "run"), optimization={"fsdp": True})
    train_sharded([values], processes=1, folder=tmp_path)
    assert all(np.isfinite(losses(tmp_path / "run")))
    plain = contrastive(world, run=run_at(tmp_path / "plain"))
    run_stage(plain)
    ours, theirs = (load_file(checkpoints(tmp_path / name)[-1] / "trained.safetensors") for name in ("run", "plain"))
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: each.shape for name, each in theirs.items()}
