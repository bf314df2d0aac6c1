"""The reference fixtures: numbers that the published implementation gave on tiny random backbones (its README there).

They lie in the shared folder of the project, not in the repository; without it the tests that need them are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

SHARED = Path(os.environ.get("LUSIRAG_SHARED", Path(__file__).resolve().parents[3] / "shared"))
FOLDER = SHARED / "fixtures" / "reference"
CASES = sorted(folder.name for folder in FOLDER.glob("[01][0-9]_*")) if FOLDER.is_dir() else []
needs_reference = pytest.mark.skipif(
    not CASES, reason=f"no reference fixtures: set LUSIRAG_SHARED (looked in {SHARED})"
)


def cases_with(file: str) -> list[str]:
    """The cases that hold a file."""
    return [case for case in CASES if (FOLDER / case / file).is_file()]


def tensors(case: str, file: str) -> dict[str, Tensor]:
    """The content of a safetensors file of a case."""
    return load_file(FOLDER / case / file)


def document(case: str, file: str) -> Any:
    """The content of a JSON file of a case."""
    return json.loads((FOLDER / case / file).read_text("utf-8"))


def write_checkpoint(case: str, directory: Path) -> Path:
    """A directory as the published code's hub integration writes it: config.json and model.safetensors."""
    source = FOLDER / case
    directory.mkdir(parents=True)
    shutil.copyfile(source / "hparams.json", directory / "config.json")
    shutil.copyfile(source / "weights.safetensors", directory / "model.safetensors")
    for backbone in (folder for folder in source.iterdir() if folder.is_dir()):
        (directory / backbone.name).mkdir()
        for file in backbone.iterdir():
            shutil.copyfile(file, directory / backbone.name / file.name)
    if (head := document(case, "meta.json").get("latent_attention_config")) is not None:
        # NV-Embed's own config.json holds the sizes of its head; the tiny stand-in for it does not.
        file = directory / document(case, "hparams.json")["encoder_name_or_path"] / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"latent_attention_config": head}))
    return directory
