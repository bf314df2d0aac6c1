"""The files of a model directory: which hold its weights, and its JSON; nothing heavy is imported here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lusirag.errors import ModelError

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a model directory, one or several shards.

    Raises:
        ModelError: there are none, or one that the index names is missing.
    """
    files = [directory / WEIGHTS]
    if (directory / INDEX).is_file():
        try:
            shards = sorted(set(json.loads((directory / INDEX).read_text("utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise ModelError(f"{directory / INDEX} cannot be read ({error}); copy or download it again") from error
        files = [directory / shard for shard in shards]
    if missing := [file.name for file in files if not file.is_file()]:
        raise ModelError(
            f"{directory} lacks {', '.join(missing)}; a model directory holds config.json, tokenizer.json and "
            "model.safetensors (other weight formats are not read)"
        )
    return files


def read_json(file: Path) -> Any:
    """Read a JSON file of a model directory.

    Raises:
        ModelError: it is missing or broken.
    """
    try:
        return json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{file.parent} has no {file.name}: it is no model directory") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read ({error}); copy or download it again") from error
