"""Proof at start-up that the language model attends in both directions; a causal one embeds, but badly."""

from __future__ import annotations

from typing import Any

import torch

from lusirag.errors import ModelError
from lusirag.model.backbones import positions_of, run_decoder


@torch.inference_mode()
def check_bidirectional(model: Any) -> None:
    """Change the last input vector of a row: the output at position 0 must change, with padding and without.

    Args:
        model: a `LusiferModel`; one without a language model passes.

    Raises:
        ModelError: it did not change, so the attention is causal.
    """
    if model.config.connector == "none":
        return
    parameter = next(model.language_model.parameters())
    width = model.config.decoder_width
    steps = torch.arange(3 * width, device=parameter.device, dtype=torch.float32).view(1, 3, width)
    inputs = torch.sin(steps).to(parameter.dtype).repeat(2, 1, 1)  # two equal rows (2, 3, D)
    inputs[1, 1] = -inputs[1, 1]
    for padded in (True, False):
        length = 3 if padded else 2
        mask = torch.ones(2, length, dtype=torch.long, device=parameter.device)
        mask[:, 2:] = 0
        hidden = run_decoder(
            model.language_model, inputs[:, :length], mask, positions_of(mask), past_window=model.config.past_window
        )
        if torch.equal(hidden[0, 0], hidden[1, 0]):
            raise ModelError(
                f"the language model ({model.config.decoder_config.model_type}) attends causally: changing a text's "
                "last token left its first position unchanged; LUSIFER needs a transformers decoder that honours "
                "config.is_causal = False (transformers >= 5.2)"
            )
