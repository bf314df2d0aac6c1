"""`lusirag models export`: a model directory's ONNX graph, small because its weights lie in other files.

What is written: model.onnx (the graph), smoothing.safetensors (see `lusirag.embedding.onnx_smoothing`) and, for
programs other than lusirag, model.onnx.data with the 8-bit weights. lusirag makes those from model.safetensors when
it loads a model, so the embedded model comes without them.

On an x86 CPU without VNNI sums of products of signed weights overflow, and the embeddings are wrong. There lusirag runs
model_uint8.onnx, the same graph for unsigned weights, of which there is no data file; another program has to set the
session option `onnx_runtime.EXACT_SUMS`, by which onnxruntime turns the weights itself (0.2 s a session).
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from lusirag.embedding.catalog import ASSETS
from lusirag.embedding.description import read_description
from lusirag.embedding.exporting import require_empty
from lusirag.embedding.onnx_names import norms
from lusirag.embedding.onnx_runtime import GRAPH, UNSIGNED_GRAPH, open_session
from lusirag.embedding.onnx_shape import Shape, read_shape
from lusirag.embedding.onnx_smoothing import SMOOTHING_FILE, smoothing_factors, write_smoothing
from lusirag.embedding.onnx_weights import as_unsigned, graph_weights
from lusirag.embedding.stored import Floats, StoredTensors, stored_tensors
from lusirag.errors import MissingDependencyError
from lusirag.model.files import weight_files

DATA = "model.onnx.data"
CARRIED = ("config.json", "tokenizer.json", "README.md")  # and licences and weights: a whole model directory
ARTICLES = 30  # of the Universal Declaration of Human Rights


def export_onnx(source: Path, out: Path, *, graph_only: bool = False) -> list[Path]:
    """Write the ONNX form of a model directory.

    Args:
        source: a LUSIFER model directory.
        out: directory to write; the model's own files are copied into it unless it is `source` itself.
        graph_only: leave out model.onnx.data, which lusirag does not need.

    Returns:
        The files of the ONNX form.

    Raises:
        ModelError: the model has a part that the graph cannot express, or its files are damaged.
        InvalidArgumentError: `out` is another folder that holds something.
        MissingDependencyError: onnx is not installed.
    """
    if importlib.util.find_spec("onnx") is None:
        raise MissingDependencyError('exporting needs onnx, which is not installed. Run: pip install "lusirag[export]"')
    from lusirag.embedding.onnx_model import build_model, write_data
    from lusirag.embedding.onnx_nodes import ByteLinear

    shape = read_shape(read_description(source).config)
    if out.resolve() != source.resolve():
        require_empty(out)
        out.mkdir(parents=True, exist_ok=True)
        _copy_model(source, out)
    stored = stored_tensors(out)
    factors = smoothing_factors(shape, stored, largest_values(out, shape, stored))
    weights = graph_weights(shape, stored, smoothing=factors)
    graph = build_model(shape, stored, weights, ByteLinear, data=DATA)
    write_smoothing(out, factors)
    _write(out / GRAPH, graph.SerializeToString(deterministic=True))
    unsigned = build_model(
        shape, stored, as_unsigned(weights), partial(ByteLinear, signed=False), data=f"{UNSIGNED_GRAPH}.data"
    )
    _write(out / UNSIGNED_GRAPH, unsigned.SerializeToString(deterministic=True))
    if not graph_only:
        write_data(out / DATA, weights)
    return sorted(out / name for name in (GRAPH, UNSIGNED_GRAPH, SMOOTHING_FILE, DATA) if (out / name).is_file())


def largest_values(directory: Path, shape: Shape, stored: StoredTensors) -> dict[str, Floats]:
    """The largest absolute value of each channel that each norm computes, in float32, on text in many languages."""
    from lusirag.embedding.onnx_model import build_model
    from lusirag.embedding.onnx_nodes import WatchedLinear

    weights = graph_weights(shape, stored, precision="float32")
    graph = build_model(shape, stored, weights, WatchedLinear, data=DATA)
    session = open_session(graph.SerializeToString(), weights, directory=directory, threads=0)
    names = [f"{norm}.largest" for norm in norms(shape)]
    largest = {norm: np.zeros(1, dtype=np.float32) for norm in norms(shape)}
    for ids in _sample(directory):
        for norm, values in zip(largest, session.run(names, {"input_ids": ids[None]}), strict=True):
            largest[norm] = np.maximum(largest[norm], values)
    return largest


def _sample(directory: Path) -> Iterator[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Token ids of an article in each language of the bundled declaration, another article in each."""
    import pyarrow.parquet as pq

    description = read_description(directory)
    before, after = description.templates["document"].surroundings(None)
    rows = pq.read_table(ASSETS / "udhr.parquet", columns=["text", "language", "article"]).to_pylist()
    places = {language: place for place, language in enumerate(sorted({row["language"] for row in rows}))}
    texts = [row["text"] for row in rows if row["article"] == 1 + places[row["language"]] % ARTICLES]
    for ids in description.tokenizer()([f"{before}{text}{after}" for text in texts]).ids:
        yield np.array(ids, dtype=np.int64)


def _copy_model(source: Path, out: Path) -> None:
    for file in [*weight_files(source), *(source / name for name in CARRIED), *source.glob("LICENSE*")]:
        if file.is_file():
            shutil.copyfile(file, out / file.name)


def _write(file: Path, content: bytes) -> None:
    temporary = file.with_name(f"{file.name}.writing")
    temporary.write_bytes(content)
    temporary.replace(file)
