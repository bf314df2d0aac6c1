"""Starts `integration/fsdp_process.py`: recipes trained by processes that share the weights."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "tests" / "integration" / "fsdp_process.py"


def train_sharded(recipes: list[dict[str, Any]], *, processes: int, folder: Path) -> None:
    """Train recipes to their ends, one after the other; each is written to a file in the folder first."""
    files = []
    for number, values in enumerate(recipes):
        files.append(folder / f"{number}.json")
        files[-1].write_text(json.dumps(values), "utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(ROOT), str(ROOT / "training")])
    if sys.platform == "linux":
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"),
            *("--master-addr=127.0.0.1", f"--master-port={port}", PROGRAM, *files),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-4000:]
