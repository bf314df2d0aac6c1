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


MIXED = "in_batch here and not there"


def start(cases: dict[str, dict[str, Any]], world: int, folder: Path) -> None:
    """Run cases on several processes to their end."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'training'}", "OMP_NUM_THREADS": "1"}
    if sys.platform == "linux":
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    program = str(ROOT / "tests" / "integration" / "training_process.py")
    said = [folder / f"{rank}.stderr" for rank in range(world)]
    processes = []
    for rank in range(world):
        arguments = [str(folder), str(rank), str(world), json.dumps(cases)]
        with said[rank].open("w") as stderr:
            processes.append(subprocess.Popen([sys.executable, program, *arguments], env=environment, stderr=stderr))
    try:
        codes = [process.wait(timeout=150) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert not any(codes), "\n".join(file.read_text() for file in said)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all cases gave: the processes are started once for those of two, once for that of three."""
    made = tmp_path_factory.mktemp("gloo")
    for world in (2, 3):
        (made / str(world)).mkdir()
        cases = {name: PLAIN | case for name, case in CASES.items() if len((PLAIN | case)["edges"]) == world + 1}
        start(cases | ({MIXED: PLAIN | {"in_batch": [True, False]}} if world == 2 else {}), world, made / str(world))
    return made


@pytest.mark.parametrize("name", CASES)
def test_as_one_process_with_the_whole_batch(name: str, folder: Path) -> None:
    case = PLAIN | CASES[name]
    world = len(case["edges"]) - 1
    # One process, one pass, no chunks.
    expected = training_process.train(case | {"chunk": 0}, rank=0, world=1)
    assert len(expected) == 7
    for rank in range(world):
        ours = load_file(folder / str(world) / f"{name}.{rank}.safetensors")
        assert ours.keys() == expected.keys()
        torch.testing.assert_close(ours["loss"], expected["loss"], rtol=2e-6, atol=0)
        for parameter, gradient in expected.items():
            assert relative(ours[parameter], gradient) < 1e-5, parameter


def test_batches_of_different_kinds_are_named_on_every_process_and_nothing_hangs(folder: Path) -> None:
    """The published code waits for ever here: one process enters an exchange that the other skips."""
    for rank in (0, 1):
        said = (folder / "2" / f"{MIXED}.{rank}.error").read_text(encoding="utf-8")
        assert "in_batch is 1 on process 0, 0 on process 1" in said
        assert "one data set" in said


def test_a_done_process_runs_its_exit_functions_and_flushes() -> None:
    script = (
        "import atexit, sys\n"
        "from lusirag_training.distributed import end_done_process\n"
        "atexit.register(lambda: sys.stdout.write('left'))\n"
        "sys.stdout.write('done, ')\n"
        "end_done_process()\n"
        "sys.stdout.write('never')\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'training'}"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=150)
    assert (done.returncode, done.stdout) == (0, "done, left"), done.stderr


def test_the_launched_command_fails_with_its_own_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lusirag_training", "contrast", "--config", str(tmp_path / "none.yaml")]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'training'}"}
    failed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)
    assert failed.returncode == 2
    assert "none.yaml" in failed.stderr


def relative(ours: Tensor, expected: Tensor) -> float:
    return float((ours - expected).norm() / expected.norm())
