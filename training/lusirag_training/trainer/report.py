"""What a run would do, before it does it: parameters, steps, memory, a sample batch as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from lusirag_training.config import StageConfig
from lusirag_training.data.alignment import AlignmentBatch
from lusirag_training.data.contrastive import ContrastiveBatch
from lusirag_training.trainer.assembly import Stage
from lusirag_training.trainer.memory import activations
from lusirag_training.trainer.precision import with_precision

SAMPLE = 3
GRADIENT_AND_ADAM = 12  # bytes a trained parameter: its gradient and AdamW's two averages, float32


def describe(config: StageConfig, stage: Stage) -> dict[str, Any]:
    """The figures of a run that was put together; the memory of activations is an estimate (`memory.activations`)."""
    config = with_precision(config)
    parameters = list(stage.module.parameters())
    trained = [each for each in parameters if each.requires_grad]
    weights = sum(each.numel() * each.element_size() for each in parameters)
    steps = len(stage.steps)  # type: ignore[arg-type]
    if config.optimization.max_steps is not None:
        steps = min(steps, config.optimization.max_steps)
    return {
        "parameters": sum(each.numel() for each in parameters),
        "trained_parameters": sum(each.numel() for each in trained),
        "trained_parts": trained_parts(stage.network),
        "rows": stage.rows,
        "steps": steps,
        "batch_size": config.optimization.batch_size,
        "precision": config.optimization.precision,
        "memory_bytes": {
            "weights": weights,
            "gradients_and_optimizer": sum(each.numel() for each in trained) * GRADIENT_AND_ADAM,
            "activations": activations(config, stage),
        },
    }


def trained_parts(network: nn.Module) -> dict[str, int]:
    """Trained parameters by part of the network."""
    parts: dict[str, int] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            part = name.split(".")[0] + (" (LoRA)" if ".lora_" in name else "")
            parts[part] = parts.get(part, 0) + parameter.numel()
    return parts


def sample(stage: Stage) -> Iterator[tuple[str, str]]:
    """Role and text of the first examples of the first batch, as the network reads and writes them."""
    batch = stage.steps[0]
    read = stage.texts.tokenizer.tokenizer
    if isinstance(batch, ContrastiveBatch):
        for number, query in enumerate(batch.queries[:SAMPLE]):
            yield "query", read.decode(query, skip_special_tokens=False)
            for document, owner, right in zip(
                batch.documents, batch.owner.tolist(), batch.is_positive.tolist(), strict=True
            ):
                if owner == number:
                    yield "positive" if right else "negative", read.decode(document, skip_special_tokens=False)
    elif isinstance(batch, AlignmentBatch) and stage.words is not None:
        for source, target, labels in list(zip(batch.sources, batch.targets, batch.labels, strict=True))[:SAMPLE]:
            yield "source", read.decode(source, skip_special_tokens=False)
            yield "target", stage.words.decode(labels, skip_special_tokens=False)
            yield "target as seen", stage.words.decode(target, skip_special_tokens=False)
