"""A run becomes a model directory: adapters merged, weights in blocks where asked, a card with recipe and figures."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import yaml

from lusirag.embedding.exporting import require_empty
from lusirag.errors import InvalidArgumentError
from lusirag.model.files import TOKENIZER
from lusirag_training.config import ContrastiveConfig, StageConfig
from lusirag_training.trainer.checkpoints import figures_of
from lusirag_training.trainer.records import TRAINING, read_records
from lusirag_training.trainer.runs import chosen_checkpoint, load_run, read_recipe

CARD = "README.md"


def export_run(
    run: Path, out: Path, *, checkpoint: str = "best", bits: int | None = None, adapters_only: bool = False
) -> None:
    """Write a run's network as a model directory.

    Args:
        run: its folder. out: a directory that does not exist or is empty.
        checkpoint: "best", "last", or a step.
        bits: 8 or 4, see `LusiferModel.save_pretrained`.
        adapters_only: write what was trained and references to the base models; needs a run that began with them.

    Raises:
        InvalidArgumentError: no run, options that do not go together, or `out` holds something.
        ModelError: checkpoint or base models cannot be read, or the directory cannot be written.
    """
    if adapters_only and bits is not None:
        raise InvalidArgumentError("bits is for whole weights; adapters are written as they are")
    require_empty(out)
    config = read_recipe(run)
    where = chosen_checkpoint(run, checkpoint, config)
    if adapters_only and config.model.start is not None:
        raise InvalidArgumentError(
            f"{run} began with {config.model.start}, not with base models; export it whole, without adapters"
        )
    start = load_run(run, checkpoint=where.name.split("-")[1], merge_adapters=not adapters_only)
    if adapters_only:
        start.network.save_adapters(out)
    else:
        start.network.save_pretrained(out, bits=bits)
    shutil.copyfile(start.tokenizer, out / TOKENIZER)
    (out / CARD).write_text(card(config, run, where), "utf-8")


def card(config: StageConfig, run: Path, checkpoint: Path) -> str:
    """The model card: what it was made from, how, and what was measured on the way."""
    step = int(checkpoint.name.split("-")[1])
    origin = config.model.start or f"{config.model.encoder} and {config.model.decoder}"
    stage = "contrastive training (stage 2)" if isinstance(config, ContrastiveConfig) else "alignment (stage 1)"
    losses = [record for record in read_records(run / TRAINING) if "loss" in record and record["step"] <= step]
    lines = [
        "---",
        "library_name: lusirag",
        "pipeline_tag: sentence-similarity",
        "tags: [lusifer, retrieval, multilingual]",
        "---",
        "",
        "# A LUSIFER embedding model",
        "",
        f"Made from {origin} by {stage}, step {step}, with lusirag. Mind the licences of what it was made from.",
        "",
        "    from lusirag import Embedder",
        '    embedder = Embedder.load("this-directory")',
        "",
    ]
    figures = figures_of(checkpoint)
    if figures:
        lines += ["| development set | nDCG@10 |", "|---|---|"]
        lines += [f"| {name} | {value:.4f} |" for name, value in figures.items()]
        lines.append("")
    if losses:
        lines += [
            f"Loss: {losses[0]['loss']:.4f} at step {losses[0]['step']:.0f}, {losses[-1]['loss']:.4f} at the end.",
            "",
        ]
    recipe = yaml.safe_dump(_plain(asdict(config)), sort_keys=False, allow_unicode=True, width=110)
    return "\n".join([*lines, "## Recipe", "", "```yaml", recipe.rstrip(), "```", ""])


def _plain(value: object) -> object:
    """Without paths of the machine that trained: a file goes by its name."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value
