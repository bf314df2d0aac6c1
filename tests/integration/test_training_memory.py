"""The memory that a dry run tells: counted for a few rows, and what a chunk really keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lusirag_training.config import StageConfig
from lusirag_training.trainer import memory
from lusirag_training.trainer.assembly import assemble
from lusirag_training.trainer.memory import activations, kept_bytes
from lusirag_training.trainer.objectives import CPU_TOKENS
from lusirag_training.trainer.precision import suit_cpu
from tests.training_world import alignment, contrastive, write_world

STAGES = {"alignment": alignment, "contrastive": contrastive}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


def estimate(config: StageConfig, **options: Any) -> int:
    config = replace(config, optimization=replace(config.optimization, **options))
    return activations(config, assemble(config))


def test_what_a_pass_keeps_is_counted_once_and_without_weights() -> None:
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    given = torch.randn(5, 8)
    kept = 4 * 5 * (8 + 16)  # the input, and what ReLU gives: its own backward pass and the next layer's read that
    assert kept_bytes(lambda: network(given), network) == kept
    network[0].requires_grad_(False)  # then nothing is learnt from the first layer's input
    assert kept_bytes(lambda: network(given), network) == 4 * 5 * 16


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("stage", list(STAGES))
def test_the_estimate_is_near_what_a_chunk_keeps(world: Path, stage: str, precision: str) -> None:
    config = STAGES[stage](world, optimization={"precision": precision})
    made = assemble(config)
    suit_cpu(made.network, config, torch.device("cpu"))
    batch = made.steps[0]
    lengths = made.objective.lengths(batch)
    rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])[:8]
    held = len(rows) * lengths[rows[0]]
    told = estimate(config, chunk_tokens=held)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        kept = kept_bytes(
            lambda: made.objective.forward(made.module.train(), batch, rows, device=torch.device("cpu")), made.module
        )
    assert told == pytest.approx(kept, rel=0.1)


def test_a_chunk_counts_as_far_as_a_batch_fills_it(world: Path) -> None:
    config = contrastive(world, data={"max_tokens": 32})
    one, two, *filled = (estimate(config, chunk_tokens=tokens) for tokens in (200, 400, 10_000, 10**7))
    assert one < two <= 2 * one
    assert len(set(filled)) == 1
    assert filled[0] > two


def test_a_pass_of_alignment_on_a_cpu_is_no_larger_than_a_cpu_takes(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = alignment(world, optimization={"batch_size": 48, "chunk_tokens": 10**6})
    assert 48 * (config.data.max_tokens + config.data.max_target_tokens) > CPU_TOKENS
    assert estimate(config, chunk_tokens=CPU_TOKENS) == estimate(config)
    assert estimate(config, chunk_tokens=CPU_TOKENS // 2) < estimate(config)
    monkeypatch.setattr(memory, "choose_device", lambda device: torch.device("cuda"))
    assert estimate(config) > estimate(config, chunk_tokens=CPU_TOKENS)


@pytest.mark.parametrize("stage", list(STAGES))
def test_gradient_checkpointing_is_told_and_off_afterwards(world: Path, stage: str) -> None:
    config = STAGES[stage](world)
    assert estimate(config, gradient_checkpointing=True) < 0.7 * estimate(config)
    changed = replace(config, optimization=replace(config.optimization, gradient_checkpointing=True))
    made = assemble(changed)
    training = made.module.training
    assert activations(changed, made) > 0
    assert made.module.training == training
    assert not made.network.is_gradient_checkpointing
    assert all(parameter.grad is None for parameter in made.module.parameters())
