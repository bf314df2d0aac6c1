"""Our Embedder beside the plain batch loop of the published code, on the same weights, in torch float32.

    python -m benchmarks.published_loop
    python -m benchmarks.published_loop --texts 400 --rounds 5 --json figures.json

The loop embeds texts in the order given, 16 at a time, padded to the longest and to a multiple of 8; it computes all
hidden states and the language model's vocabulary head over the whole sequence, as the published code does. The head is
random: its values are thrown away. Both sides get the token ids ready; ours sorts them and drops what is not needed.

Texts: passages of the development sets in 14 languages, joined and cut to 5 to 400 tokens. Each round takes its share
of them through both sides; the ratio is the median over the rounds. Peak memory is that of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.sets import PAPER_LANGUAGES, environment, load_tasks, require_sets
from lusirag.embedding import EMBEDDED_MODELS
from lusirag.embedding.running import BatchRunner
from lusirag.embedding.tokenization import TextTokenizer
from lusirag.embedding.torch_runtime import TorchRuntime
from lusirag.model import LusiferModel
from lusirag.model.backbones import positions_of
from lusirag.types import Vectors

MODEL = EMBEDDED_MODELS["lusifer-mini"]
VOCABULARY = 49_152  # of SmolLM2, the language model inside lusifer-mini
BATCH, MULTIPLE = 16, 8
SHORTEST, LONGEST = 5, 400
RESULT = "MEASURED "
Ids = list[list[int]]


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=2000, help="in all rounds together")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--peak", choices=("ours", "loop"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    texts = make_texts(options.texts)
    if options.peak:
        print(RESULT + json.dumps(peak_memory(options.peak, texts[: options.texts // options.rounds])))
        return
    model = LusiferModel.from_pretrained(MODEL, merge_adapters=True)
    head = nn.Linear(model.config.decoder_width, VOCABULARY, bias=False)
    runner = BatchRunner(TorchRuntime(model, device=torch.device("cpu")), padding_id=1, batch_tokens=1024)
    rounds = []
    for start in range(options.rounds):
        share = texts[start :: options.rounds]
        seconds: dict[str, float] = {}
        vectors: dict[str, Vectors] = {}
        for side in ("ours", "loop") if start % 2 else ("loop", "ours"):
            before = time.perf_counter()
            vectors[side] = ours(runner, share) if side == "ours" else loop(model, head, share)
            seconds[side] = time.perf_counter() - before
        rounds.append(
            {side: round(len(share) / value, 2) for side, value in seconds.items()}
            | {
                "ratio": round(seconds["loop"] / seconds["ours"], 2),
                "lowest_cosine": lowest_cosine(vectors["ours"], vectors["loop"]),
            }
        )
        print(rounds[-1], file=sys.stderr, flush=True)
    figures = {
        "texts": len(texts),
        "tokens": sum(map(len, texts)),
        "texts_per_second_by_round": rounds,
        "median_ratio": statistics.median(each["ratio"] for each in rounds),
        "peak_memory_mb": {side: measured(side, options) for side in ("ours", "loop")},
    }
    print(environment())
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def make_texts(count: int) -> Ids:
    """Token ids of `count` texts of 5 to 400 tokens, special tokens included; the same ones every time."""
    folder = require_sets()
    tasks = load_tasks(folder)
    tokenizer = TextTokenizer(MODEL / "tokenizer.json", max_tokens=100_000)
    chance = random.Random(7)
    streams = [
        [token for row in tokenizer([text for _, text in queries]).ids for token in row[1:-1]]
        for language in PAPER_LANGUAGES
        if (queries := tasks.load("ntrex_passage", language, "x2en")[0])
    ]
    texts = []
    for number in range(count):
        stream = streams[number % len(streams)]
        length = chance.randint(SHORTEST, LONGEST) - 2
        start = chance.randrange(len(stream) - length)
        texts.append([0, *stream[start : start + length], 2])
    return texts


def ours(runner: BatchRunner, texts: Ids) -> Vectors:
    """As `Embedder` runs them."""
    vectors = np.empty((len(texts), 384), dtype=np.float32)
    for batch, rows in runner(texts):
        vectors[batch] = rows
    return vectors


@torch.inference_mode()
def loop(model: LusiferModel, head: nn.Linear, texts: Ids) -> Vectors:
    """As the published code embeds."""
    vectors = []
    for start in range(0, len(texts), BATCH):
        rows = texts[start : start + BATCH]
        width = -(-max(map(len, rows)) // MULTIPLE) * MULTIPLE
        ids = torch.tensor([row + [1] * (width - len(row)) for row in rows])  # (B, S)
        vectors.append(embed_with_head(model, head, ids, (ids != 1).long()))
    return torch.cat(vectors).numpy()


def embed_with_head(model: LusiferModel, head: nn.Linear, ids: Tensor, mask: Tensor) -> Tensor:
    """One batch, all hidden states and logits included: (B, S), (B, S) -> (B, O)."""
    encoded = model.multilingual_encoder(
        input_ids=ids, attention_mask=mask, output_hidden_states=True, position_ids=positions_of(mask)
    )
    connected, seen = model.connector(encoded.last_hidden_state, mask)  # (B, T, D)
    decoded = model.language_model(
        inputs_embeds=connected,
        attention_mask=seen,
        position_ids=model.positions(seen),
        use_cache=False,
        output_hidden_states=True,
    )
    head(decoded.last_hidden_state).float()  # (B, T, V), thrown away
    vectors: Tensor = model.projection(model.pooler(decoded.last_hidden_state, seen))
    weights = mask.unsqueeze(2).float()
    return vectors + (encoded.last_hidden_state * weights).sum(1) / weights.sum(1)


def peak_memory(side: str, texts: Ids) -> int:
    """Peak resident memory of this process in MB after one side embedded the texts."""
    model = LusiferModel.from_pretrained(MODEL, merge_adapters=True)
    if side == "ours":
        ours(BatchRunner(TorchRuntime(model, device=torch.device("cpu")), padding_id=1, batch_tokens=1024), texts)
    else:
        loop(model, nn.Linear(model.config.decoder_width, VOCABULARY, bias=False), texts)
    status = Path("/proc/self/status").read_text("utf-8")
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) // 1000


def measured(side: str, options: argparse.Namespace) -> int:
    """Peak memory of one side, in another process."""
    arguments = ["--peak", side, "--texts", str(options.texts), "--rounds", str(options.rounds)]
    command = [sys.executable, "-m", "benchmarks.published_loop", *arguments]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    line = next(line for line in output.splitlines() if line.startswith(RESULT))
    return int(json.loads(line.removeprefix(RESULT)))


def lowest_cosine(first: Vectors, second: Vectors) -> float:
    """Between the vectors of both sides: they do the same work."""
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return round(float(((first * second).sum(axis=1) / norms).min()), 6)


if __name__ == "__main__":
    main()
