"""A step of contrastive training beside sentence-transformers' on the same encoder, pairs and loss, by turns.

    python -m benchmarks.training_step --encoder DIR --pairs pairs.parquet
    python -m benchmarks.training_step --encoder DIR --pairs pairs.parquet --lora 16
    python -m benchmarks.training_step --encoder DIR --pairs pairs.parquet --batch 32 --rounds 2  # a quick look

DIR is multilingual-e5-small as a transformers directory, FILE holds `query` and `positive`. All its weights are trained
but the word embeddings, in bfloat16 (autocast) where the CPU has instructions for it, with in-batch negatives at
temperature 0.05, from tokenising to the optimizer's step. The peer trains by MultipleNegativesRankingLoss, whose whole
batch is one pass, and by CachedMultipleNegativesRankingLoss in pieces of 32 texts. Every side sees the same batches;
that their losses agree is checked in the first round. Ratios are medians over the rounds after it.

With --lora the weights are frozen, and LoRA of that rank is trained on all linear layers, by peft on every side; ours
is measured with its LoRA layers as peft has them too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from peft import LoraConfig
from torch import Tensor, nn

from benchmarks.runtimes import versions
from lusirag.embedding.templates import Template
from lusirag.embedding.tokenization import TextTokenizer
from lusirag.embedding.torch_runtime import has_bfloat16
from lusirag.model import LusiferModel
from lusirag_training.data.contrastive import ContrastiveRows
from lusirag_training.data.texts import ModelTexts
from lusirag_training.losses import ContrastiveLoss
from lusirag_training.trainer.adapters import join_adapters
from lusirag_training.trainer.attention import attend_in_float32
from lusirag_training.trainer.objectives import ContrastiveObjective

CPU = torch.device("cpu")
MAX_TOKENS, TEMPERATURE, LEARNING_RATE = 128, 0.05, 1e-5
AGREE = 0.03  # losses of the first round, in bfloat16
Step = Callable[[list[tuple[str, str]]], float]


def main() -> None:
    """Measure, print JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encoder", type=Path, required=True, help="multilingual-e5-small as a transformers directory")
    parser.add_argument("--pairs", type=Path, required=True, help="parquet with query and positive")
    parser.add_argument("--batch", type=int, default=96, help="pairs a step (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="that are timed (default: %(default)s)")
    parser.add_argument("--lora", type=int, metavar="RANK", help="train LoRA instead of the weights")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    batches = read_batches(options.pairs, options.batch, options.rounds + 1)
    encoder, rank = options.encoder, options.lora
    sides = {"lusirag": ours(encoder, rank)}
    if rank:
        sides["lusirag, LoRA layers as peft has them"] = ours(encoder, rank, join=False)
    sides["sentence-transformers"] = theirs(encoder, "MultipleNegativesRankingLoss", rank)
    sides["sentence-transformers, cached"] = theirs(encoder, "CachedMultipleNegativesRankingLoss", rank)
    figures = {
        "environment": versions(),
        "bfloat16": has_bfloat16(CPU),
        "batch": options.batch,
        "lora": rank,
        "sides": measure(sides, batches),
    }
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def read_batches(file: Path, size: int, count: int) -> list[list[tuple[str, str]]]:
    """Batches of pairs, drawn from the file by a fixed seed."""
    table = pq.read_table(file, columns=["query", "positive"])
    chosen = np.random.default_rng(0).choice(table.num_rows, size * count, replace=False)
    rows = table.take(chosen).to_pylist()
    first = [row["positive"] if isinstance(row["positive"], str) else row["positive"][0] for row in rows]
    pairs = [(f"query: {row['query']}", f"passage: {text}") for row, text in zip(rows, first, strict=True)]
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]


def autocast() -> Any:
    """As both sides compute."""
    return torch.autocast("cpu", torch.bfloat16) if has_bfloat16(CPU) else nullcontext()


