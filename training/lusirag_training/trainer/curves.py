"""The curves of runs as a picture: loss, learning rate, development sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lusirag.errors import InvalidArgumentError, MissingDependencyError
from lusirag_training.trainer.development import MEAN
from lusirag_training.trainer.records import EVALUATION, TRAINING, read_records

FORMATS = (".png", ".svg", ".pdf")


def draw_curves(runs: Sequence[Path], out: Path) -> None:
    """Draw one or several runs.

    Args:
        runs: folders of runs. out: the picture, of a format that its name tells.

    Raises:
        InvalidArgumentError: a folder has no records, or the format is unknown.
        MissingDependencyError: matplotlib is not installed.
    """
    if out.suffix not in FORMATS:
        raise InvalidArgumentError(f"{out} is no picture that can be drawn; allowed: {', '.join(FORMATS)}")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("drawing needs matplotlib; install lusirag[train]") from error
    training = {run: read_records(run / TRAINING) for run in runs}
    if empty := [run for run, records in training.items() if not records]:
        raise InvalidArgumentError(f"{empty[0]} has no {TRAINING} with a line in it; give the folder of a run")
    evaluation = {run: found for run in runs if (found := read_records(run / EVALUATION))}

    figure = Figure(figsize=(5 * (3 if evaluation else 2), 3.8), layout="constrained")
    axes = figure.subplots(1, 3 if evaluation else 2)
    for run, records in training.items():
        for axis, name in zip(axes, ("loss", "learning_rate"), strict=False):
            points = [(record["step"], record[name]) for record in records if name in record]
            axis.plot(*zip(*points, strict=True), label=run.name)
    for run, records in evaluation.items():
        names = [name for name in records[0] if name != "step"]
        for name in names if len(runs) == 1 else [MEAN]:
            label = name if len(runs) == 1 else run.name
            points = [(record["step"], record[name]) for record in records if name in record]
            axes[2].plot(*zip(*points, strict=True), marker="o", markersize=3, label=label, lw=2 if name == MEAN else 1)
    for axis, title in zip(axes, ("loss", "learning rate", "nDCG@10 of development sets"), strict=False):
        axis.set_title(title)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    if len(runs) > 1:
        axes[0].legend(fontsize=8)
    if evaluation:
        axes[2].legend(fontsize=8)
    figure.savefig(out, dpi=120)
