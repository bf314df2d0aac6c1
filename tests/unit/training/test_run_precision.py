"""A run computes in bfloat16 where its device can, and says so where it is told to and cannot."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from lusirag.errors import CorpusError, InvalidArgumentError
from lusirag_training.trainer.precision import with_precision
from lusirag_training.trainer.running import run_stage, training_arguments
from tests.training_world import contrastive, write_world


@pytest.mark.parametrize(
    ("precision", "capabilities", "expected"),
    [
        ("auto", {"avx512_bf16": True}, True),
        ("auto", {"avx512_bf16": False, "avx2": True}, False),
        ("auto", {"bf16": True, "neon": True}, True),
        ("bfloat16", {"avx2": True}, True),
        ("float32", {"avx512_bf16": True}, False),
    ],
)
def test_auto_follows_the_instructions_of_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, capabilities: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    config = with_precision(contrastive(tmp_path, optimization={"precision": precision}))
    assert training_arguments(config, steps=1).bf16 is expected


@pytest.mark.parametrize(("capabilities", "warned"), [({"avx2": True}, True), ({"amx_bf16": True}, False)])
def test_bfloat16_without_instructions_is_warned_of(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capabilities: dict[str, bool],
    warned: bool,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    config = contrastive(tmp_path, optimization={"precision": "bfloat16"}, run={"output": str(tmp_path / "run")})
    with caplog.at_level(logging.WARNING), pytest.raises(CorpusError):
        run_stage(config)  # there is no data
    assert ("cpu has no bfloat16 instructions" in caplog.text) is warned


def test_a_run_goes_on_in_the_numbers_that_it_began_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = write_world(tmp_path)
    config = contrastive(world, optimization={"precision": "auto", "max_steps": 2}, run={"output": str(world / "run")})
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    run_stage(config)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    with pytest.raises(InvalidArgumentError, match="precision was 'float32' and is 'bfloat16'"):
        run_stage(config)


@pytest.mark.parametrize(
    ("precision", "told"), [("float32", "float32 cannot"), ("auto", "float32, chosen for cpu, cannot")]
)
def test_frozen_weights_in_bfloat16_are_refused_where_float32_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, told: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    config = contrastive(tmp_path, optimization={"precision": precision}, model={"dtype": "bfloat16"})
    with pytest.raises(InvalidArgumentError, match=f"optimization.precision {told} compute"):
        run_stage(config)
    assert not (tmp_path / "run").exists()
