"""Two and three gloo processes train as one does on the whole batch: loss and the gradient of every parameter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.integration import training_process

ROOT = Path(__file__).resolve().parents[2]
PLAIN: dict[str, Any] = {
    "loss": {"temperature": 0.1},
    "in_batch": True,
    "averaged": True,
    "chunk": 0,
    "labels": False,
    "keys": False,
    "teacher": False,
    "edges": [0, 3, 5],
}
EVERYTHING = {
    "kind": "info_nce",
    "symmetric": True,
    "matryoshka": [3, 6],
    "false_negatives": {"rule": "margin", "value": 0.05},
    "distillation_weight": 0.5,
    "temperature": 0.1,
}
CASES: dict[str, dict[str, Any]] = {
    "ddp, 3 + 2 examples": {},
    "ddp, 1 + 4 examples, the published recipe": {
        "edges": [0, 1, 5],
        "loss": {"similarity": "l2", "miner_epsilon": 0.25, "temperature": 0.05},
        "labels": True,
    },
    "ddp, chunks of 2: more on one process than on the other": {"chunk": 2, "edges": [0, 4, 5]},
    "ddp, one chunk here and three there, everything on": {
        "chunk": 6,
        "edges": [0, 1, 5],
        "loss": EVERYTHING,
        "labels": True,
        "keys": True,
        "teacher": True,
    },
    "ddp, own negatives only, sup_con, chunks": {
        "in_batch": False,
        "loss": {"kind": "sup_con", "miner_epsilon": 0.2, "temperature": 0.1},
        "chunk": 3,
    },
    "summed gradients, equal numbers of chunks": {"averaged": False, "chunk": 2, "equal_chunks": True},
    "three processes": {"edges": [0, 1, 3, 5], "keys": True, "chunk": 3},
}


def start(case: dict[str, Any], folder: Path) -> list[Path]:
    """Run the processes of a case to their end; what each wrote."""
    world = len(case["edges"]) - 1
    outputs = [folder / f"rank{rank}.safetensors" for rank in range(world)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'training'}", "OMP_NUM_THREADS": "1"}
    program = str(ROOT / "tests" / "integration" / "training_process.py")
    said = [out.with_suffix(".stderr") for out in outputs]
    processes = []
    for rank, out in enumerate(outputs):
        arguments = [str(folder / "rendezvous"), str(rank), str(world), str(out), json.dumps(case)]
        with said[rank].open("w") as stderr:
            processes.append(subprocess.Popen([sys.executable, program, *arguments], env=environment, stderr=stderr))
    try:
        codes = [process.wait(timeout=60) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert not any(codes), "\n".join(file.read_text() for file in said)
    return outputs


@pytest.mark.parametrize("name", CASES)
def test_as_one_process_with_the_whole_batch(name: str, tmp_path: Path) -> None:
    case = PLAIN | CASES[name]
    alone = tmp_path / "alone.safetensors"
    # One process, one pass, no chunks.
    training_process.main("", 0, 1, alone, case | {"chunk": 0})
    expected = load_file(alone)
    assert len(expected) == 7
    for out in start(case, tmp_path):
        ours = load_file(out)
        assert ours.keys() == expected.keys()
        torch.testing.assert_close(ours["loss"], expected["loss"], rtol=2e-6, atol=0)
        for parameter, gradient in expected.items():
            assert relative(ours[parameter], gradient) < 1e-5, parameter


def test_batches_of_different_kinds_are_named_on_every_process_and_nothing_hangs(tmp_path: Path) -> None:
    """The published code waits for ever here: one process enters an exchange that the other skips."""
    for out in start(PLAIN | {"in_batch": [True, False]}, tmp_path):
        said = Path(f"{out}.error").read_text(encoding="utf-8")
        assert "in_batch is 1 on process 0, 0 on process 1" in said
        assert "one data set" in said


def relative(ours: Tensor, expected: Tensor) -> float:
    return float((ours - expected).norm() / expected.norm())
