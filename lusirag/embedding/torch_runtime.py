"""Runs a LusiferModel by torch on one device."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from lusirag.embedding.batching import Ids
from lusirag.errors import InvalidArgumentError
from lusirag.model import LusiferModel
from lusirag.types import Vectors

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # of x86, and of ARM


class TorchRuntime:
    """Token ids to embeddings on one torch device.

    Args:
        model: in evaluation mode; it is moved to the device.
        device: as torch names it, "cpu", "cuda", "cuda:1", "mps".
        compiled: let torch.compile fuse the network; the first batches take minutes, later ones are faster on a GPU.
    """

    parallel = 1

    def __init__(self, model: LusiferModel, *, device: torch.device, compiled: bool = False) -> None:
        self.model = model.to(device)
        self.device = device
        self._forward = torch.compile(self.model, dynamic=True) if compiled else self.model

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        device: torch.device,
        dtype: torch.dtype,
        attention: str | None = None,
        compiled: bool = False,
    ) -> TorchRuntime:
        """Load a model directory for inference, LoRA merged; see `LusiferModel.from_pretrained`."""
        model = LusiferModel.from_pretrained(
            directory, dtype=dtype, attn_implementation=attention or "sdpa", merge_adapters=True
        )
        return cls(model, device=device, compiled=compiled)

    @property
    def batch_tokens(self) -> int:
        """How many tokens a batch should have: on a GPU what half of its free memory holds, else what caches like.

        An estimate: about 12 activations of the network's width and 4 of its widest layer are alive at a time.
        """
        if self.device.type != "cuda":
            return 1024
        config = self.model.config
        parts = [part for part in (config.encoder_config, config.decoder_config) if part is not None]
        widest = max(getattr(part, "intermediate_size", None) or 4 * part.hidden_size for part in parts)
        width = max(part.hidden_size for part in parts)
        free, _ = torch.cuda.mem_get_info(self.device)
        return int(min(max(free // 2 // ((12 * width + 4 * widest) * self.model.dtype.itemsize), 1024), 131_072))

    @property
    def arithmetic(self) -> str:
        """ "torch-float32" or whatever type the weights have."""
        return f"torch-{str(self.model.dtype).removeprefix('torch.')}"

    def close(self) -> None:
        """Nothing to give back."""

    def __call__(self, ids: Ids, mask: Ids) -> Vectors:
        """(B, S), (B, S) -> float32 (B, O), not normalised.

        Raises:
            MemoryError: the batch is too large for the device.
        """
        try:
            # NOTE: not inference_mode. A network whose weights are sharded gathers them here into memory that its next
            # step of training writes to, and what inference_mode made may not be written to.
            with torch.no_grad():
                # Without a mask attention may take its fastest kernel; a compiled network keeps to one graph.
                padded = self._forward is not self.model or not mask.all()
                embeddings = self._forward(
                    torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device) if padded else None
                ).embeddings
                result: Vectors = embeddings.float().cpu().numpy()
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            raise MemoryError(str(error).splitlines()[0]) from None
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
    if dtype == "bfloat16" and not has_bfloat16(device):
        logger.warning("%s has no bfloat16 instructions and is very slow in it: leave dtype out", device)
    return DTYPES[dtype]


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16.

    A CPU without them computes a product of bfloat16 matrices hundreds of times slower than one of float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return True
    capabilities: Mapping[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch does not tell
    return any(capabilities.get(name, False) for name in BFLOAT16_INSTRUCTIONS)


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
