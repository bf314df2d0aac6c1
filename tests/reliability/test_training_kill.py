"""A run that is killed with kill -9 goes on, bit for bit; several processes give what one gives."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lusirag_training.config import ContrastiveConfig
from lusirag_training.config.reading import parse
from lusirag_training.trainer.checkpoints import checkpoints
from lusirag_training.trainer.records import read_records
from lusirag_training.trainer.running import run_stage
from tests.training_world import recipe, write_world

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("trainer_process.py")
RUN = ["-m", "lusirag_training", "contrast", "--config"]
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'training'}", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


def written(folder: Path, values: dict[str, Any]) -> Path:
    file = folder / "recipe.json"
    file.write_text(json.dumps(values), "utf-8")
    return file


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_records(folder / "training.csv")]


def test_a_killed_run_goes_on_bit_for_bit(world: Path, tmp_path: Path) -> None:
    options = {"data": {"phases": [{"epochs": 3}]}, "trainable": {"lora": {"dropout": 0.2}}}
    values = recipe(world, "contrastive", run={"output": str(tmp_path / "killed")}, **options)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run_stage(
            parse(values | {"run": values["run"] | {"output": str(tmp_path / "whole")}}, ContrastiveConfig, origin="")
        )
    finally:
        torch.set_num_threads(threads)
    command = [sys.executable, str(PROGRAM), str(written(tmp_path, values))]
    for deadly in ("STEP 5", "STEP 10"):
        with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip() == deadly:
                    process.send_signal(signal.SIGKILL)
                    break
        assert process.returncode == -signal.SIGKILL
    subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    ends = [load_file(checkpoints(tmp_path / name)[-1] / "trained.safetensors") for name in ("whole", "killed")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.enable_socket
def test_two_processes_train_what_one_trains(world: Path, tmp_path: Path) -> None:
    ends, curves = [], []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        values = recipe(
            world,
            "contrastive",
            run={"output": str(folder / "run")},
            trainable={"lora": {"dropout": 0.0}},
            optimization={"learning_rate": 1e-3, "chunk_tokens": 150, "gradient_norm": 0},
        )
        launch = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
        subprocess.run(
            [*launch, f"--master-port={free_port()}", *RUN, str(written(folder, values))],
            env=ENVIRONMENT,
            check=True,
            capture_output=True,
            timeout=200,
        )
        curves.append(losses(folder / "run"))
        ends.append(load_file(checkpoints(folder / "run")[-1] / "trained.safetensors"))
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], atol=2e-4, rtol=1e-3, msg=name)
