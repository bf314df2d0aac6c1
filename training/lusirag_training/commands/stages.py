"""`lusirag train align` and `lusirag train contrast`: a stage from its recipe."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lusirag.cli.console import note, output, show_pairs, size, write_json
from lusirag.cli.options import Json, Quiet

if TYPE_CHECKING:
    from lusirag_training.config import StageConfig

Recipe = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="LUSIRAG_CONFIG", metavar="YAML", help="The recipe; see training/configs."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a value: optimization.batch_size=64, data.sets.0.cap=1000."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show parameters, steps, memory and a sample batch; train nothing.")
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Remove the run that is in the folder, in the place of going on with it.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("align")(align)
    app.command("contrast")(contrast)


def align(
    config: Recipe,
    changes: Changes = None,
    dry_run: DryRun = False,
    restart: Restart = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Stage 1: teach the connector (and the encoder) to feed the language model, on English text.

    The same command goes on with an interrupted run. On several GPUs: accelerate launch -m lusirag_training align
    """
    from lusirag_training.config import AlignmentConfig, read_config

    _run(read_config(config, AlignmentConfig, changes=changes or ()), dry_run, restart, quiet, as_json)


def contrast(
    config: Recipe,
    changes: Changes = None,
    dry_run: DryRun = False,
    restart: Restart = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Stage 2: contrastive training on English pairs.

    The same command goes on with an interrupted run. On several GPUs: accelerate launch -m lusirag_training contrast
    """
    from lusirag_training.config import ContrastiveConfig, read_config

    _run(read_config(config, ContrastiveConfig, changes=changes or ()), dry_run, restart, quiet, as_json)


def _run(config: StageConfig, dry_run: bool, restart: bool, quiet: bool, as_json: bool) -> None:
    if dry_run:
        _describe(config, as_json)
        return
    from lusirag_training.trainer.running import run_stage

    with _without_news_of_cut_texts():
        report = run_stage(config, restart=restart, progress=None if quiet else _show)
    if as_json:
        write_json(
            {
                "run": str(report.folder),
                "steps": report.steps,
                "resumed_at": report.resumed_at,
                "loss": report.loss,
                "figures": dict(report.figures),
            }
        )
        return
    show_pairs(
        [
            ("run", report.folder),
            ("steps", report.steps if not report.resumed_at else f"{report.steps}, from {report.resumed_at} on"),
            ("last loss", "none" if report.loss is None else f"{report.loss:.4f}"),
            *((f"nDCG@10 {name}", f"{value:.4f}") for name, value in report.figures.items() if name != "step"),
        ]
    )


@contextmanager
def _without_news_of_cut_texts() -> Iterator[None]:
    """An embedder says how many texts it has cut; a run would hear it at every evaluation."""
    talker = logging.getLogger("lusirag.embedding")
    level = talker.level
    talker.setLevel(logging.ERROR)
    try:
        yield
    finally:
        talker.setLevel(level)


def _show(record: Mapping[str, float]) -> None:
    """One line a log, on standard error."""
    step = f"step {record['step']:.0f}/{record['steps']:.0f}"
    if "loss" in record:
        left = int(record.get("seconds_left", 0))
        accuracy = f"  accuracy {record['accuracy']:.3f}" if "accuracy" in record else ""
        note(
            f"{step}  loss {record['loss']:.4f}{accuracy}  lr {record['learning_rate']:.2e}  "
            f"{record['tokens_per_second']:,.0f} tokens/s  {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
        )
    elif figures := {name.removeprefix("eval_"): value for name, value in record.items() if name.startswith("eval_")}:
        note(f"{step}  nDCG@10 " + "  ".join(f"{name} {value:.4f}" for name, value in figures.items()))


def _describe(config: StageConfig, as_json: bool) -> None:
    from lusirag_training.trainer.assembly import assemble
    from lusirag_training.trainer.report import describe, sample

    stage = assemble(config)
    figures = describe(config, stage)
    if as_json:
        write_json(figures | {"sample": [{"role": role, "text": text} for role, text in sample(stage)]})
        return
    memory = figures["memory_bytes"]
    show_pairs(
        [
            ("parameters", f"{figures['parameters']:,}"),
            ("trained", f"{figures['trained_parameters']:,}"),
            *((f"  {part}", f"{count:,}") for part, count in figures["trained_parts"].items()),
            *((f"rows of {name}", f"{count:,}") for name, count in figures["rows"].items()),
            ("steps", f"{figures['steps']:,} of {figures['batch_size']} examples, in {figures['precision']}"),
            ("memory: weights", size(memory["weights"])),
            ("  gradients, AdamW", size(memory["gradients_and_optimizer"])),
            ("  activations, about", size(memory["activations"])),
        ]
    )
    for role, text in sample(stage):
        output().print(f"\n[bold]{role}[/bold]", end="  ")
        output().print(text, markup=False)
