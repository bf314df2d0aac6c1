"""How fast lusifer-mini runs by torch and by onnxruntime on this CPU, and how much 8 bits change its vectors.

    python -m benchmarks.runtimes --peer DIR --json runtimes.json
    python -m benchmarks.runtimes --texts 64 --agreement 300 --rounds 3       # a quick look

Texts are passages of news in 14 languages (ntrex_passage) and package descriptions in others (ddtp), mixed. All
runtimes encode the same texts by turns, round after round; figures are medians over the rounds. DIR is
multilingual-e5-small as a transformers directory: the peer is sentence-transformers in float32 on it, an encoder alone,
with two thirds of lusifer-mini's matrices. The share of the ceiling is the work of the matrices (2 operations a weight
and token) beside what one large matrix product reaches in the same arithmetic.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks.sets import PAPER_LANGUAGES, environment, require_sets
from lusirag import Embedder
from lusirag.embedding.catalog import EMBEDDED_MODELS
from lusirag.embedding.description import read_description
from lusirag.embedding.onnx_names import matrices
from lusirag.embedding.onnx_runtime import usable_cores
from lusirag.embedding.onnx_shape import read_shape
from lusirag.embedding.onnx_weights import matrix
from lusirag.embedding.stored import stored_tensors
from lusirag.embedding.torch_runtime import has_bfloat16
from lusirag.types import Vectors

Encode = Callable[[list[str]], Any]
SIDE = 2048  # of the matrices whose product is the ceiling


def main() -> None:
    """Measure, print JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", type=Path, help="multilingual-e5-small as a transformers directory")
    parser.add_argument("--texts", type=int, default=160, help="encoded a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--agreement", type=int, default=2000, help="texts whose vectors are compared; 0: none")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    folder = require_sets()
    texts = sample(folder, max(options.texts, options.agreement))
    embedders = by_runtime("lusifer-mini")
    encoders: dict[str, Encode] = {name: embedder.encode_documents for name, embedder in embedders.items()}
    if options.peer:
        encoders["sentence-transformers float32"] = peer(options.peer)
    figures: dict[str, Any] = {"environment": versions(), "texts": options.texts, "rounds": options.rounds}
    figures["speed"] = speed(encoders, texts[: options.texts], options.rounds)
    tokens = tokens_of(embedders["onnx int8"], texts[: options.texts])
    share(figures["speed"], tokens, options.texts)
    if options.agreement:
        figures["agreement with torch float32"] = agreement(embedders, texts[: options.agreement])
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def by_runtime(model: str | Path) -> dict[str, Embedder]:
    """The model by every runtime of the CPU; bfloat16 only where there are instructions for it."""
    embedders = {"torch float32": Embedder.load(model, runtime="torch", device="cpu")}
    if has_bfloat16(torch.device("cpu")):
        embedders["torch bfloat16"] = Embedder.load(model, device="cpu", dtype="bfloat16")
    return embedders | {"onnx int8": Embedder.load(model, runtime="onnx")}


