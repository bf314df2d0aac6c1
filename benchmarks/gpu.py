"""Tokens a second of a 7B LUSIFER on a GPU, beside what the GPU can multiply.

    python -m benchmarks.gpu --json figures.json
    python -m benchmarks.gpu --batch-tokens 16384 32768 65536 --compile layers --kernels 12 --json figures.json
    python -m benchmarks.gpu --tiny --device cpu      # the same code on a small model, anywhere

XLM-R-large and Mistral-7B shapes with random bfloat16 weights. First texts of 32, 128 and 512 tokens, equally long, in
batches of `--batch-tokens`; then texts of 5 to 512 tokens, mixed, through lusirag's own batches, whose padding does
not count. The ceiling is the best of several square bfloat16 matrix products, measured in the same run; the share
counts the multiplications of linear layers and attention, nothing else. Medians of 5 runs (`--runs`) after one that
warms up. The file is written after every figure, so that a run that is cut short leaves what it measured.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import MistralConfig, XLMRobertaConfig

from benchmarks.sets import environment
from lusirag.embedding.running import BatchRunner
from lusirag.embedding.torch_runtime import TorchRuntime
from lusirag.model import LusiferConfig, LusiferModel
from lusirag.model.loading import empty_model

LENGTHS, SQUARES = (32, 128, 512), (4096, 8192, 16384)
SHORTEST, LONGEST, BATCHES = 5, 512, 2  # of the mixed texts: tokens, tokens, how many batches full of them
Figures = dict[str, Any]


def main() -> None:
    """Measure, print each figure as it comes, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[32_768], help="one size or several")
    parser.add_argument("--attention", default="sdpa", choices=("sdpa", "eager", "flash_attention_2"))
    parser.add_argument(
        "--compile",
        nargs="*",
        choices=("layers", "network"),
        default=[],
        help="measure again with torch.compile over each layer (seconds to start), or over the whole network (minutes)",
    )
    parser.add_argument("--runs", type=int, default=5, help="whose median counts (default: %(default)s)")
    parser.add_argument("--kernels", type=int, default=0, help="name so many kernels that take longest")
    parser.add_argument("--tiny", action="store_true", help="a small model and small products, to try the code")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    device = torch.device(options.device)
    start = time.perf_counter()
    model = random_model(tiny=options.tiny, attention=options.attention, device=device)
    seconds = time.perf_counter() - start
    products = {size: product_flops(size, device, options.runs) for size in ((256, 512) if options.tiny else SQUARES)}
    ceiling = max(products.values())
    figures: Figures = {
        "environment": environment(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "attention": options.attention,
        "runs": options.runs,
        "model_seconds": round(seconds, 1),
        "products_tflops": {size: round(flops / 1e12, 2) for size, flops in products.items()},
    }
    print(json.dumps(figures, indent=1), flush=True)
    for kind in ("eager", *options.compile):
        forward = compiled(model, kind)
        for name, figure in measurements(model, forward, options, ceiling, mixed=kind != "network"):
            figures.setdefault(kind, {}).setdefault(name, []).append(figure)
            print(kind, name, json.dumps(figure), flush=True)
            if options.json:
                options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def random_model(*, tiny: bool, attention: str, device: torch.device) -> LusiferModel:
    """The published model's shapes, or small ones, with random bfloat16 weights, made on the device."""
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
    with device:
        model: LusiferModel = empty_model(LusiferModel, config, dtype=torch.bfloat16, attn_implementation=attention)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.02) if parameter.dim() > 1 else parameter.fill_(1.0)
    return model.eval()


def compiled(model: LusiferModel, kind: str) -> Any:
    """The network as it is called: plain, compiled as a whole, or each layer of it compiled (in place)."""
    if kind == "network":
        return torch.compile(model, dynamic=True)
    if kind == "layers":
        parts = (model.multilingual_encoder, model.language_model)
        layers = {name for part in parts for name in part._no_split_modules or ()}
        for module in model.modules():
            if type(module).__name__ in layers:  # those of one class share one compiled graph
                module.compile(dynamic=True)
    return model


def measurements(
    model: LusiferModel, forward: Any, options: argparse.Namespace, ceiling: float, *, mixed: bool
) -> Iterator[tuple[str, Figures]]:
    """Name and figures, one after the other: each size of a batch at each length, then mixed lengths."""
    for batch_tokens in options.batch_tokens:
        for length in LENGTHS:
            texts = max(1, batch_tokens // length)
            ids = torch.randint(4, 1000, (texts, length), device=model.device)
            yield (
                "equal_lengths",
                {"batch_tokens": batch_tokens, "tokens_per_text": length}
                | measure(lambda ids=ids: forward(ids), [length] * texts, model, ceiling, options.runs),
            )
            if options.kernels and batch_tokens == options.batch_tokens[0]:
                yield "kernels", {"tokens_per_text": length, "share": kernels(lambda ids=ids: forward(ids), options)}
    if mixed:
        chance = random.Random(3)
        lengths: list[int] = []
        while sum(lengths) < BATCHES * options.batch_tokens[0]:
            lengths.append(chance.randint(SHORTEST, LONGEST))
        texts_of = [[chance.randrange(4, 1000) for _ in range(length)] for length in lengths]
        runner = BatchRunner(
            TorchRuntime(model, device=model.device), padding_id=1, batch_tokens=options.batch_tokens[0]
        )
        yield (
            "mixed_lengths",
            {"batch_tokens": options.batch_tokens[0], "texts": len(lengths)}
            | measure(lambda: list(runner(texts_of)), lengths, model, ceiling, options.runs),
        )


@torch.inference_mode()
def measure(
    run: Callable[[], object], lengths: Sequence[int], model: LusiferModel, ceiling: float, runs: int
) -> Figures:
    """Tokens a second of texts of these lengths, the share of the ceiling, peak memory."""
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
    first, seconds = timed(run, model.device, runs)
    of_length = {length: flops_per_token(model, length) for length in set(lengths)}
    operations = sum(length * of_length[length] for length in lengths)
    figures: Figures = {
        "tokens_per_second": round(sum(lengths) / seconds),
        "share_of_ceiling": round(operations / seconds / ceiling, 3),
        "first_run_seconds": round(first, 2),
        "seconds": round(seconds, 4),
    }
    if model.device.type == "cuda":
        figures["peak_memory_gb"] = round(torch.cuda.max_memory_allocated(model.device) / 1e9, 1)
    return figures


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


@torch.inference_mode()
def kernels(run: Callable[[], object], options: argparse.Namespace) -> dict[str, float]:
    """The kernels that take longest in one call, and their share of the device's time."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = torch.device(options.device).type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as profiler:
        run()
        if on_gpu:
            torch.cuda.synchronize()
    spent = {
        event.key[:100]: event.self_device_time_total if on_gpu else event.self_cpu_time_total
        for event in profiler.key_averages()
    }
    whole = max(sum(spent.values()), 1e-9)
    longest = sorted(spent, key=lambda name: -spent[name])[: options.kernels]
    return {name: round(spent[name] / whole, 3) for name in longest}


def product_flops(size: int, device: torch.device, runs: int) -> float:
    """Operations a second of one square bfloat16 product."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2.0 * size**3 / timed(lambda: left @ right, device, runs)[1]


def timed(run: Callable[[], object], device: torch.device, runs: int) -> tuple[float, float]:
    """Seconds of the first call, and the median of those that follow."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    seconds = []
    for _ in range(runs + 1):
        wait()
        start = time.perf_counter()
        run()
        wait()
        seconds.append(time.perf_counter() - start)
    return seconds[0], statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
