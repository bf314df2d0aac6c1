"""Run a stage from a recipe: begin, or go on where it was interrupted, to the last step."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments
from transformers import logging as transformers_logging

from lusirag.embedding.torch_runtime import has_bfloat16
from lusirag.errors import InvalidArgumentError
from lusirag_training.config import StageConfig
from lusirag_training.data.steps import Share
from lusirag_training.trainer.assembly import Stage, assemble
from lusirag_training.trainer.checkpoints import NAME, checkpoints, read_weights
from lusirag_training.trainer.development import evaluate, read_sets
from lusirag_training.trainer.memory import CHECKPOINTING
from lusirag_training.trainer.precision import suit_cpu, with_precision
from lusirag_training.trainer.records import EVALUATION, TRAINING, forget_after, read_records
from lusirag_training.trainer.runs import is_run, require_same_recipe, write_recipe
from lusirag_training.trainer.start import restore_trained
from lusirag_training.trainer.training import Progress, StageTrainer

logger = logging.getLogger(__name__)

# Of accelerate: each layer's weights are gathered when it computes; a checkpoint holds whole tensors.
FSDP = {"version": 2, "state_dict_type": "FULL_STATE_DICT"}


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run came to.

    Attributes:
        folder: of the run. steps: in all. resumed_at: the step it went on from, 0 for a new run.
        loss: the last that was logged. figures: the last of the development sets.
    """

    folder: Path
    steps: int
    resumed_at: int
    loss: float | None
    figures: Mapping[str, float]


def run_stage(config: StageConfig, *, restart: bool = False, progress: Progress | None = None) -> RunReport:
    """Train a stage.

    A folder that holds a run of the same recipe is gone on with, from its last complete checkpoint; the losses that
    follow are those that an uninterrupted run would have had.

    Args:
        restart: remove the run that is in the folder, and begin anew.
        progress: gets step, steps and what was measured, at every log.

    Raises:
        InvalidArgumentError: the recipe does not fit its data, its model or the run that is there.
        CorpusError, ModelError: something cannot be read.
    """
    transformers_logging.set_verbosity_error()
    config = with_precision(config)  # a run goes on in the numbers that it began in, or says that it cannot
    folder = Path(config.run.output)
    share = share_of_process()
    arguments = training_arguments(config, steps=1)  # starts the process group before anything is shared
    if config.optimization.fsdp:
        _require_gpus(share, arguments.device)
    with arguments.main_process_first(desc="the folder of the run"):
        if share.rank == 0:
            _prepare_folder(folder, config, restart=restart)
    if config.optimization.precision == "bfloat16" and not has_bfloat16(arguments.device):
        logger.warning(
            "%s has no bfloat16 instructions and is very slow in it: precision auto avoids it", arguments.device
        )
    sets = read_sets(config.evaluation.sets, limit=config.evaluation.limit)
    stage = assemble(config, share=share)
    suit_cpu(stage.network, config, arguments.device)
    count = _steps(stage, config)
    resume = _last(folder)
    if resume is not None:
        restore_trained(stage.network, read_weights(resume), source=resume)
        if share.rank == 0:
            forget_after(folder, int(resume.name.split("-")[1]))
    if share.rank == 0:
        write_recipe(folder, config)

    arguments = training_arguments(
        config, steps=count, evaluate=bool(sets), resumed=resume is not None, layers=layers_of(stage)
    )
    if config.optimization.gradient_checkpointing:
        stage.network.gradient_checkpointing_enable(CHECKPOINTING)
    trainer = StageTrainer(
        stage.module,
        arguments,
        network=stage.network,
        steps=stage.steps,
        objective=stage.objective,
        evaluate_now=(lambda: evaluate(stage.network, stage.texts, sets, device=arguments.device)) if sets else None,
        best=config.evaluation.best,
        progress=progress,
        keep_all=config.run.keep == "all",
    )
    if resume is not None:
        trainer.take_up(resume)
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    records, figures = read_records(folder / TRAINING), read_records(folder / EVALUATION)
    return RunReport(
        folder,
        count,
        0 if resume is None else int(resume.name.split("-")[1]),
        records[-1].get("loss") if records else None,
        figures[-1] if figures else {},
    )


