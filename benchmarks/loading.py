"""Peak memory and time of `LusiferModel.from_published` on a made-up checkpoint, and time to load lusifer-mini.

    python -m benchmarks.loading                 # 2 GB of bfloat16, LoRA on all layers, in shards of 512 MB
    python -m benchmarks.loading --gigabytes 4 --json figures.json

The checkpoint has the shapes of a small XLM-R and a Mistral of width 2,048 with as many layers as it takes, random
values, and the published names. Each load runs in a process of its own; what Python, torch and transformers take before
the load is measured in it and subtracted.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import MistralConfig, MistralModel, XLMRobertaConfig, XLMRobertaModel

from benchmarks.sets import environment

ENCODER = XLMRobertaConfig(
    hidden_size=768, num_hidden_layers=6, num_attention_heads=12, intermediate_size=3072, vocab_size=50_000
)
WIDTH, RANK, SHARD = 2048, 16, 512 * 2**20
RUNS = 5
SAVED_RESULT = "MEASURED "


def main() -> None:
    """Write the checkpoint, load it in other processes, print what that took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size of the checkpoint")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--mini", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load or options.mini:
        print(SAVED_RESULT + json.dumps(load_mini() if options.mini else load_published(options.load)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        size = write_checkpoint(Path(temporary), gigabytes=options.gigabytes)
        published = measured("--load", temporary)
    mini = [measured("--mini")["seconds"] for _ in range(RUNS)]
    figures = {
        "checkpoint_mb": round(size / 1e6),
        "from_published": published,
        "lusifer_mini_first_load_seconds": {"median": round(statistics.median(mini), 2), "all": mini},
    }
    print(environment())
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def measured(*arguments: str) -> dict[str, Any]:
    """Run this module in another process and return what it measured."""
    command = [sys.executable, "-m", "benchmarks.loading", *arguments]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    line = next(line for line in output.splitlines() if line.startswith(SAVED_RESULT))
    figures: dict[str, Any] = json.loads(line.removeprefix(SAVED_RESULT))
    return figures


def load_published(directory: Path) -> dict[str, Any]:
    """Load with LoRA merged; memory in MB beyond what the imports took."""
    from lusirag.model import LusiferModel

    before = peak_mb()
    start = time.perf_counter()
    model = LusiferModel.from_published(directory, merge_adapters=True)
    seconds = time.perf_counter() - start
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return {
        "dtype": str(model.dtype),
        "model_mb": round(weights / 1e6),
        "peak_beyond_imports_mb": round(peak_mb() - before),
        "seconds": round(seconds, 1),
    }


def load_mini() -> dict[str, float]:
    """The first load of a process, imports done."""
    import lusirag.model  # noqa: F401
    from lusirag import Embedder

    start = time.perf_counter()
    Embedder.load("lusifer-mini", dtype="float32")
    return {"seconds": round(time.perf_counter() - start, 2)}


def peak_mb() -> float:
    """Peak resident memory of this process; getrusage would count that of the process which started it."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) * 1024 / 1e6


def write_checkpoint(directory: Path, *, gigabytes: float) -> int:
    """Write a checkpoint in the published form; returns the bytes of its weights."""
    torch.manual_seed(0)
    decoder = MistralConfig(
        hidden_size=WIDTH,
        intermediate_size=5632,
        num_hidden_layers=1,
        num_attention_heads=16,
        num_key_value_heads=4,
        vocab_size=32_000,
    )
    layer = {name: part.shape for name, part in MistralModel(decoder).layers[0].state_dict().items()}
    encoder = {
        name: part.shape for name, part in XLMRobertaModel(ENCODER, add_pooling_layer=False).state_dict().items()
    }
    plain: dict[str, torch.Size] = {f"universal_learner.{name}": shape for name, shape in encoder.items()}
    plain |= {
        "encoder.base_model.model.lm_head.weight": torch.Size((32_000, WIDTH)),
        "encoder.base_model.model.model.embed_tokens.weight": torch.Size((32_000, WIDTH)),
        "encoder.base_model.model.model.norm.weight": torch.Size((WIDTH,)),
        "connection_module.ff.0.weight": torch.Size((768, 768)),
        "connection_module.ff.0.bias": torch.Size((768,)),
        "connection_module.ff.2.weight": torch.Size((WIDTH, 768)),
        "connection_module.ff.2.bias": torch.Size((WIDTH,)),
    }
    for part in ("0", "2"):
        plain[f"output_projection.{part}.weight"] = torch.Size((WIDTH, WIDTH))
        plain[f"output_projection.{part}.bias"] = torch.Size((WIDTH,))
    files = Shards(directory)
    for name, shape in plain.items():
        files.add(name, shape)
    layers = 0
    while files.total < gigabytes * 1e9:
        for name, shape in layer.items():
            stem, _, kind = f"encoder.base_model.model.model.layers.{layers}.{name}".rpartition(".")
            if len(shape) < 2:
                files.add(f"{stem}.{kind}", shape)
                continue
            files.add(f"{stem}.base_layer.{kind}", shape)
            files.add(f"{stem}.lora_A.encoder_lora.weight", torch.Size((RANK, shape[1])))
            files.add(f"{stem}.lora_B.encoder_lora.weight", torch.Size((shape[0], RANK)))
        layers += 1
    files.close()
    decoder.num_hidden_layers = layers
    decoder.save_pretrained(directory / "decoder")
    ENCODER.save_pretrained(directory / "encoder")
    settings = {
        "universal_learner_name_or_path": "encoder",
        "encoder_name_or_path": "decoder",
        "connection_type": "ff",
        "num_added_tokens": 0,
        "pooling_method": "mean",
        "encoder_lora_name": "encoder_lora",
        "loar_r": RANK,
        "lora_alpha": 32,
    }
    (directory / "config.json").write_text(json.dumps(settings), "utf-8")
    return files.total


class Shards:
    """Writes random bfloat16 tensors to shards, one in memory at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.total, self.places = directory, 0, dict[str, str]()
        self._pending: dict[str, torch.Tensor] = {}
        self._size = self._count = 0

    def add(self, name: str, shape: torch.Size) -> None:
        """Add one tensor; a full shard is written."""
        self._pending[name] = torch.empty(shape, dtype=torch.bfloat16).normal_(std=0.02)
        self._size += 2 * shape.numel()
        if self._size >= SHARD:
            self._write()

    def close(self) -> None:
        """Write the last shard and the index."""
        self._write()
        index = self.directory / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": self.places}), "utf-8")

    def _write(self) -> None:
        self._count += 1
        file = f"model-{self._count:05d}.safetensors"
        save_file(self._pending, self.directory / file)
        self.places |= dict.fromkeys(self._pending, file)
        self.total += self._size
        self._pending, self._size = {}, 0


if __name__ == "__main__":
    main()
