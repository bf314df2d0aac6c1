"""Learning rates of a recipe, as the Trainer gets them, against the published schedules.

Compared within the run. Past its end the published cosine goes up again, and its trainers take one such step; ours stop
with the plan (`max_steps`), and the last rate is the lowest.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from transformers import get_scheduler

from lusirag_training.config import ContrastiveConfig
from lusirag_training.trainer.running import training_arguments
from tests.parity.reference import FOLDER, needs_reference

pytestmark = needs_reference
FILE = FOLDER / "schedulers" / "schedulers.json"
CURVES: list[dict[str, Any]] = json.loads(FILE.read_text("utf-8"))["curves"] if FILE.is_file() else []
# A warm-up of 12.3 steps and several cycles are not offered; the published cycles each restart with a warm-up.
OFFERED = [
    curve
    for curve in CURVES
    if float(curve["kwargs"]["num_warmup_steps"]).is_integer() and curve["kwargs"].get("num_cycles", 0.5) in (0.5, 1)
]


def rates(curve: dict[str, Any]) -> list[float]:
    options = curve["kwargs"]
    steps = options["num_training_steps"]
    values = {
        "stage": "contrastive",
        "model": {"encoder": "e", "decoder": "d"},
        "data": {"sets": [{"name": "a", "source": "a.jsonl"}]},
        "run": {"output": "out", "device": "cpu"},
        "optimization": {
            "learning_rate": curve["base_lr"],
            "warmup": options["num_warmup_steps"],
            "least_learning_rate": options.get("min_reduce_rate", 0.0),
            "precision": "float32",
        },
    }
    config = TypeAdapter(ContrastiveConfig).validate_python(values)
    arguments = training_arguments(config, steps=steps)
    assert arguments.max_steps == steps
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=arguments.learning_rate)
    schedule = get_scheduler(
        arguments.lr_scheduler_type,
        optimizer,
        num_warmup_steps=arguments.get_warmup_steps(steps),
        num_training_steps=steps,
        scheduler_specific_kwargs=arguments.lr_scheduler_kwargs,
    )
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("number", range(len(OFFERED)))
def test_the_rate_of_every_step(number: int) -> None:
    curve = OFFERED[number]
    ours, steps = rates(curve), curve["kwargs"]["num_training_steps"]
    warmup, least = curve["kwargs"]["num_warmup_steps"], curve["kwargs"].get("min_reduce_rate", 0.0)
    near = {"rel": 1e-9, "abs": 1e-15}
    assert ours[warmup:] == pytest.approx(curve["lr_per_step"][warmup:steps], **near)
    # NOTE: ours warms up from 0, the published one from the least rate.
    rise = [(rate - least * curve["base_lr"]) / (1 - least) for rate in curve["lr_per_step"][:warmup]]
    assert ours[:warmup] == pytest.approx(rise, **near)
    assert ours[warmup:] == sorted(ours[warmup:], reverse=True)


def test_five_published_curves_are_offered() -> None:
    assert len(OFFERED) == 5


def test_the_published_cosine_goes_up_again_past_the_end() -> None:
    curve = CURVES[0]
    end = curve["kwargs"]["num_training_steps"]
    assert curve["lr_per_step"][-1] > 1000 * curve["lr_per_step"][end]
