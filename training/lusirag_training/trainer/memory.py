"""How much memory the activations of a run take: counted for a few rows, and carried over to what is held at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lusirag.embedding.torch_runtime import choose_device
from lusirag_training.config import AlignmentConfig, StageConfig
from lusirag_training.trainer.assembly import Stage
from lusirag_training.trainer.precision import suit_cpu

ROWS = 2  # longest rows that are counted first, then twice as many
CHECKPOINTING = {"use_reentrant": False}


def activations(config: StageConfig, stage: Stage) -> int:
    """Bytes that autograd keeps of the tokens whose graph is held at once, about.

    The longest rows of the first batch go through the network, here on the CPU; what is kept for the backward pass
    grows with their number, and what does not grow, such as weights in bfloat16, is counted once. With gradient
    checkpointing that is the layers' inputs, and one layer that is computed again. Kernels of a GPU may keep a little
    less or more; what an allocator holds back, and what a pass needs for a moment, is not in it.

    Args:
        config: with its precision chosen.
    """
    device = choose_device(None if config.run.device == "auto" else config.run.device)
    suit_cpu(stage.network, config, device)
    lengths = stage.objective.lengths(batch := stage.steps[0])
    longest_first = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    longest = config.data.max_tokens
    if isinstance(config, AlignmentConfig):
        longest += config.data.max_target_tokens
    held = min(stage.objective.most_tokens(device=device), len(lengths) * longest)

    def counted(count: int) -> tuple[int, int]:
        rows = longest_first[:count]
        here = torch.device("cpu")
        size = kept_bytes(lambda: stage.objective.forward(stage.module, batch, rows, device=here), stage.module)
        return len(rows) * lengths[rows[0]], size

    def kept() -> float:
        (fewer, less), (more, most) = counted(ROWS), counted(2 * ROWS)
        rate = (most - less) / (more - fewer) if more > fewer else most / more  # bytes a token
        return max(less - rate * fewer, 0.0) + rate * held

    with _training(stage, bfloat16=config.optimization.precision == "bfloat16"):
        whole = kept()
        if not config.optimization.gradient_checkpointing:
            return round(whole)
        stage.network.gradient_checkpointing_enable(CHECKPOINTING)
        try:
            return round(kept() + whole / max(_layers(stage), 1))
        finally:
            stage.network.gradient_checkpointing_disable()


def kept_bytes(run: Callable[[], Tensor], module: nn.Module) -> int:
    """Bytes of what a forward pass keeps for its backward pass, without the module's own weights."""
    own = {weight.untyped_storage().data_ptr() for weight in (*module.parameters(), *module.buffers())}
    found: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in own:
            found[memory.data_ptr()] = memory.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()  # as long as it lives, no memory is used for something else
        total = sum(found.values())
        del result
    return total


@contextmanager
def _training(stage: Stage, *, bfloat16: bool) -> Iterator[None]:
    before = stage.module.training
    stage.module.train()
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            yield
    finally:
        stage.module.train(before)


def _layers(stage: Stage) -> int:
    parts = (getattr(stage.network, name, None) for name in ("multilingual_encoder", "language_model"))
    return sum(part.config.num_hidden_layers for part in parts if part is not None)
