"""Proof at start-up that the language model attends in both directions; a causal one embeds, but badly."""

from __future__ import annotations

from typing import Any

import torch

from lusirag.errors import ModelError
from lusirag.model.backbones import positions_of


@torch.inference_mode()
def check_bidirectional(model: Any) -> None:
    """Change the last input vector of a padded row: the output at position 0 must change.

    Args:
        model: a `LusiferModel`.

    Raises:
        ModelError: it did not, so the attention is causal.
    """
    parameter = next(model.language_model.parameters())
    width = model.config.decoder_config.hidden_size
    steps = torch.arange(3 * width, device=parameter.device, dtype=torch.float32).view(1, 3, width)
    inputs = torch.sin(steps).to(parameter.dtype).repeat(2, 1, 1)  # two equal rows (2, 3, D)
    inputs[1, 1] = -inputs[1, 1]
    mask = torch.tensor([[1, 1, 0], [1, 1, 0]], device=parameter.device)
    first = model.language_model(
        inputs_embeds=inputs, attention_mask=mask, position_ids=positions_of(mask), use_cache=False
    ).last_hidden_state[:, 0]  # (2, D)
    if torch.equal(first[0], first[1]):
        raise ModelError(
            f"the language model ({model.config.decoder_config.model_type}) attends causally: changing a text's last "
            "token left its first position unchanged; LUSIFER needs a transformers decoder that honours "
            "config.is_causal = False (transformers >= 5.2)"
        )
