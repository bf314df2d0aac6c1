"""From a model's name to something that runs: which directory, which runtime, and what they need read at once."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lusirag.embedding.catalog import EMBEDDED_MODELS
from lusirag.embedding.description import Description, read_description
from lusirag.embedding.fingerprint import fingerprint_of
from lusirag.embedding.runtime import Runtime
from lusirag.embedding.tokenization import TextTokenizer
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.model.files import weight_files

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


def load_model(
    directory: Path,
    *,
    runtime: str | None = None,
    device: str | None = None,
    devices: Sequence[str] | None = None,
    dtype: str | None = None,
    attention: str | None = None,
    compiled: bool = False,
    local_files_only: bool = False,
) -> LoadedModel:
    """Load a model directory; arguments as for `Embedder.load`.

    Raises:
        ModelError, InvalidArgumentError, MissingDependencyError: as `Embedder.load`.
    """
    chosen = choose_runtime(
        directory,
        runtime=runtime,
        device=device,
        devices=devices,
        dtype=dtype,
        attention=attention,
        compiled=compiled,
    )
    description = read_description(directory, local_files_only=local_files_only)
    files = model_files(description)
    # The fingerprint reads every byte of the weights: beside the rest it costs no time of its own.
    with ThreadPoolExecutor(2) as aside:
        fingerprint = aside.submit(fingerprint_of, description.config, files)
        # Reading the tokenizer holds the interpreter for a sixth of a second: best while a session opens without it.
        reading: list[Future[TextTokenizer]] = []
        made = chosen(description, lambda: reading.append(aside.submit(description.tokenizer)))
        tokenizer = reading[0].result() if reading else description.tokenizer()
        return LoadedModel(description, made, tokenizer, fingerprint.result())


def model_files(description: Description) -> list[Path]:
    """The files that a model's fingerprint is over: tokenizer and weights.

    Raises:
        ModelError: one is not there.
    """
    files = [description.tokenizer_file, *weight_files(description.directory)]
    if not files[0].is_file():
        raise ModelError(f"{description.directory} lacks {files[0].name}; copy or download the whole model directory")
    return files


def choose_runtime(
    directory: Path,
    *,
    runtime: str | None,
    device: str | None,
    devices: Sequence[str] | None,
    dtype: str | None,
    attention: str | None,
    compiled: bool,
) -> Callable[[Description, Callable[[], None]], Runtime]:
    """What makes the runtime of a model, and what it may call meanwhile; torch is imported only where it is needed.

    Raises:
        InvalidArgumentError: no such runtime, device or dtype, or they do not go together.
    """
    if runtime not in (None, *RUNTIMES):
        raise InvalidArgumentError(f"runtime is {runtime!r}; allowed: {', '.join(RUNTIMES)}, or leave it out")
    if devices is not None and (device is not None or compiled):
        raise InvalidArgumentError("devices stands in the place of device and compiled; give one or the other")
    of_torch = {
        "dtype": dtype,
        "device": None if device == "cpu" else device,
        "devices": devices,
        "attention": attention,
        "compiled": compiled or None,
    }
    asked = {name: value for name, value in of_torch.items() if value is not None}
    if runtime == "onnx" and asked:
        what = ", ".join(f"{name}={value!r}" for name, value in asked.items())
        raise InvalidArgumentError(
            f"runtime='onnx' runs in 8 bits on the CPU; it cannot be asked for together with {what}"
        )
    if runtime == "onnx" or (
        runtime is None and not asked and _has_onnx_form(directory) and (device == "cpu" or not has_gpu())
    ):
        from lusirag.embedding.onnx_runtime import OnnxRuntime

        return lambda description, meanwhile: OnnxRuntime(description, meanwhile=meanwhile)
    if devices is not None:
        from lusirag.embedding.workers import WorkerRuntime

        return lambda description, _: WorkerRuntime(
            description.directory, devices=devices, dtype=dtype, attention=attention
        )

    from lusirag.embedding.torch_runtime import TorchRuntime, choose_device, choose_dtype

    place = choose_device(device)
    kind = choose_dtype(dtype, place)
    return lambda description, _: TorchRuntime.load(
        description.directory, device=place, dtype=kind, attention=attention, compiled=compiled
    )


def _has_onnx_form(directory: Path) -> bool:
    return (directory / "model.onnx").is_file() and importlib.util.find_spec("onnxruntime") is not None


def has_gpu() -> bool:
    """Whether torch would find a GPU; torch is asked only where the machine may have one."""
    if sys.platform == "linux" and not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/kfd").exists():
        return False
    import torch

    return torch.cuda.is_available()
