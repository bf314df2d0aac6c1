"""transformers' Trainer, with steps that are planned, objectives that chunk, and checkpoints of what is trained."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import save_fsdp_optimizer
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainingArguments
from transformers.trainer import SCHEDULER_NAME
from transformers.trainer_callback import PrinterCallback

from lusirag.errors import ModelError
from lusirag.model import LusiferModel
from lusirag_training.trainer.checkpoints import figures_of, mark_complete, remove_others, save_weights
from lusirag_training.trainer.objectives import Objective
from lusirag_training.trainer.records import EVALUATION, TRAINING, append_record
from lusirag_training.trainer.start import trained_weights

Evaluate = Callable[[], dict[str, float]]
Progress = Callable[[Mapping[str, float]], None]
PREFIX = "eval_"


class StageTrainer(Trainer):
    """A Trainer whose steps are whole batches.

    Args:
        model: what a step runs, trainable parts chosen. network: the embedding model in it.
        arguments: of the Trainer; one epoch, one "example" a step.
        steps: this process's batches. objective: what a step computes.
        evaluate_now: figures of the development sets; None for no evaluation.
        best: the figure by which the best checkpoint is chosen.
        keep_all: keep the other checkpoints than the best and the last one, too.
        progress: gets each log record.
    """

    def __init__(
        self,
        model: nn.Module,
        arguments: TrainingArguments,
        *,
        network: LusiferModel,
        steps: Dataset[Any],
        objective: Objective[Any],
        evaluate_now: Evaluate | None,
        best: str,
        progress: Progress | None,
        keep_all: bool = False,
    ) -> None:
        super().__init__(model=model, args=arguments, train_dataset=steps, eval_dataset={} if evaluate_now else None)
        self.remove_callback(PrinterCallback)
        plugin = self.accelerator.state.fsdp_plugin if self.is_fsdp_enabled else None
        if plugin is not None and plugin.mixed_precision_policy is not None:  # else gradients add up in 8 bits
            plugin.mixed_precision_policy = replace(plugin.mixed_precision_policy, reduce_dtype=torch.float32)
        self.network = network
        self.objective = objective
        self.evaluate_now = evaluate_now
        self.best = best
        self.keep_all = keep_all
        self.progress = progress
        self._figures: dict[str, float] = {}
        self._tokens, self._steps_summed = 0, 0
        self._since = time.monotonic()
        self._latest: dict[str, float] = {}

    def get_train_dataloader(self) -> DataLoader[Any]:
        """One item a step, in order; the Trainer skips those of before a checkpoint without making them."""
        return DataLoader(
            self.train_dataset,
            batch_sampler=[[step] for step in range(len(self.train_dataset))],
            collate_fn=_only,
            num_workers=self.args.dataloader_num_workers,
        )

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], None]:
        """The next batch as it is."""
        return [next(epoch_iterator)], None

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted."""
        return 0

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Add one batch's gradient; returns the loss, detached."""
        model.train()
        if self._steps_summed == 0:
            self._since = time.monotonic()
        outcome = self.objective.step(
            model,
            inputs,
            device=self.accelerator.device,
            backward=self.accelerator.backward,
            # Alone, a batch of one chunk is then embedded once.
            no_sync=nullcontext if self.accelerator.num_processes == 1 else lambda: self.accelerator.no_sync(model),
        )
        if not torch.isfinite(outcome.loss):
            raise ModelError(
                f"the loss is {float(outcome.loss)} at step {self.state.global_step + 1}: lower "
                "optimization.learning_rate or set optimization.gradient_norm, and go on from the last checkpoint"
            )
        self._tokens += outcome.tokens
        self._steps_summed += 1
        for name, value in outcome.figures.items():
            self._figures[name] = self._figures.get(name, 0.0) + value
        return outcome.loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the development sets; called by the Trainer's schedule and at the end."""
        if self.evaluate_now is None:
            return {}
        self._latest = self.evaluate_now()
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()  # no backward pass does so here
        if self.is_world_process_zero():
            record = {"step": float(self.state.global_step), **self._latest}
            append_record(Path(self.args.output_dir) / EVALUATION, record)
        figures = {f"{PREFIX}{name}": value for name, value in self._latest.items()}
        self.log(figures)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        self._steps_summed = 0  # the clock of tokens/s begins anew
        self._tokens, self._figures = 0, {}
        return figures

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add speed and time left, hand the record on, write it down."""
        if "loss" in logs:
            seconds = max(time.monotonic() - self._since, 1e-9)
            steps = max(self._steps_summed, 1)
            logs |= {name: value / steps for name, value in self._figures.items()}
            logs["tokens_per_second"] = self._tokens / seconds
            logs["seconds_left"] = seconds / steps * (self.state.max_steps - self.state.global_step)
            self._tokens, self._figures, self._steps_summed = 0, {}, 0
            if self.is_world_process_zero():
                append_record(
                    Path(self.args.output_dir) / TRAINING, {"step": float(self.state.global_step), **_numbers(logs)}
                )
        super().log(logs, start_time)
        if self.progress is not None and self.is_world_process_zero():
            self.progress(
                {"step": float(self.state.global_step), "steps": float(self.state.max_steps), **_numbers(logs)}
            )

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write what is trained, which all processes gather where FSDP shards it and the first one writes."""
        trained = {name: _whole(tensor) for name, tensor in trained_weights(self.network).items()}
        if self.args.should_save:
            save_weights(Path(output_dir or self.args.output_dir), trained)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """As the Trainer does, but without its second file under FSDP, which holds all weights, the frozen ones too."""
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        plugin = self.accelerator.state.fsdp_plugin
        save_fsdp_optimizer(plugin, self.accelerator, self.optimizer, self.model, output_dir)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Let the Trainer write a checkpoint, then mark it as whole and remove those that are not to be kept."""
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            run = Path(self.args.output_dir)
            folder = run / f"checkpoint-{self.state.global_step}"
            mark_complete(folder, step=self.state.global_step, figures=self._latest)
            if not self.keep_all:
                remove_others(run, best=self.best)
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Nothing: the weights are restored before the network is wrapped."""

    def take_up(self, checkpoint: Path) -> None:
        """Remember the figures of the checkpoint that the run goes on from."""
        self._latest = figures_of(checkpoint)


def _only(items: list[Any]) -> Any:
    return items[0]


def _whole(tensor: Tensor) -> Tensor:
    """A tensor, gathered from all processes where they share it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value) for name, value in logs.items() if isinstance(value, int | float) and math.isfinite(value)
    }