def optimizer_of(network: nn.Module) -> torch.optim.AdamW:
    """Over LoRA, or all weights but the word embeddings; no dropout, so that losses can be compared."""
    parameters = dict(network.named_parameters())
    adapted = any(".lora_" in name for name in parameters)
    for name, parameter in parameters.items():
        parameter.requires_grad_(".lora_" in name if adapted else "word_embeddings" not in name)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return torch.optim.AdamW([part for part in network.parameters() if part.requires_grad], lr=LEARNING_RATE)


def ours(encoder: Path, rank: int | None, *, join: bool = True) -> Step:
    """A step as `lusirag train contrast` takes it."""
    network = LusiferModel.from_base_models(encoder, None, max_tokens=MAX_TOKENS, dtype=torch.float32)
    if rank:
        network.add_adapters(rank=rank, alpha=2 * rank, dropout=0.0)
    optimizer = optimizer_of(network)
    if has_bfloat16(CPU):
        attend_in_float32(network)
        if join:
            join_adapters(network)
    tokenizer = TextTokenizer(encoder / "tokenizer.json", max_tokens=MAX_TOKENS)
    plain = {role: Template(role, "{text}", "") for role in ("query", "document")}
    rows = ContrastiveRows(ModelTexts(tokenizer, plain), positives=1, hard_negatives=0)
    loss = ContrastiveLoss(kind="info_nce", similarity="cosine", temperature=TEMPERATURE, miner_epsilon=None)
    objective = ContrastiveObjective(loss, chunk_tokens=2**20, padding_id=network.config.padding_id)

    def step(pairs: list[tuple[str, str]]) -> float:
        examples = [{"query": query, "positive": [positive], "negative": []} for query, positive in pairs]
        generators = [np.random.default_rng(0)] * len(pairs)
        batch = rows(examples, generators, instruction="", document_instruction="", in_batch=True)
        with autocast():
            outcome = objective.step(network, batch, device=CPU, backward=Tensor.backward, no_sync=nullcontext)
        optimizer.step()
        optimizer.zero_grad()
        return float(outcome.loss)

    return step


def theirs(encoder: Path, name: str, rank: int | None) -> Step:
    """A step as sentence-transformers' trainer takes it, with one of its losses."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from sentence_transformers.sentence_transformer import losses

    transformer = Transformer(str(encoder), max_seq_length=MAX_TOKENS)
    pooling = Pooling(transformer.get_word_embedding_dimension(), "mean")
    model = SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu")
    if rank:
        linear = [name for name, module in transformer.auto_model.named_modules() if isinstance(module, nn.Linear)]
        layers = [layer for layer in linear if not layer.startswith("pooler")]  # which no vector passes through
        model.add_adapter(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=layers))
    optimizer = optimizer_of(model)
    loss = getattr(losses, name)(model, scale=1 / TEMPERATURE)

    def step(pairs: list[tuple[str, str]]) -> float:
        features = [model.preprocess(list(texts)) for texts in zip(*pairs, strict=True)]
        with autocast():
            value: Tensor = loss(features, None)
            value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        return float(value.detach())

    return step


def measure(sides: dict[str, Step], batches: list[list[tuple[str, str]]]) -> dict[str, dict[str, Any]]:
    """Seconds a step and the ratio to ours; the first batch warms up, and its losses are compared."""
    losses = {name: step(batches[0]) for name, step in sides.items()}
    print(f"losses of the first batch: {losses}", file=sys.stderr)
    if max(losses.values()) - min(losses.values()) > AGREE * max(losses.values()):
        sys.exit(f"the sides do not compute the same loss: {losses}")
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for batch in batches[1:]:
        for name, step in sides.items():
            started = time.perf_counter()
            step(batch)
            seconds[name].append(time.perf_counter() - started)
        print(f"round: {[round(taken[-1], 1) for taken in seconds.values()]} s", file=sys.stderr)
    return {
        name: {
            "first_loss": round(losses[name], 4),
            "seconds_a_step": round(statistics.median(taken), 2),
            "times_ours": round(
                statistics.median(each / own for each, own in zip(taken, seconds["lusirag"], strict=True)), 2
            ),
        }
        for name, taken in seconds.items()
    }


if __name__ == "__main__":
    main()
