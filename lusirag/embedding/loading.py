"""From a model's name to something that runs: which directory, which runtime, and what they need read at once."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lusirag.embedding.catalog import EMBEDDED_MODELS
from lusirag.embedding.description import TOKENIZER, Description, read_description
from lusirag.embedding.fingerprint import fingerprint_of
from lusirag.embedding.runtime import Runtime
from lusirag.embedding.stored import weight_files
from lusirag.embedding.tokenization import TextTokenizer
from lusirag.errors import InvalidArgumentError, ModelError

RUNTIMES = ("onnx", "torch")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to run."""

    description: Description
    runtime: Runtime
    tokenizer: TextTokenizer
    fingerprint: str


def find_directory(model: str | Path, *, revision: str | None, local_files_only: bool) -> Path:
    """The directory of an embedded name, a path or a hub id.

    Raises:
        ModelError: there is no such model.
    """
    if isinstance(model, str) and model in EMBEDDED_MODELS:
        return EMBEDDED_MODELS[model]
    if Path(model).is_dir():
        return Path(model)
    from lusirag.model.source import resolve_directory

    try:
        return resolve_directory(model, revision=revision, local_files_only=local_files_only)
    except ModelError as error:
        raise ModelError(f"{error}; or an embedded model: {', '.join(EMBEDDED_MODELS)}") from error


def load_model(directory: Path, *, runtime: str | None, device: str | None, dtype: str | None) -> LoadedModel:
    """Load a model directory; arguments as for `Embedder.load`.

    Raises:
        ModelError, InvalidArgumentError, MissingDependencyError: as `Embedder.load`.
    """
    chosen = choose_runtime(directory, runtime=runtime, device=device, dtype=dtype)
    description = read_description(directory)
    files = [directory / TOKENIZER, *weight_files(directory)]
    if not files[0].is_file():
        raise ModelError(f"{directory} lacks {TOKENIZER}; copy or download the whole model directory")
    # The fingerprint reads every byte of the weights: beside the rest it costs no time of its own.
    with ThreadPoolExecutor(1) as aside:
        fingerprint = aside.submit(fingerprint_of, description.config, files)
        tokenizer = description.tokenizer()
        return LoadedModel(description, chosen(description), tokenizer, fingerprint.result())


def choose_runtime(
    directory: Path, *, runtime: str | None, device: str | None, dtype: str | None
) -> Callable[[Description], Runtime]:
    """What makes the runtime; torch is imported only where it is needed.

    Raises:
        InvalidArgumentError: no such runtime, device or dtype, or they do not go together.
    """
    if runtime not in (None, *RUNTIMES):
        raise InvalidArgumentError(f"runtime is {runtime!r}; allowed: {', '.join(RUNTIMES)}, or leave it out")
    needs_torch = dtype is not None or device not in (None, "cpu")
    if runtime == "onnx" and needs_torch:
        what = f"dtype={dtype!r}" if dtype is not None else f"device={device!r}"
        raise InvalidArgumentError(
            f"runtime='onnx' runs in 8 bits on the CPU; it cannot be asked for together with {what}"
        )
    if runtime == "onnx" or (
        runtime is None and not needs_torch and _has_onnx_form(directory) and (device == "cpu" or not has_gpu())
    ):
        from lusirag.embedding.onnx_runtime import OnnxRuntime

        return OnnxRuntime

    from lusirag.embedding.torch_runtime import TorchRuntime, choose_device, choose_dtype

    place = choose_device(device)
    kind = choose_dtype(dtype, place)
    return lambda description: TorchRuntime.load(description.directory, device=place, dtype=kind)


def _has_onnx_form(directory: Path) -> bool:
    return (directory / "model.onnx").is_file() and importlib.util.find_spec("onnxruntime") is not None


def has_gpu() -> bool:
    """Whether torch would find a GPU; torch is asked only where the machine may have one."""
    if sys.platform == "linux" and not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/kfd").exists():
        return False
    import torch

    return torch.cuda.is_available()
