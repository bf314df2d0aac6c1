"""The folder of a run: its recipe as it was checked, its checkpoints, and the network that came out of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

from lusirag.errors import InvalidArgumentError, ModelError
from lusirag_training.config import AlignmentConfig, ContrastiveConfig, StageConfig
from lusirag_training.config.reading import parse
from lusirag_training.trainer.checkpoints import best_checkpoint, checkpoints, read_weights
from lusirag_training.trainer.start import DTYPES, Start, choose_trainable, load_start, restore_trained

RECIPE = "recipe.json"
KINDS = {"alignment": AlignmentConfig, "contrastive": ContrastiveConfig}


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / RECIPE).is_file()


def write_recipe(folder: Path, config: StageConfig) -> None:
    """Write the recipe that a run follows."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{RECIPE}.writing"
    temporary.write_text(json.dumps(asdict(config), indent=1, ensure_ascii=False) + "\n", "utf-8")
    temporary.replace(folder / RECIPE)


def read_recipe(folder: Path) -> StageConfig:
    """Read the recipe of a run.

    Raises:
        InvalidArgumentError: no run, or its recipe was damaged.
    """
    file = folder / RECIPE
    try:
        values = json.loads(file.read_text("utf-8"))
        kind = KINDS[values["stage"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidArgumentError(f"{folder} is no folder of a run: {RECIPE} is missing or damaged") from error
    return parse(values, kind, origin=str(file))


def require_same_recipe(folder: Path, config: StageConfig) -> None:
    """Refuse to go on with a run under a recipe that would have gone another way.

    What only watches or feeds the run may change: logging, workers, the chunks, the device.

    Raises:
        InvalidArgumentError: names what differs.
    """
    before, now = _flat(asdict(read_recipe(folder))), _flat(asdict(config))
    free = (
        "run.output",
        "run.log_every",
        "run.workers",
        "run.device",
        "run.save_every",
        "run.keep",
        "evaluation.",
        "model.local",
    )
    different = [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name) and not name.startswith(free)
    ]
    if different:
        raise InvalidArgumentError(
            f"{folder} holds a run of another recipe ({'; '.join(different[:4])}); "
            "take the old values, another run.output, or --restart to begin anew"
        )


def chosen_checkpoint(folder: Path, which: str, config: StageConfig) -> Path:
    """The "best" or "last" checkpoint of a run, or the one of a step.

    Raises:
        ModelError: there is none. InvalidArgumentError: no such choice.
    """
    if which == "best":
        return best_checkpoint(folder, config.evaluation.best)
    found = checkpoints(folder)
    if not found:
        raise ModelError(f"{folder} has no complete checkpoint; let the run go on until it has written one")
    if which == "last":
        return found[-1]
    steps = {each.name.removeprefix("checkpoint-"): each for each in found}
    if which not in steps:
        raise InvalidArgumentError(f"checkpoint is {which!r}; this run has best, last, {', '.join(steps)}")
    return steps[which]


def load_run(
    folder: Path,
    *,
    checkpoint: str = "best",
    dtype: torch.dtype | None = None,
    attention: str | None = None,
    merge_adapters: bool = True,
) -> Start:
    """The network of a run, as trained at a checkpoint.

    Args:
        checkpoint: "best", "last" or a step. dtype: of the weights; the recipe's when None.
        attention: kernel; the recipe's when None. merge_adapters: fold LoRA into the weights.

    Raises:
        ModelError: the run, its start or its checkpoint cannot be read.
    """
    config = read_recipe(folder)
    where = chosen_checkpoint(folder, checkpoint, config)
    start = load_start(config.model, seed=config.run.seed)
    network = start.network
    choose_trainable(network, config.trainable)
    restore_trained(network, read_weights(where), source=where)
    network.requires_grad_(True)
    if merge_adapters:
        network.merge_adapters()
    if isinstance(config, ContrastiveConfig) and config.loss.matryoshka_dimensions:
        network.config.matryoshka_dimensions = sorted({*config.loss.matryoshka_dimensions, network.config.dimension})
    if attention is not None:
        network.set_attn_implementation(attention)
    network.to(dtype or DTYPES[config.model.dtype])
    return Start(network.eval(), start.tokenizer)


def _flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