def sample(folder: Path, count: int) -> list[str]:
    """Passages in many languages, mixed, the same in every run."""
    news, descriptions = (pq.read_table(folder / f"{name}.parquet") for name in ("ntrex_passage", "ddtp"))
    texts = [row["text"] for row in news.to_pylist() if row["lang"] in PAPER_LANGUAGES]
    texts += random.Random(1).sample(descriptions.column("text").to_pylist(), len(texts) // 3)
    return random.Random(0).sample(list(dict.fromkeys(texts)), count)


def peer(directory: Path) -> Encode:
    """sentence-transformers on the encoder alone, with its own batches and its own tokenizer."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    transformer = Transformer(str(directory), max_seq_length=512)
    pooling = Pooling(transformer.get_word_embedding_dimension(), "mean")
    model = SentenceTransformer(modules=[transformer, pooling], device="cpu")
    return lambda texts: model.encode([f"passage: {text}" for text in texts], normalize_embeddings=True)


def speed(encoders: dict[str, Encode], texts: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Median texts a second of each encoder, and its ratio to the others in the same rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    for encode in encoders.values():
        encode(texts[:8])
    for number in range(rounds):
        for name, encode in encoders.items():
            started = time.perf_counter()
            encode(texts)
            seconds[name].append(time.perf_counter() - started)
        print(f"round {number + 1}: {[round(taken[-1], 1) for taken in seconds.values()]} s", file=sys.stderr)
    result = {}
    for name, taken in seconds.items():
        result[name] = {"texts_per_second": round(len(texts) / statistics.median(taken), 1)}
        for other, base in seconds.items():
            if other != name:
                ratios = [theirs / ours for theirs, ours in zip(base, taken, strict=True)]
                result[name][f"times {other}"] = round(statistics.median(ratios), 2)
    return result


def tokens_of(embedder: Embedder, texts: list[str]) -> int:
    """Tokens of the texts, template and special tokens included."""
    before = embedder.statistics.tokens
    embedder.encode_documents(texts)
    return embedder.statistics.tokens - before


def share(figures: dict[str, dict[str, float]], tokens: int, texts: int) -> None:
    """Add tokens a second and the share of the ceiling, where the model is lusifer-mini."""
    directory = EMBEDDED_MODELS["lusifer-mini"]
    shape, stored = read_shape(read_description(directory).config), stored_tensors(directory)
    operations = 2 * sum(matrix(name, stored, shape).size for name in matrices(shape))
    ceilings: dict[str, Callable[[], float]] = {
        "torch float32": lambda: float_ceiling(torch.float32),
        "torch bfloat16": lambda: float_ceiling(torch.bfloat16),
        "onnx int8": byte_ceiling,
    }
    for name in ceilings.keys() & figures.keys():
        ceiling = ceilings[name]()
        rate = figures[name]["texts_per_second"] * tokens / texts
        figures[name] |= {
            "tokens_per_second": round(rate),
            "ceiling_gops": round(ceiling / 1e9),
            "share_of_ceiling": round(rate * operations / ceiling, 2),
        }


def float_ceiling(dtype: torch.dtype) -> float:
    """Operations a second of one large product by torch."""
    matrix = torch.ones(SIDE, SIDE, dtype=dtype)
    return 2 * SIDE**3 / fastest(lambda: matrix @ matrix)


def byte_ceiling() -> float:
    """Operations a second of one large product of bytes by onnxruntime, on as many threads as the runtime uses."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    node = helper.make_node("MatMulInteger", ["rows", "weights", "zero"], ["product"])
    weights = np.ones((SIDE, SIDE), dtype=np.int8)
    graph = helper.make_graph(
        [node],
        "ceiling",
        [helper.make_tensor_value_info("rows", TensorProto.UINT8, [SIDE, SIDE])],
        [helper.make_tensor_value_info("product", TensorProto.INT32, [SIDE, SIDE])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array(128, np.uint8), "zero")],
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    rows = np.ones((SIDE, SIDE), dtype=np.uint8)
    return 2 * SIDE**3 / fastest(lambda: session.run(None, {"rows": rows}))


def fastest(work: Callable[[], object]) -> float:
    """Least seconds of ten goes."""
    taken = []
    for _ in range(10):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def agreement(embedders: dict[str, Embedder], texts: list[str]) -> dict[str, dict[str, float]]:
    """Cosine to torch float32, and how many of a text's ten nearest are the same."""
    exact, *others = ((name, embedder.encode_documents(texts)) for name, embedder in embedders.items())
    result = {}
    for name, vectors in others:
        cosines = (vectors * exact[1]).sum(axis=1)
        pairs = zip(nearest(vectors), nearest(exact[1]), strict=True)
        result[name] = {
            "texts": len(texts),
            "cosine_mean": round(float(cosines.mean()), 5),
            "cosine_least": round(float(cosines.min()), 5),
            "top_10_overlap": round(float(np.mean([len(set(found) & set(wanted)) / 10 for found, wanted in pairs])), 3),
        }
    return result


def nearest(vectors: Vectors) -> list[list[int]]:
    """The ten nearest others of each row."""
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1)[:, :10].tolist()


def versions() -> dict[str, str]:
    """Versions and machine, to stand beside every figure."""
    names = [name for name in ("onnxruntime", "onnx", "sentence-transformers") if _installed(name)]
    return environment() | {name: importlib.metadata.version(name) for name in names}


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
