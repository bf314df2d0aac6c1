"""Writing an ONNX graph by hand: nodes one after another, constants inline, and the ways to apply a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from lusirag.embedding.onnx_names import ENCODER, SCALES, SMOOTHING
from lusirag.embedding.onnx_weights import LARGEST

MICROSOFT = "com.microsoft"
FLOAT, INTEGER = TensorProto.FLOAT, TensorProto.INT64


class Nodes:
    """Collects nodes in the order in which they are written.

    `g("Add", a, b)` adds one and returns the name of its output. Inputs are names, or numbers that become constants:
    a list is int64, as shapes and axes are. `results` are outputs of the graph besides the last one.
    """

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.results: list[str] = []

    def __call__(self, operation: str, *inputs: Any, domain: str = "", **attributes: Any) -> str:
        """Add a node and return its output's name."""
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        output = f"{operation}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, names, [output], name=output, domain=domain, **attributes))
        return output

    def rename(self, output: str, name: str) -> None:
        """Give the output of a node that nothing reads yet its final name."""
        node = next(node for node in self.nodes if node.output[0] == output)
        node.output[0] = name

    def _constant(self, value: Any) -> str:
        array = np.array(value, dtype=np.int64) if isinstance(value, list) else np.asarray(value)
        name = f"{array.dtype}_{'_'.join(map(str, array.reshape(-1).tolist()))}" + ("" if array.ndim else "_scalar")
        self.constants[name] = numpy_helper.from_array(array, name)
        return name


class FloatLinear:
    """Matrices in float32, as torch computes them."""

    def __init__(self, g: Nodes) -> None:
        self._g = g

    def prepare(self, rows: str, norm: str | None = None) -> str:
        """The rows (N, in) as they are."""
        return rows

    def __call__(self, prepared: str, name: str) -> str:
        """(N, in) -> (N, out)."""
        return self._g("MatMul", prepared, f"{name}.weight")


class WatchedLinear:
    """As `FloatLinear`; the largest absolute value of each channel of a norm becomes a result, NORM.largest."""

    def __init__(self, g: Nodes) -> None:
        self._g = g
        self._linear = FloatLinear(g)

    def prepare(self, rows: str, norm: str | None = None) -> str:
        """The rows (N, in) as they are."""
        if norm is not None:
            g = self._g
            g.rename(g("ReduceMax", g("Abs", rows), [0], keepdims=0), f"{norm}.largest")  # (in,)
            g.results.append(f"{norm}.largest")
        return rows

    def __call__(self, prepared: str, name: str) -> str:
        """(N, in) -> (N, out)."""
        return self._linear(prepared, name)


class ByteLinear:
    """Matrices in 8-bit integers: each row is rounded by its own largest number, each output has its own scale.

    Rows become unsigned with 128 for zero, weights are signed: the pairing that CPUs with VNNI multiply fastest.

    Args:
        g: collects the nodes.
        signed: False for weights that are unsigned too, see `as_unsigned`.
    """

    def __init__(self, g: Nodes, *, signed: bool = True) -> None:
        self._g = g
        self._signed = signed
        self._zero = np.array(128, np.uint8)

    def prepare(self, rows: str, norm: str | None = None) -> tuple[str, str]:
        """Rows (N, in) as bytes, and the number (N, 1) that one step of them stands for; 0 for a row of zeros."""
        g = self._g
        if norm is not None and norm.startswith(ENCODER):
            rows = g("Mul", rows, norm + SMOOTHING)
        step = g("Mul", g("ReduceMax", g("Abs", rows), [1]), np.float32(1 / LARGEST))  # (N, 1)
        steps = g("Squeeze", step, [1])  # (N,)
        zeros = g("Expand", self._zero, g("Shape", steps))  # (N,)
        return g("QuantizeLinear", rows, steps, zeros, axis=0), step

    def __call__(self, prepared: tuple[str, str], name: str) -> str:
        """(N, in) -> (N, out)."""
        g, (rows, step) = self._g, prepared
        inputs = [rows, f"{name}.weight", np.float32(1), name + SCALES, self._zero]
        if not self._signed:
            inputs.append(self._zero)
        return g("Mul", g("MatMulIntegerToFloat", *inputs, domain=MICROSOFT), step)
