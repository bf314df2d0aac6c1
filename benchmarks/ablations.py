"""What each part of a training recipe adds: nDCG@10 of several runs over one frozen encoder, in one pass.

    python -m benchmarks.ablations --before runs/mini --run runs/mini --run runs/no-skip     # folders of runs

Each text goes through the encoder once, not once a run, and then through what each run has put on top of it, in
float32 by torch. `--before` measures a run as it begins, before its first step: its centring alone. The encoder alone
is measured always. Tasks and sampling are those of `benchmarks.development`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.development import Task, add_sampling, read_tasks, score, text_rows
from benchmarks.sets import environment, require_sets
from lusirag.model import LusiferModel
from lusirag.model.pooling import mean_over_tokens
from lusirag.types import Vectors
from lusirag_training.data.texts import Ids, ModelTexts, chunked, padded
from lusirag_training.trainer.assembly import assemble
from lusirag_training.trainer.runs import load_run, read_recipe

ENCODER = "encoder alone"
FAMILIES = {
    "to English": "x2en",
    "from English": "en2x",
    "mixed pool": "mixed",
    "English": "en2en",
    "questions": "qa",
}
CHUNK_TOKENS = 8192
Figures = dict[str, dict[str, dict[str, float]]]


class SharedEncoder(nn.Module):
    """An encoder in several networks, which encodes a batch once for all of them."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self._seen: tuple[Tensor | None, Any] = (None, None)

    def forward(self, input_ids: Tensor, **others: Tensor) -> Any:
        """What the encoder says of a batch, or what it said of the same tensor just before."""
        if self._seen[0] is not input_ids:
            self._seen = (input_ids, self.encoder(input_ids=input_ids, **others))
        return self._seen[1]


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", action="append", type=Path, default=[], help="folder of a run, as trained")
    parser.add_argument("--before", action="append", type=Path, default=[], help="folder of a run, as it begins")
    add_sampling(parser, queries=75, documents=200)
    options = parser.parse_args()
    folder = require_sets()
    if not options.run + options.before:
        sys.exit("give --run or --before, the folder of a run")
    networks, texts = load(options.before, options.run)
    tasks = list(read_tasks(folder, queries=options.queries or None, documents=options.documents or None))
    figures = measure(networks, texts, tasks)
    show(figures)
    if options.json:
        options.json.write_text(json.dumps({"environment": environment(), "figures": figures}, indent=1), "utf-8")


def load(before: list[Path], after: list[Path]) -> tuple[dict[str, LusiferModel], ModelTexts]:
    """The networks by name, with one encoder for all, and what reads their texts."""
    networks: dict[str, LusiferModel] = {}
    if any(len({folder.name for folder in folders}) < len(folders) for folders in (before, after)):
        sys.exit("two folders have one name, by which the table calls them; rename one")
    recipes = [read_recipe(folder) for folder in [*before, *after]]
    if any(recipe.trainable.encoder != "frozen" for recipe in recipes):
        sys.exit("a run has trained its encoder; measure it by benchmarks.development")
    for folder, recipe in zip(before, recipes, strict=False):
        stage = assemble(recipe)
        networks[f"{folder.name}, before its first step"] = stage.network
    for folder in after:
        start = load_run(folder)
        networks[folder.name] = start.network
    read = load_run([*before, *after][0]).texts()
    first = next(iter(networks.values())).multilingual_encoder
    for network in networks.values():
        if any(
            not torch.equal(*pair)
            for pair in zip(network.multilingual_encoder.parameters(), first.parameters(), strict=True)
        ):
            sys.exit("the runs have different encoders; measure them by benchmarks.development")
    shared = SharedEncoder(first)
    for network in networks.values():
        network.multilingual_encoder = shared
        network.eval()
    return networks, read


@torch.inference_mode()
def measure(networks: dict[str, LusiferModel], texts: ModelTexts, tasks: list[Task]) -> Figures:
    """Figures of the encoder alone and of each network: {name: {group: {language: nDCG@10}}}."""
    rows = text_rows(tasks)
    ids: Ids = [texts.ids(role, [text])[0] for role, text in rows]
    config = next(iter(networks.values())).config
    vectors: dict[str, Vectors] = {ENCODER: np.empty((len(ids), config.encoder_width), np.float32)}
    vectors |= {name: np.empty((len(ids), network.config.dimension), np.float32) for name, network in networks.items()}
    started = time.perf_counter()
    for chunk in chunked([len(row) for row in ids], chunk_tokens=CHUNK_TOKENS):
        batch, mask = padded([ids[row] for row in chunk], padding_id=config.padding_id)
        for name, network in networks.items():
            vectors[name][chunk] = unit(network(batch, mask).embeddings)
        vectors[ENCODER][chunk] = unit(mean_over_tokens(network.encode(batch, mask), mask))
    print(f"{len(ids):,} texts in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return {name: score(tasks, rows, each) for name, each in vectors.items()}


def unit(embeddings: Tensor) -> Vectors:
    """Rows of unit length."""
    vectors: Vectors = nn.functional.normalize(embeddings.float(), dim=1).cpu().numpy()
    return vectors


def show(figures: Figures) -> None:
    """Markdown: a row a network, the mean over the sets of each kind of search, each the mean over its languages."""
    print(environment())
    measured = {group for groups in figures.values() for group in groups}
    families = {
        name: prefix for name, prefix in FAMILIES.items() if any(group.startswith(prefix) for group in measured)
    }
    print("\n| nDCG@10 | " + " | ".join(families) + " |")
    print("|---" * (1 + len(families)) + "|")
    for name, groups in figures.items():
        means = {group: float(np.mean(list(languages.values()))) for group, languages in groups.items()}
        cells = [
            np.mean([mean for group, mean in means.items() if group.startswith(prefix)]) for prefix in families.values()
        ]
        print(f"| {name} | " + " | ".join(f"{cell:.4f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
