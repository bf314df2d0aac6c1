"""Checkpoints of a run: whole or not there, the last and the best are kept.

A checkpoint is a folder checkpoint-<step> that the Trainer writes; a marker, written last and synced, says that it is
whole. One without its marker was interrupted: it is passed over and removed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lusirag.errors import ModelError

WEIGHTS = "trained.safetensors"
MARKER = "complete.json"
NAME = re.compile(r"checkpoint-(\d+)")


def save_weights(directory: Path, weights: dict[str, Tensor]) -> None:
    """Write what a run has trained."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    """Read what a run had trained at a checkpoint.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        return load_file(checkpoint / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{checkpoint / WEIGHTS} cannot be read ({error}); take another checkpoint") from error


def mark_complete(checkpoint: Path, *, step: int, figures: dict[str, float]) -> None:
    """Say that a checkpoint is whole, once all its files are on the disk."""
    for file in sorted(checkpoint.rglob("*")):
        if file.is_file():
            _sync(file)
    sizes = {
        file.relative_to(checkpoint).as_posix(): file.stat().st_size for file in checkpoint.rglob("*") if file.is_file()
    }
    temporary = checkpoint / f"{MARKER}.writing"
    temporary.write_text(json.dumps({"step": step, "figures": figures, "files": sizes}, indent=1) + "\n", "utf-8")
    _sync(temporary)
    temporary.replace(checkpoint / MARKER)
    _sync(checkpoint)


def is_complete(checkpoint: Path) -> bool:
    """Whether a checkpoint is marked and its files have the sizes that they were marked with."""
    try:
        sizes: dict[str, int] = json.loads((checkpoint / MARKER).read_text("utf-8"))["files"]
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError):
        return False


def checkpoints(run: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    found = [(int(match[1]), folder) for folder in run.glob("checkpoint-*") if (match := NAME.fullmatch(folder.name))]
    return [folder for _, folder in sorted(found) if is_complete(folder)]


def figures_of(checkpoint: Path) -> dict[str, float]:
    """What the development sets gave at a checkpoint."""
    figures: dict[str, float] = json.loads((checkpoint / MARKER).read_text("utf-8"))["figures"]
    return figures


def best_checkpoint(run: Path, best: str) -> Path:
    """The checkpoint with the largest figure of that name, the last one where none was measured.

    Raises:
        ModelError: the run has no complete checkpoint.
    """
    found = checkpoints(run)
    if not found:
        raise ModelError(f"{run} has no complete checkpoint; let the run go on until it has written one")
    return max(found, key=lambda folder: (figures_of(folder).get(best, float("-inf")), int(folder.name.split("-")[1])))


def remove_others(run: Path, *, best: str) -> None:
    """Remove all checkpoints but the last complete one and the best one; interrupted ones too."""
    found = checkpoints(run)
    kept = {found[-1], best_checkpoint(run, best)} if found else set()
    for folder in run.glob("checkpoint-*"):
        if NAME.fullmatch(folder.name) and folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
