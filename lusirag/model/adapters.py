"""LoRA adapters by peft, in place, and the names that their matrices have in files.

In memory peft wraps a linear layer NAME: its weight becomes NAME.base_layer.weight, its matrices
NAME.lora_A.lusifer.weight (r, in) and NAME.lora_B.lusifer.weight (out, r). In files they are NAME.weight,
NAME.lora_A.weight and NAME.lora_B.weight, so that a checkpoint reads the same with and without adapters attached.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from torch import nn

from lusirag.errors import ModelError

ADAPTER = "lusifer"
LORA_A, LORA_B = ".lora_A.weight", ".lora_B.weight"
PARTS = ("multilingual_encoder", "language_model")


def name_in_files(name: str) -> str:
    """The name in files of a parameter in memory.

    >>> name_in_files("language_model.layers.0.mlp.up_proj.lora_A.lusifer.weight")
    'language_model.layers.0.mlp.up_proj.lora_A.weight'
    """
    return name.replace(".base_layer.", ".").replace(f".{ADAPTER}.", ".")


def adapted_layers(keys: Iterable[str]) -> list[str]:
    """The linear layers for which a file holds LoRA matrices."""
    return sorted({key.removesuffix(LORA_A) for key in keys if key.endswith(LORA_A)})


def add_adapters(model: Any, *, rank: int, alpha: float, dropout: float, parts: tuple[str, ...] | None = None) -> None:
    """Put new adapters on all linear layers of the parts; see `LusiferModel.add_adapters`."""
    chosen = tuple(part for part in PARTS if hasattr(model, part)) if parts is None else parts
    unknown = [part for part in chosen if part not in PARTS or not hasattr(model, part)]
    if unknown:
        raise ModelError(f"parts name {', '.join(unknown)}; this model has {', '.join(PARTS)}")
    layers = [
        f"{part}.{name}"
        for part in chosen
        for name, module in getattr(model, part).named_modules()
        if isinstance(module, nn.Linear)
    ]
    attach(model, layers, rank=rank, alpha=alpha, dropout=dropout)


def attach(model: Any, layers: list[str], *, rank: int, alpha: float, dropout: float) -> None:
    """Wrap the named linear layers in LoRA adapters; the second matrix starts at zero, so nothing changes yet.

    Raises:
        ModelError: the model has adapters already, or a name is no linear layer of encoder or language model.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if has_adapters(model):
        raise ModelError("the model has LoRA adapters already; merge_adapters() folds them into its weights first")
    for part in PARTS:
        names = [layer.removeprefix(f"{part}.") for layer in layers if layer.startswith(f"{part}.")]
        if not names:
            continue
        linear = {name for name, module in getattr(model, part).named_modules() if isinstance(module, nn.Linear)}
        if missing := sorted(set(names) - linear):
            raise ModelError(
                f"no linear layer {part}.{missing[0]} for a LoRA adapter; the weights are of another model"
            )
        settings = LoraConfig(r=rank, lora_alpha=cast(int, alpha), lora_dropout=dropout, target_modules=names)
        inject_adapter_in_model(settings, getattr(model, part), adapter_name=ADAPTER)
    model.config.lora = {"rank": rank, "alpha": alpha, "dropout": dropout}


def has_adapters(model: nn.Module) -> bool:
    """Whether LoRA adapters are attached."""
    return any(".lora_A." in name for name, _ in model.named_parameters())


def merge_adapters(model: Any) -> None:
    """Fold all adapters into the weights, in place; see `LusiferModel.merge_adapters`."""
    from peft.tuners.lora import LoraLayer

    wrapped = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, layer in wrapped:
        layer.merge()
        base = layer.get_base_layer()
        base.requires_grad_(True)
        model.set_submodule(name, base)
    if wrapped:
        for part in PARTS:  # peft's note of what is attached there
            if hasattr(getattr(model, part, None), "peft_config"):
                del getattr(model, part).peft_config
        model.config.lora = None
        # The weights are no longer those of the base models.
        model.config.base_models = None
