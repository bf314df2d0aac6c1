"""A language model's words: token embedding and vocabulary head, read from its files without the rest of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from lusirag.errors import ModelError
from lusirag.model.files import weight_files
from lusirag.model.loading import StoredWeights


def base_vocabulary(directory: Path) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Token embedding (V, D), head (V, D) and head bias (V) of a transformers directory, None where it has none.

    A tied head is the embedding itself, the same tensor.

    Raises:
        ModelError: transformers cannot build its language model, or the files are damaged.
    """
    try:
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False).get_text_config()
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{directory} holds no language model ({str(error).splitlines()[0]})") from error
    parts: dict[str | None, str] = {
        _name(model, model.get_output_embeddings(), "bias"): "bias",
        _name(model, model.get_output_embeddings(), "weight"): "head",
        _name(model, model.get_input_embeddings(), "weight"): "embedding",  # the name of a tied head too
    }

    def rename(key: str) -> str | None:
        # A text model may lie inside a larger one, as Gemma3's does.
        return parts.get(key.removeprefix("language_model.").replace("model.language_model.", "model.", 1))

    weights = StoredWeights(weight_files(directory), rename=rename)
    found = {key: tensor for key, (tensor,) in weights.read((key, [key]) for key in weights.tensors)}
    embedding = found.get("embedding")
    return embedding, found.get("head", embedding), found.get("bias")


def _name(model: Any, module: Any, part: str) -> str | None:
    """The name in files of a module's weight or bias."""
    tensor = getattr(module, part, None)
    if tensor is None:
        return None
    names = model.named_parameters(remove_duplicate=False)
    found: str = next(name for name, own in names if own is tensor)
    return found
