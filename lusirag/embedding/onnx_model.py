"""From the network's nodes to a file: an ONNX model whose weights are places in other files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from onnx import ModelProto, TensorProto, helper

from lusirag.embedding.onnx_graph import INPUT, OUTPUT, Linear, build_network
from lusirag.embedding.onnx_names import WORDS
from lusirag.embedding.onnx_nodes import MICROSOFT, Nodes
from lusirag.embedding.onnx_shape import Shape
from lusirag.embedding.onnx_weights import Arrays
from lusirag.embedding.stored import StoredTensors

OPERATORS, FORMAT = 21, 10  # versions of ONNX's operators and of its files; onnxruntime 1.20 and later read them
ALIGNMENT = 64  # bytes
# Of a table in blocks or in codes, see lusirag.model.storage.
PARTS = ("blocks", "scale", "minimum", "codes", "gain", "centroids", "mean")
TYPES = {
    "F32": TensorProto.FLOAT,
    "F16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "U8": TensorProto.UINT8,
    "I8": TensorProto.INT8,
}


def build_model(
    shape: Shape,
    stored: StoredTensors,
    weights: Arrays,
    linear: Callable[[Nodes], Linear],
    *,
    data: str,
) -> ModelProto:
    """Write the graph of a network.

    Args:
        shape: of the network.
        stored: the tensors of its model directory; the word embeddings stay there.
        weights: all others, see `graph_weights`.
        linear: how matrices are applied, `FloatLinear` or `ByteLinear`.
        data: name of the file that the weights are said to be in, see `write_data`.
    """
    words = [name for name in (WORDS, *(f"{WORDS}.{part}" for part in PARTS)) if name in stored]
    g = Nodes()
    groups = stored[words[0]].shape[1] if words[0].endswith(".codes") else None
    bits = 8 if stored[words[0]].dtype == "I8" else 4
    result = build_network(g, shape, linear(g), words, word_bits=bits, word_groups=groups)
    g.rename(result, OUTPUT)
    outside = [
        _placed(name, TYPES[stored[name].dtype], stored[name].shape, stored[name].file.name, stored[name].offset)
        for name in words
    ]
    for name, offset in offsets(weights).items():
        array = weights[name]
        outside.append(_placed(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, data, offset))
    graph = helper.make_graph(
        g.nodes,
        "lusifer",
        [helper.make_tensor_value_info(INPUT, TensorProto.INT64, ["texts", "tokens"])],
        [
            helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["texts", shape.dimension]),
            *(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in g.results),
        ],
        [*g.constants.values(), *outside],
        doc_string="Texts of one length, as token ids without padding, to embeddings that are not normalised.",
    )
    operators = [helper.make_opsetid("", OPERATORS), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=operators, ir_version=FORMAT, producer_name="lusirag")


def offsets(weights: Arrays) -> dict[str, int]:
    """Where each weight begins in the data file: in the order of names, aligned."""
    places, end = {}, 0
    for name in sorted(weights):
        places[name] = end
        end += -(-weights[name].nbytes // ALIGNMENT) * ALIGNMENT
    return places


def write_data(file: Path, weights: Arrays) -> None:
    """Write the weights to a file of their own, for programs that do not make them as lusirag does."""
    temporary = file.with_name(f"{file.name}.writing")
    with temporary.open("wb") as stream:
        for name, offset in offsets(weights).items():
            stream.seek(offset)
            stream.write(weights[name].tobytes())
    temporary.replace(file)


def _placed(name: str, kind: int, shape: tuple[int, ...], file: str, offset: int) -> TensorProto:
    """A tensor whose numbers lie in another file. Its length follows from its shape."""
    tensor = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=file)
    tensor.external_data.add(key="offset", value=str(offset))
    return tensor
