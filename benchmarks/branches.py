"""What each part of a model with encoder skip adds: nDCG@10 with shares of its language model's part, and of LoRA.

    python -m benchmarks.branches lusifer-mini --beside multilingual-e5-small
    python -m benchmarks.branches runs/mini --checkpoint 200 --encoder-share 0.3 --encoder-share 0.6 --encoder-share 1

The embedding of such a model is the mean of the encoder's rows plus the projection of what the language model makes of
them. Share 0 is the encoder's part alone (with the LoRA that was trained on it), 1 the model as it is. Of the folder of
a run whose encoder was trained by LoRA, `--encoder-share` is how much of that is kept, as by `assemble`. `--beside` is
the directory of another model, for comparison as it is, such as the untrained encoder (`benchmarks.encoder_alone`).
Each text goes through each network once, by torch: in float32, on a GPU in bfloat16. Tasks and sampling are those of
`benchmarks.development`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.ablations import CHUNK_TOKENS, Figures, show, unit
from benchmarks.development import Task, add_sampling, measure, read_tasks, score, text_rows
from benchmarks.development import show as show_searches
from benchmarks.sets import environment, require_sets
from lusirag import Embedder
from lusirag.embedding.description import read_description
from lusirag.embedding.loading import find_directory
from lusirag.embedding.torch_runtime import choose_device
from lusirag.model import LusiferModel
from lusirag.model.adapters import name_in_files
from lusirag.model.pooling import mean_over_tokens
from lusirag.types import Vectors
from lusirag_training.assemble import with_encoder_share
from lusirag_training.data.texts import ModelTexts, chunked, padded
from lusirag_training.trainer.runs import is_run, load_run

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
GPU_CHUNK_TOKENS = 65_536


def main() -> None:
    """Measure, print tables, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="an embedded name, a model directory, or the folder of a run")
    parser.add_argument("--beside", help="another model, measured as it is")
    parser.add_argument("--share", action="append", type=float, help=f"default: {' '.join(map(str, SHARES))}")
    parser.add_argument("--checkpoint", default="best", help="of a run: best, last or a step (default: %(default)s)")
    parser.add_argument("--encoder-share", action="append", type=float, help="of a run's LoRA (default: 1)")
    parser.add_argument("--device", help="as torch names it (default: the first GPU, else the CPU)")
    add_sampling(parser, queries=75, documents=200)
    options = parser.parse_args()
    tasks = list(read_tasks(require_sets(), queries=options.queries or None, documents=options.documents or None))
    device = choose_device(options.device)
    figures: Figures = {}
    for label, network, texts in networks(options.model, options.checkpoint, options.encoder_share):
        figures |= {
            f"{label}language model's part, share {share:g}": found
            for share, found in of_shares(network, texts, tasks, options.share or SHARES, device=device).items()
        }
    if options.beside:
        figures[options.beside] = measure(Embedder.load(options.beside, runtime="torch", dtype="float32"), tasks)
    show(figures)
    show_searches(figures)
    if options.json:
        options.json.write_text(json.dumps({"environment": environment(), "figures": figures}, indent=1), "utf-8")


def networks(
    model: str, checkpoint: str, encoder_shares: Sequence[float] | None
) -> Iterator[tuple[str, LusiferModel, ModelTexts]]:
    """A label, the network and what reads its texts: once for a model, for each share of a run's LoRA."""
    if is_run(Path(model)):
        for share in encoder_shares or [1.0]:
            start = load_run(Path(model), checkpoint=checkpoint, merge_adapters=False)
            keep_of_encoder(start.network, share)
            start.network.merge_adapters()
            yield f"encoder's LoRA {share:g}, ", start.network, start.texts()
        return
    if encoder_shares:
        sys.exit(f"--encoder-share is for the folder of a run; {model} is none")
    directory = find_directory(model, revision=None, local_files_only=True)
    description = read_description(directory)
    network = LusiferModel.from_pretrained(directory, merge_adapters=True).eval()
    yield "", network, ModelTexts(description.tokenizer(), description.templates)


@torch.no_grad()
def keep_of_encoder(network: nn.Module, share: float) -> None:
    """Keep that share of what LoRA adds to the encoder's weights, in place."""
    own = {name_in_files(name): parameter for name, parameter in network.named_parameters()}
    for name, kept in with_encoder_share(own, share).items():
        if kept is not own[name]:
            own[name].copy_(kept)


@torch.inference_mode()
def of_shares(
    network: LusiferModel, texts: ModelTexts, tasks: list[Task], shares: Sequence[float], *, device: torch.device
) -> dict[float, dict[str, dict[str, float]]]:
    """Figures with each share of the language model's part: {share: {group: {language: nDCG@10}}}."""
    if not network.config.encoder_skip:
        sys.exit("this model has no encoder skip, so its embeddings have one part")
    network.to(device).eval()
    on_gpu = device.type == "cuda"
    rows = text_rows(tasks)
    texts.tokenizer.tokenizer  # noqa: B018 - the whole one at once, there are many texts
    ids = [texts.ids(role, [text])[0] for role, text in rows]
    parts: dict[float, Vectors] = {
        share: np.empty((len(ids), network.config.dimension), np.float32) for share in shares
    }
    for chunk in chunked([len(row) for row in ids], chunk_tokens=GPU_CHUNK_TOKENS if on_gpu else CHUNK_TOKENS):
        batch, mask = padded([ids[row] for row in chunk], padding_id=network.config.padding_id, device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
            encoded = network.encode(batch, mask)
            skip = mean_over_tokens(encoded, mask).float()
            hidden, wide = network.understand(encoded, mask)
            added: Tensor = network.projection(network.pooler(hidden, wide)).float()
        for share in shares:
            parts[share][chunk] = unit(skip + share * added)
    return {share: score(tasks, rows, each) for share, each in parts.items()}


if __name__ == "__main__":
    main()
