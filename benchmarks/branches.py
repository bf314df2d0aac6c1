"""What each branch of a model with encoder skip adds: nDCG@10 with the language model's part at several shares.

    python -m benchmarks.branches lusifer-mini --beside multilingual-e5-small

The embedding of such a model is the mean of the encoder's rows plus the projection of what the language model makes of
them. Share 0 is the encoder's part alone (with the LoRA that was trained on it), 1 the model as it is. `--beside` is
the directory of another model, for comparison as it is, such as the untrained encoder (`benchmarks.encoder_alone`).
Each text goes through each network once, in float32 by torch. Tasks and sampling are those of `benchmarks.development`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.ablations import CHUNK_TOKENS, Figures, show, unit
from benchmarks.development import Task, add_sampling, measure, read_tasks, score, text_rows
from benchmarks.sets import require_sets
from lusirag import Embedder
from lusirag.embedding.description import read_description
from lusirag.embedding.loading import find_directory
from lusirag.model import LusiferModel
from lusirag.model.pooling import mean_over_tokens
from lusirag.types import Vectors
from lusirag_training.data.texts import ModelTexts, chunked, padded

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="an embedded name or a model directory")
    parser.add_argument("--beside", help="another model, measured as it is")
    parser.add_argument("--share", action="append", type=float, help=f"default: {' '.join(map(str, SHARES))}")
    add_sampling(parser, queries=75, documents=200)
    options = parser.parse_args()
    tasks = list(read_tasks(require_sets(), queries=options.queries or None, documents=options.documents or None))
    figures = of_shares(options.model, tasks, options.share or SHARES)
    if options.beside:
        figures[options.beside] = measure(Embedder.load(options.beside, runtime="torch", dtype="float32"), tasks)
    show(figures)
    for name, groups in figures.items():
        questions = {group: next(iter(found.values())) for group, found in groups.items() if group.startswith("qa")}
        print(f"{name}: " + ", ".join(f"{group} {figure:.4f}" for group, figure in questions.items()))


@torch.inference_mode()
def of_shares(model: str, tasks: list[Task], shares: Sequence[float]) -> Figures:
    """Figures with each share of the language model's part: {name: {group: {language: nDCG@10}}}."""
    directory = find_directory(model, revision=None, local_files_only=True)
    network = LusiferModel.from_pretrained(directory, merge_adapters=True).eval()
    if not network.config.encoder_skip:
        sys.exit(f"{model} has no encoder skip, so its embeddings have one part")
    rows = text_rows(tasks)
    description = read_description(directory)
    texts = ModelTexts(description.tokenizer(), description.templates)
    texts.tokenizer.tokenizer  # noqa: B018 - the whole one at once, there are many texts
    ids = [texts.ids(role, [text])[0] for role, text in rows]
    parts: dict[float, Vectors] = {
        share: np.empty((len(ids), network.config.dimension), np.float32) for share in shares
    }
    for chunk in chunked([len(row) for row in ids], chunk_tokens=CHUNK_TOKENS):
        batch, mask = padded([ids[row] for row in chunk], padding_id=network.config.padding_id)
        encoded = network.encode(batch, mask)
        skip = mean_over_tokens(encoded, mask)
        hidden, wide = network.understand(encoded, mask)
        added: Tensor = network.projection(network.pooler(hidden, wide))
        for share in shares:
            parts[share][chunk] = unit(skip + share * added)
    return {f"language model's part, share {share:g}": score(tasks, rows, each) for share, each in parts.items()}


if __name__ == "__main__":
    main()