def training_arguments(
    config: StageConfig,
    *,
    steps: int,
    evaluate: bool = False,
    resumed: bool = False,
    layers: Sequence[str] = (),
) -> TrainingArguments:
    """The Trainer's arguments for a recipe; a run that is not resumed is measured before its first step too.

    Args:
        layers: classes of the network's layers, which FSDP gathers one at a time.
    """
    options, run = config.optimization, config.run
    every = config.evaluation.every or run.save_every
    schedule: dict[str, Any] = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
    kind, more = schedule[options.schedule], {}
    if options.schedule != "constant" and options.least_learning_rate > 0:
        kind = "cosine_with_min_lr" if options.schedule == "cosine" else "polynomial"
        more = (
            {"min_lr_rate": options.least_learning_rate}
            if options.schedule == "cosine"
            else {"lr_end": options.learning_rate * options.least_learning_rate, "power": 1.0}
        )
    return TrainingArguments(
        output_dir=run.output,
        per_device_train_batch_size=1,
        max_steps=steps,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        adam_beta1=options.betas[0],
        adam_beta2=options.betas[1],
        adam_epsilon=options.epsilon,
        max_grad_norm=options.gradient_norm,
        lr_scheduler_type=kind,
        lr_scheduler_kwargs=more,
        warmup_steps=warmup_steps(options.warmup, steps),
        bf16=options.precision == "bfloat16",
        use_cpu=run.device == "cpu",
        seed=run.seed,
        data_seed=run.seed,
        logging_strategy="steps",
        logging_steps=run.log_every,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=run.save_every,
        eval_strategy="steps" if evaluate else "no",
        eval_steps=every if evaluate else None,
        eval_on_start=evaluate and not resumed,
        dataloader_num_workers=run.workers,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        report_to=["tensorboard"],
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        fsdp="full_shard auto_wrap" if options.fsdp else "",
        fsdp_config=FSDP | {"transformer_layer_cls_to_wrap": list(layers)} if options.fsdp else None,
    )


def layers_of(stage: Stage) -> list[str]:
    """The classes of the layers in encoder and language model, as transformers names them."""
    parts = (getattr(stage.network, part, None) for part in ("multilingual_encoder", "language_model"))
    return sorted({name for part in parts if part is not None for name in part._no_split_modules or ()})


def warmup_steps(warmup: float, steps: int) -> int:
    """Steps of warm-up from a number of steps, or from a share of all when below 1."""
    return round(warmup * steps) if warmup < 1 else int(warmup)


def share_of_process() -> Share:
    """This process's part of each batch, as `accelerate launch` and torchrun tell it."""
    return Share(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def _require_gpus(share: Share, device: torch.device) -> None:
    if share.world == 1 or device.type == "cpu":
        raise InvalidArgumentError(
            f"optimization.fsdp shards the weights over several GPUs, and this is {share.world} process on "
            f"{device.type}: start several by `accelerate launch`, or --set optimization.fsdp=false"
        )


def _prepare_folder(folder: Path, config: StageConfig, *, restart: bool) -> None:
    if restart and is_run(folder):
        shutil.rmtree(folder)
    if is_run(folder):
        require_same_recipe(folder, config)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidArgumentError(f"{folder} holds something that is no run; choose another run.output")
    whole = set(checkpoints(folder)) if folder.is_dir() else set()
    for each in folder.glob("checkpoint-*"):
        if NAME.fullmatch(each.name) and each not in whole:
            shutil.rmtree(each)
    if folder.is_dir() and not whole:
        forget_after(folder, -1)


def _last(folder: Path) -> Path | None:
    found = checkpoints(folder)
    return found[-1] if found else None


def _steps(stage: Stage, config: StageConfig) -> int:
    planned = len(stage.steps)  # type: ignore[arg-type]
    if not planned:
        raise InvalidArgumentError(
            f"the data sets have too few rows for one batch of {config.optimization.batch_size}; lower "
            "optimization.batch_size or add data"
        )
    return min(planned, config.optimization.max_steps or planned)
