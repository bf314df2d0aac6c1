"""Writing an ONNX graph by hand: nodes one after another, small constants inline, and the two ways to apply a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from lusirag.embedding.onnx_weights import LARGEST, SCALES

MICROSOFT = "com.microsoft"
FLOAT = TensorProto.FLOAT


class Nodes:
    """Collects nodes in the order in which they are written.

    `g("Add", a, b)` adds one and returns the name of its output. Inputs are names, or numbers that become constants:
    a list is int64, as shapes and axes are.
    """

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.used: set[str] = set()

    def __call__(self, operation: str, *inputs: Any, domain: str = "", **attributes: Any) -> str:
        """Add a node and return its output's name."""
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        output = f"{operation}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, names, [output], name=output, domain=domain, **attributes))
        self.used.update(names)
        return output

    def _constant(self, value: Any) -> str:
        array = np.array(value, dtype=np.int64) if isinstance(value, list) else np.asarray(value)
        name = f"{array.dtype}_{'_'.join(map(str, array.reshape(-1).tolist()))}" + ("" if array.ndim else "_scalar")
        self.constants[name] = numpy_helper.from_array(array, name)
        return name


class FloatLinear:
    """Matrices in float32, as torch computes them."""

    def __init__(self, g: Nodes) -> None:
        self._g = g

    def prepare(self, rows: str) -> str:
        """The rows (N, in) as they are."""
        return rows

    def __call__(self, prepared: str, name: str) -> str:
        """(N, in) -> (N, out)."""
        return self._g("MatMul", prepared, f"{name}.weight")


class ByteLinear:
    """Matrices in 8-bit integers: each row is rounded by its own largest number, each output has its own scale.

    Rows become unsigned with 128 for zero, weights are signed: the pairing that CPUs multiply fastest.
    """

    ZERO = 128

    def __init__(self, g: Nodes) -> None:
        self._g = g

    def prepare(self, rows: str) -> tuple[str, str]:
        """Rows (N, in) as bytes, and the number that a step stands for (N, 1)."""
        g = self._g
        highest, lowest = g("ReduceMax", rows, [1]), g("ReduceMin", rows, [1])  # (N, 1)
        largest = g("Max", highest, g("Neg", lowest), np.float32(1e-30))
        step = g("Mul", largest, np.float32(1 / LARGEST))
        steps = g("Squeeze", step, [1])  # (N,)
        zeros = g("Expand", np.array(self.ZERO, np.uint8), g("Shape", steps))
        return g("QuantizeLinear", rows, steps, zeros, axis=0), step

    def __call__(self, prepared: tuple[str, str], name: str) -> str:
        """(N, in) -> (N, out)."""
        g, (rows, step) = self._g, prepared
        one, zero = np.float32(1), np.array(self.ZERO, np.uint8)
        product = g("MatMulIntegerToFloat", rows, f"{name}.weight", one, name + SCALES, zero, domain=MICROSOFT)
        return g("Mul", product, step)
