"""The tensors of a model directory as they lie on disk: names, types and places, read without torch.

A safetensors file is the length of its header (8 bytes, little endian), the header (JSON: name to dtype, shape and
data_offsets) and the data. Knowing the place of a tensor lets an ONNX graph point into the same file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lusirag.errors import ModelError
from lusirag.model.files import weight_files

TYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "U8": np.uint8, "I8": np.int8}
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a safetensors file.

    Attributes:
        file: the file. content: all its bytes, mapped.
        dtype: "F32", "F16", "BF16", "U8" or "I8".
        shape: as stored.
        offset, length: its bytes in the file.
    """

    file: Path
    content: npt.NDArray[np.uint8]
    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int

    def raw(self) -> npt.NDArray[Any]:
        """The numbers as they lie there, not copied; BF16 as the upper half of a float32's bits."""
        part = self.content[self.offset : self.offset + self.length]
        return part.view(TYPES[self.dtype]).reshape(self.shape)

    def floats(self) -> Floats:
        """A copy as float32."""
        if self.dtype == "BF16":
            return (self.raw().astype(np.uint32) << 16).view(np.float32)
        return self.raw().astype(np.float32)


class StoredTensors(dict[str, StoredTensor]):
    """The tensors of a model directory, by name; one that is not there is an error in words."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def __missing__(self, name: str) -> StoredTensor:
        raise ModelError(
            f"the weights in {self._directory} do not fit its config.json: 1 missing: {name}; "
            "copy or download the whole model directory again"
        )


def stored_tensors(directory: Path) -> StoredTensors:
    """Every tensor of a model directory.

    Raises:
        ModelError: a file is missing, cut short or not safetensors, or holds numbers of another type.
    """
    tensors = StoredTensors(directory)
    for file in weight_files(directory):
        try:
            tensors.update(_tensors_of(file))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{file} cannot be read ({error}); copy or download it again") from error
    return tensors


def _tensors_of(file: Path) -> dict[str, StoredTensor]:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        size = file.stat().st_size
        if not 0 < length <= size - 8:
            raise ValueError("it is cut short or not safetensors")
        header: Mapping[str, Any] = json.loads(stream.read(length))
    content = np.memmap(file, dtype=np.uint8, mode="r").view(np.ndarray)
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        if entry["dtype"] not in TYPES:
            raise ValueError(f"{name} is of type {entry['dtype']}, readable are {', '.join(TYPES)}")
        if 8 + length + end > size or end - start != np.prod(shape) * np.dtype(TYPES[entry["dtype"]]).itemsize:
            raise ValueError(f"{name} is cut short")
        tensors[name] = StoredTensor(file, content, entry["dtype"], shape, 8 + length + start, end - start)
    return tensors
