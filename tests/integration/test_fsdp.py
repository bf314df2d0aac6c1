"""Two processes that share the weights by FSDP train what one process trains that has them all.

On a CPU, over gloo. accelerate has FSDP among accelerators alone, and a recipe refuses it on a CPU, so
`fsdp_process.py` takes both hindrances away; the sharding, the gathering and the reduction are torch's own.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lusirag_training.config.reading import parse
from lusirag_training.trainer.checkpoints import checkpoints
from lusirag_training.trainer.records import read_records
from lusirag_training.trainer.running import run_stage
from lusirag_training.trainer.runs import KINDS, load_run
from tests.fsdp import train_sharded
from tests.training_world import recipe, write_world

pytestmark = pytest.mark.enable_socket

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "contrastive, many chunks": ("contrastive", {"optimization": {"chunk_tokens": 60}}),
    "contrastive, evaluated, layers computed again": (
        "contrastive",
        {"optimization": {"gradient_checkpointing": True}, "evaluation": {"every": 1}},
    ),
    "alignment": ("alignment", {}),
}
FILES = {"trained.safetensors", "optimizer.bin", "scheduler.pt", "rng_state_0.pth", "rng_state_1.pth"} | {
    "trainer_state.json",
    "complete.json",
}
COARSE = "bfloat16, the frozen weights too"


class Runs(NamedTuple):
    """Folders of runs by case: of one process, of two, and of two that were interrupted after the second step."""

    alone: Path
    shared: Path
    resumed: Path


def values_of(world: Path, folder: Path, stage: str, changes: dict[str, Any], *, fsdp: bool) -> dict[str, Any]:
    optimization = {"max_steps": 4, "learning_rate": 1e-4, "fsdp": fsdp} | changes.get("optimization", {})
    evaluation = changes.get("evaluation", {})
    if evaluation:
        evaluation = evaluation | {"sets": {"dev": str(world / "pairs.jsonl")}, "limit": 20}
    return recipe(
        world,
        stage,
        run={"output": str(folder), "keep": "all"},
        trainable={"lora": {"dropout": 0.0}},
        model=changes.get("model", {}),
        evaluation=evaluation,
        optimization=optimization,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    world = write_world(tmp_path_factory.mktemp("world"))
    made = Runs(*(tmp_path_factory.mktemp(name) for name in Runs._fields))
    for name, (stage, changes) in CASES.items():
        values = values_of(world, made.alone / name, stage, changes, fsdp=False)
        run_stage(parse(values, KINDS[stage], origin="test"))
    shared = [values_of(world, made.shared / name, *case, fsdp=True) for name, case in CASES.items()]
    coarse = {"optimization": {"precision": "bfloat16"}, "model": {"dtype": "bfloat16"}}
    train_sharded(shared, processes=2, folder=made.shared)
    train_sharded(
        [values_of(world, made.shared / COARSE, "contrastive", coarse, fsdp=True)], processes=2, folder=made.shared
    )
    again = []
    for name, case in CASES.items():
        shutil.copytree(made.shared / name, made.resumed / name)
        shutil.rmtree(made.resumed / name / "checkpoint-4")
        values = values_of(world, made.shared / name, *case, fsdp=True)
        again.append(values | {"run": values["run"] | {"output": str(made.resumed / name)}})
    train_sharded(again, processes=2, folder=made.resumed)
    return made


def curve(folder: Path, *, file: str = "training.csv", column: str = "loss") -> list[float]:
    return [record[column] for record in read_records(folder / file)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoints(folder)[-1] / "trained.safetensors")


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_what_one_trains(runs: Runs, name: str) -> None:
    alone, shared = runs.alone / name, runs.shared / name
    np.testing.assert_allclose(curve(shared), curve(alone), rtol=1e-4)
    np.testing.assert_allclose(curve(shared, column="grad_norm"), curve(alone, column="grad_norm"), rtol=1e-3)
    if CASES[name][1].get("evaluation"):
        figures = [curve(each, file="evaluation.csv", column="dev") for each in (alone, shared)]
        assert len(figures[0]) == 5
        assert figures[0] == pytest.approx(figures[1], abs=0.02)
    ours, theirs = weights(shared), weights(alone)
    assert ours.keys() == theirs.keys()
    for part, tensor in theirs.items():
        torch.testing.assert_close(ours[part], tensor, atol=2e-4, rtol=1e-3, msg=part)


@pytest.mark.parametrize("name", CASES)
def test_they_go_on_bit_for_bit(runs: Runs, name: str) -> None:
    assert curve(runs.resumed / name) == curve(runs.shared / name)
    ours, theirs = weights(runs.resumed / name), weights(runs.shared / name)
    assert all(torch.equal(ours[part], tensor) for part, tensor in theirs.items())


@pytest.mark.parametrize("name", [*CASES, COARSE])
def test_a_checkpoint_holds_what_is_trained_whole_and_nothing_else(runs: Runs, name: str) -> None:
    trained = weights(runs.shared / name)
    assert {tensor.dtype for tensor in trained.values()} == {torch.float32}
    files = {file.name for file in checkpoints(runs.shared / name)[-1].iterdir()}
    assert files == FILES
    load_run(runs.shared / name)


def test_the_loss_in_bfloat16_is_nearly_that_in_float32(runs: Runs) -> None:
    coarse, exact = curve(runs.shared / COARSE), curve(runs.alone / "contrastive, many chunks")
    assert coarse[0] == pytest.approx(exact[0], rel=0.02)
    assert all(np.isfinite(coarse))
