"""Tokens a second of a 7B LUSIFER on a GPU, beside what the GPU can multiply.

    python -m benchmarks.gpu --json figures.json
    python -m benchmarks.gpu --tiny --device cpu      # the same code on a small model, anywhere

XLM-R-large and Mistral-7B shapes with random bfloat16 weights, texts of 32, 128 and 512 tokens in batches of
`--batch-tokens`. The ceiling is the best of several square bfloat16 matrix products, measured in the same run; the
share counts the multiplications of linear layers and attention, nothing else. Medians of 5 runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import MistralConfig, XLMRobertaConfig

from benchmarks.sets import environment
from lusirag.model import LusiferConfig, LusiferModel
from lusirag.model.loading import empty_model

LENGTHS, RUNS, SQUARES = (32, 128, 512), 5, (4096, 8192, 16384)


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch-tokens", type=int, default=32_768)
    parser.add_argument("--attention", default="sdpa", choices=("sdpa", "eager", "flash_attention_2"))
    parser.add_argument("--compile", action="store_true", help="let torch.compile fuse the network")
    parser.add_argument("--tiny", action="store_true", help="a small model and small products, to try the code")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    device = torch.device(options.device)
    model = random_model(tiny=options.tiny, attention=options.attention).to(device)
    ceiling = max(product_flops(size, device) for size in ((256, 512) if options.tiny else SQUARES))
    forward = torch.compile(model) if options.compile else model
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "ceiling_tflops": round(ceiling / 1e12, 2),
        "lengths": [measure(model, forward, length, options.batch_tokens, ceiling) for length in LENGTHS],
    }
    print(environment())
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def random_model(*, tiny: bool, attention: str) -> LusiferModel:
    """The published model's shapes, or small ones, with random bfloat16 weights."""
    encoder = XLMRobertaConfig(
        hidden_size=64 if tiny else 1024,
        num_hidden_layers=2 if tiny else 24,
        num_attention_heads=4 if tiny else 16,
        intermediate_size=128 if tiny else 4096,
        vocab_size=1000 if tiny else 250_002,
        max_position_embeddings=514,
        pad_token_id=1,
    )
    decoder = MistralConfig(vocab_size=32_768)
    if tiny:
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
        decoder = MistralConfig(num_hidden_layers=2, hidden_size=64, intermediate_size=128, **heads)
    config = LusiferConfig(encoder_config=encoder, decoder_config=decoder, added_tokens=0)
    model: LusiferModel = empty_model(LusiferModel, config, dtype=torch.bfloat16, attn_implementation=attention)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.02) if parameter.dim() > 1 else parameter.fill_(1.0)
    return model.eval()


@torch.inference_mode()
def measure(model: LusiferModel, forward: Any, length: int, batch_tokens: int, ceiling: float) -> dict[str, float]:
    """Tokens a second at one length, all texts equally long."""
    texts = max(1, batch_tokens // length)
    ids = torch.randint(4, 1000, (texts, length), device=model.device)
    seconds = timed(lambda: forward(ids), model.device)
    speed = texts * length / seconds
    return {
        "tokens_per_text": length,
        "texts_per_batch": texts,
        "tokens_per_second": round(speed),
        "share_of_ceiling": round(speed * flops_per_token(model, length) / ceiling, 3),
    }


def flops_per_token(model: LusiferModel, length: int) -> float:
    """Of the linear layers and of attention, at one text length."""
    linear = sum(
        module.weight.numel() * (1 if in_text else 1 / length)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        for in_text in [not name.startswith("projection")]
    )
    attention = sum(
        2 * config.num_hidden_layers * config.hidden_size * length
        for config in (model.config.encoder_config, model.config.decoder_config)
    )
    return 2.0 * (linear + attention)


def product_flops(size: int, device: torch.device) -> float:
    """Operations a second of one square bfloat16 product."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2.0 * size**3 / timed(lambda: left @ right, device)


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Median seconds of a call, after two that warm up."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    seconds = []
    for _ in range(RUNS + 2):
        wait()
        start = time.perf_counter()
        run()
        wait()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


if __name__ == "__main__":
    main()
