"""Our runtimes beside sentence-transformers on the same weights: multilingual-e5-small, an encoder alone.

    python -m benchmarks.encoder_only --encoder DIR --json figures.json
    python -m benchmarks.encoder_only --encoder DIR --texts 100       # a quick look

DIR is multilingual-e5-small as a transformers directory. `LusiferModel.from_base_models(DIR, None)` makes an
encoder-only model of it, with its whole vocabulary; its ONNX form is exported first. 2,000 passages in many languages
(news and package descriptions) are shared out over 5 rounds; each round takes its share through every side by turns.
Ratios are medians over the rounds. Cosine and top-10 overlap are to sentence-transformers' vectors of all passages.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runtimes import Encode, by_runtime, nearest, peer, sample, versions
from benchmarks.sets import require_sets
from lusirag.embedding.onnx_export import export_onnx
from lusirag.model import LusiferModel
from lusirag.types import Vectors

ROUNDS = 5
PEER = "sentence-transformers float32"


def main() -> None:
    """Measure, print JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encoder", type=Path, required=True, help="multilingual-e5-small as a transformers directory")
    parser.add_argument("--texts", type=int, default=2000, help="in all rounds together (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    folder = require_sets()
    texts = sample(folder, options.texts)
    with tempfile.TemporaryDirectory() as temporary:
        model = encoder_only(options.encoder, Path(temporary) / "model")
        encoders: dict[str, Encode] = {PEER: peer(options.encoder)}
        encoders |= {name: embedder.encode_documents for name, embedder in by_runtime(model).items()}
        figures = {"environment": versions(), "texts": len(texts), "rounds": ROUNDS} | measure(encoders, texts)
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def encoder_only(encoder: Path, out: Path) -> Path:
    """A model directory with e5's templates, and its ONNX form in it."""
    templates = {"query": "query: {text}", "document": "passage: {text}"}
    LusiferModel.from_base_models(encoder, None, templates=templates).save_pretrained(out)
    shutil.copyfile(encoder / "tokenizer.json", out / "tokenizer.json")
    export_onnx(out, out, graph_only=True)
    return out


def measure(encoders: dict[str, Encode], texts: list[str]) -> dict[str, Any]:
    """Texts a second, ratio to the peer, and how near the vectors are to the peer's."""
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    shares: dict[str, list[Vectors]] = {name: [] for name in encoders}
    for encode in encoders.values():
        encode(texts[:8])
    for number in range(ROUNDS):
        for name, encode in encoders.items():
            started = time.perf_counter()
            shares[name].append(encode(texts[number::ROUNDS]))
            seconds[name].append(time.perf_counter() - started)
        print(f"round {number + 1}: {[round(taken[-1], 1) for taken in seconds.values()]} s", file=sys.stderr)
    exact = np.concatenate(shares[PEER])
    wanted = nearest(exact)
    result = {}
    for name, taken in seconds.items():
        vectors = np.concatenate(shares[name])
        ratios = [theirs / ours for theirs, ours in zip(seconds[PEER], taken, strict=True)]
        overlaps = [len(set(mine) & set(theirs)) / 10 for mine, theirs in zip(nearest(vectors), wanted, strict=True)]
        result[name] = {
            "texts_per_second": round(len(texts) / sum(taken), 1),
            "times_the_peer": round(statistics.median(ratios), 2),
            "times_the_peer_by_round": [round(ratio, 2) for ratio in ratios],
            "cosine_mean": round(float((vectors * exact).sum(axis=1).mean()), 5),
            "top_10_overlap": round(float(np.mean(overlaps)), 3),
        }
    return {"sides": result}


if __name__ == "__main__":
    main()
