"""Writes model.onnx: a graph of a few hundred kilobytes whose weights lie in other files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper
from onnx.external_data_helper import set_external_data

from lusirag.embedding.onnx_graph import INPUT, OUTPUT, build_network
from lusirag.embedding.onnx_nodes import MICROSOFT, ByteLinear, FloatLinear, Nodes
from lusirag.embedding.onnx_shape import read_shape
from lusirag.embedding.onnx_weights import WORDS, Arrays, Precision, graph_weights
from lusirag.embedding.stored import StoredTensor, stored_tensors

GRAPH, DATA = "model.onnx", "model.onnx.data"
OPSET, IR_VERSION = 21, 10
TYPES = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16, "U8": TensorProto.UINT8}


def build_model(directory: Path, *, precision: Precision) -> tuple[ModelProto, Arrays]:
    config = json.loads((directory / "config.json").read_text("utf-8"))
    shape, stored = read_shape(config), stored_tensors(directory)
    weights = graph_weights(shape, stored, precision=precision)
    words = [name for name in (WORDS, *(WORDS + part for part in (".blocks", ".scale", ".minimum"))) if name in stored]
    g = Nodes()
    linear = ByteLinear(g) if precision == "int8" else FloatLinear(g)
    result = build_network(g, shape, linear, words)
    g.nodes[-1].output[0] = OUTPUT
    offset, external = 0, []
    for name in sorted(weights):
        array = weights[name]
        tensor = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
        point(tensor, DATA, offset, array.nbytes)
        external.append(tensor)
        offset += array.nbytes
    for name in words:
        s = stored[name]
        tensor = TensorProto(name=name, dims=s.shape, data_type=TYPES[s.dtype])
        point(tensor, s.file.name, s.offset, s.length)
        external.append(tensor)
    graph = helper.make_graph(
        g.nodes, "lusifer",
        [helper.make_tensor_value_info(INPUT, TensorProto.INT64, ["B", "S"])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["B", shape.dimension])],
        [*g.constants.values(), *external],
    )
    assert not set(weights) - g.used, set(weights)-g.used
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)], ir_version=IR_VERSION)
    return model, weights


def point(tensor, file, offset, length):
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
