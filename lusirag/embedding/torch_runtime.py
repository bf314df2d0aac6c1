"""Runs a LusiferModel by torch on one device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lusirag.embedding.batching import Ids
from lusirag.errors import InvalidArgumentError
from lusirag.model import LusiferModel
from lusirag.types import Vectors

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchRuntime:
    """Token ids to embeddings on one torch device.

    Args:
        model: in evaluation mode; it is moved to the device.
        device: as torch names it, "cpu", "cuda", "cuda:1", "mps".
    """

    def __init__(self, model: LusiferModel, *, device: torch.device) -> None:
        self.model = model.to(device)
        self.device = device

    @classmethod
    def load(cls, directory: Path, *, device: torch.device, dtype: torch.dtype) -> TorchRuntime:
        """Load a model directory; see `LusiferModel.from_pretrained`."""
        return cls(LusiferModel.from_pretrained(directory, dtype=dtype), device=device)

    @property
    def batch_tokens(self) -> int:
        """How many tokens a batch should have at most, padding included."""
        return 32768 if self.device.type == "cuda" else 1024

    def __call__(self, ids: Ids, mask: Ids) -> Vectors:
        """(B, S), (B, S) -> float32 (B, O), not normalised."""
        with torch.inference_mode():
            embeddings = self.model(
                torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)
            ).embeddings
            result: Vectors = embeddings.float().cpu().numpy()
        return np.ascontiguousarray(result)


def choose_device(device: str | None) -> torch.device:
    """The named device, or the first GPU, or the CPU.

    Raises:
        InvalidArgumentError: no such device on this machine.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        raise InvalidArgumentError(
            f"device {device!r} is not there; this machine has {', '.join(['cpu', *gpus])}"
        ) from error
    return chosen


def choose_dtype(dtype: str | None, device: torch.device) -> torch.dtype:
    """The named type of the weights; by default float32 on a CPU and bfloat16 on a GPU.

    Raises:
        InvalidArgumentError: not one of the allowed names.
    """
    if dtype is None:
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in DTYPES:
        raise InvalidArgumentError(f"dtype is {dtype!r}; allowed: {', '.join(DTYPES)}")
    return DTYPES[dtype]
