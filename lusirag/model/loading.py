"""From weight files to a model in memory: safetensors only, strict, one tensor at a time.

A file's keys are renamed, grouped into what makes one parameter (a plain tensor, the tensors of its blocks, its LoRA
pair), compared with what the model needs, and then read: peak memory is the model and what is read at once.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers.initialization import no_init_weights

from lusirag.errors import ModelError
from lusirag.model.adapters import LORA_A, LORA_B, adapted_layers, attach, name_in_files
from lusirag.model.files import weight_files
from lusirag.model.self_check import check_bidirectional
from lusirag.model.storage import (
    BLOCK,
    BLOCK_PARTS,
    BLOCKS,
    CENTROIDS,
    CODE_PARTS,
    CODES,
    MINIMUM,
    SCALE,
    restore_codes,
    restore_matrix,
    stored_name,
)

READ_AT_ONCE = 512 * 2**20  # bytes; the mapped pages of a file are given back after each portion
Rename = Callable[[str], str | None]


def load_model(
    kind: Any,
    config: Any,
    directory: Path,
    *,
    rename: Rename | None = None,
    dtype: torch.dtype | None,
    attn_implementation: str,
    merge_adapters: bool,
    local_files_only: bool,
) -> Any:
    """Build a model and fill it from the weight files of a directory.

    Args:
        kind: the model class. config: its configuration.
        rename: from a key in the files to the name in `LusiferModel`; None for a tensor that it has no place for; a
            key that it does not know comes back as it is and is reported as unknown.
        dtype: as stored when None.

    Raises:
        ModelError: see `LusiferModel.from_pretrained`.
    """
    from lusirag.model.base_models import add_base_weights, needs_base_weights

    weights = StoredWeights(weight_files(directory), rename=rename)
    model = empty_model(
        kind, config, dtype=weights.common_dtype() if dtype is None else dtype, attn_implementation=attn_implementation
    )
    layers = adapted_layers(weights.names)
    if bool(layers) != (config.lora is not None):
        raise ModelError(
            f"{directory} holds {len(layers)} LoRA pairs, but its config.json has lora = {config.lora}; "
            "one of them is of another model"
        )
    scaling = None
    if layers and not merge_adapters:
        attach(model, layers, **({"dropout": 0.0} | config.lora))
    elif layers:
        scaling = config.lora["alpha"] / config.lora["rank"]
    if needs_base_weights(config, weights.names):
        add_base_weights(model, dtype=dtype, local_files_only=local_files_only)
        fill(model, weights, scaling=scaling, source=directory, elsewhere=("multilingual_encoder.", "language_model."))
    else:
        fill(model, weights, scaling=scaling, source=directory)
    if scaling is not None:
        model.config.lora = None
        model.config.base_models = None  # the weights are no longer theirs
    model.eval()
    check_bidirectional(model)
    return model


def empty_model(kind: Any, config: Any, *, dtype: torch.dtype, attn_implementation: str) -> Any:
    """Build a model whose weights are not set; memory that is never written costs nothing.

    Raises:
        ModelError: there is no such attention kernel for this model.
    """
    try:
        with no_init_weights():
            model = kind._from_config(config, dtype=dtype, attn_implementation=attn_implementation)
    except (ImportError, ValueError) as error:
        if attn_implementation in ("eager", "sdpa"):
            raise
        raise ModelError(
            f"attention {attn_implementation!r} cannot be used here ({str(error).splitlines()[0]}); "
            "allowed: sdpa, eager, or flash_attention_2 where it is installed"
        ) from error
    model.multilingual_encoder.tie_weights()  # T5's embedding has two names; tying is a part of the skipped start
    return model


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor is: its file, its key there, its shape, the name of its type, its size in bytes."""

    file: Path
    key: str
    shape: tuple[int, ...]
    dtype: str
    size: int


class StoredWeights:
    """The tensors of some safetensors files, under the names of `LusiferModel`; headers are read at once, values later.

    Raises:
        ModelError: a file is cut short or not safetensors, or two tensors have one name.
    """

    def __init__(self, files: Iterable[Path], *, rename: Rename | None = None) -> None:
        self.tensors: dict[str, StoredTensor] = {}
        for file in files:
            with _opened(file) as handle:
                for key in handle.keys():  # noqa: SIM118
                    part = handle.get_slice(key)
                    name = key if rename is None else rename(key)
                    if name is None:
                        continue
                    if name in self.tensors:
                        raise ModelError(f"{file.name} holds {key}, which {self.tensors[name].file.name} holds too")
                    shape = tuple(part.get_shape())
                    dtype = part.get_dtype()
                    self.tensors[name] = StoredTensor(file, key, shape, dtype, math.prod(shape) * _bytes(dtype))
        self.members: dict[str, list[str]] = defaultdict(list)
        for key in self.tensors:
            self.members[stored_name(key, self.tensors)].append(key)

    @property
    def names(self) -> set[str]:
        """Of the parameters that are stored, LoRA matrices included."""
        return set(self.members)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a parameter once it is restored.

        Raises:
            ModelError: one of the tensors that it is stored as is missing, or they do not belong together.
        """
        if name in self.tensors:
            return self.tensors[name].shape
        if name + CODES in self.tensors:
            groups, _, width = self._part(name, CENTROIDS).shape
            return self.tensors[name + CODES].shape[0], groups * width
        blocks, scale = self._part(name, BLOCKS), self._part(name, SCALE)
        rows, columns = blocks.shape[0], blocks.shape[1] * (1 if blocks.dtype == "I8" else 2)
        if scale.shape != (rows, max(1, columns // BLOCK)):
            raise ModelError(
                f"the weights hold {name}{BLOCKS} of shape {blocks.shape} with {name}{SCALE} of shape {scale.shape}, "
                "which do not belong together; copy or download the whole model directory again"
            )
        return rows, columns

    def _part(self, name: str, part: str) -> StoredTensor:
        """One of the tensors that a matrix is stored as.

        Raises:
            ModelError: it is not there.
        """
        if name + part not in self.tensors:
            raise ModelError(f"the weights hold {self.members[name][0]} but not {name}{part}; the file is incomplete")
        return self.tensors[name + part]

    def common_dtype(self) -> torch.dtype:
        """The type of most stored values; float32 for blocks."""
        sizes: dict[str, int] = defaultdict(int)
        for tensor in self.tensors.values():
            sizes[tensor.dtype] += tensor.size
        most = max(sizes, key=lambda kind: sizes[kind], default="F32")
        return {"BF16": torch.bfloat16, "F16": torch.float16}.get(most, torch.float32)

    def read(self, groups: Iterable[tuple[str, list[str]]]) -> Iterator[tuple[str, list[Tensor]]]:
        """Yield each group's name and parameters, restored; files are opened for a portion and closed after it.

        Args:
            groups: names, and the parameters that are needed together.
        """
        portion: list[tuple[str, list[str]]] = []
        size = 0
        for group in groups:
            portion.append(group)
            size += sum(self.tensors[key].size for name in group[1] for key in self.members[name])
            if size >= READ_AT_ONCE:
                yield from self._read(portion)
                portion, size = [], 0
        yield from self._read(portion)

    def _read(self, portion: list[tuple[str, list[str]]]) -> Iterator[tuple[str, list[Tensor]]]:
        with ExitStack() as stack:
            opened: dict[Path, Any] = {}

            def tensor(key: str) -> Tensor:
                stored = self.tensors[key]
                if stored.file not in opened:
                    opened[stored.file] = stack.enter_context(_opened(stored.file))
                value: Tensor = opened[stored.file].get_tensor(stored.key)
                return value

            for group, names in portion:
                yield group, [self._restored(name, tensor) for name in names]

    def _restored(self, name: str, tensor: Callable[[str], Tensor]) -> Tensor:
        if name in self.tensors:
            return tensor(name)
        needed = CODE_PARTS if name + CODES in self.tensors else BLOCK_PARTS[:2]
        for part in needed:
            self._part(name, part)
        if needed is CODE_PARTS:
            return restore_codes(*(tensor(name + part) for part in needed))
        minimum = tensor(name + MINIMUM) if name + MINIMUM in self.tensors else None
        return restore_matrix(tensor(name + BLOCKS), tensor(name + SCALE), minimum)


@torch.no_grad()
def fill(
    model: Any, weights: StoredWeights, *, scaling: float | None, source: Path, elsewhere: tuple[str, ...] = ()
) -> None:
    """Copy stored weights into a model, strictly: every parameter is there with its shape, and nothing else is.

    Args:
        scaling: LoRA's alpha / rank when its matrices are to be merged; None when there are none, or adapters for them.
        source: for messages.
        elsewhere: beginnings of names whose weights the model has already.

    Raises:
        ModelError: lists what is missing, unknown, or of another shape.
    """
    targets = {name_in_files(name): tensor for name, tensor in distinct(model.state_dict()).items()}
    pairs = adapted_layers(weights.names) if scaling is not None else []
    lora = {name + suffix for name in pairs for suffix in (LORA_A, LORA_B)}
    given = weights.names
    aliases = {name_in_files(name) for name in model.state_dict()}
    problems = _differences(
        source,
        missing={name for name in targets.keys() - given if not name.startswith(elsewhere)} | (lora - given),
        unknown=given - aliases - lora,
        shapes={
            name: (weights.shape(name), tuple(targets[name].shape))
            for name in targets.keys() & given
            if weights.shape(name) != tuple(targets[name].shape)
        },
    )
    if problems:
        raise ModelError(problems)
    stored = [name for name in weights.members if name in targets]
    factors = {f"{layer}.weight": [layer + LORA_A, layer + LORA_B] for layer in pairs}
    for name, (weight, *pair) in weights.read((name, [name, *factors.pop(name, [])]) for name in stored):
        targets[name].copy_(_merged(weight, pair, scaling))
    for name, pair in weights.read(factors.items()):  # on weights that the base models gave
        targets[name].copy_(_merged(targets[name], pair, scaling))


def _merged(weight: Tensor, pair: list[Tensor], scaling: float | None) -> Tensor:
    """NAME.weight (out, in) with NAME.lora_A.weight (r, in) and NAME.lora_B.weight (out, r) folded in, in float32."""
    if not pair or scaling is None:
        return weight
    first, second = pair
    return torch.add(weight.float(), second.float() @ first.float(), alpha=scaling)


def distinct(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One name for each tensor: of those that share memory, the first (T5's embedding has two names)."""
    seen: dict[tuple[int, torch.Size], str] = {}
    for name, tensor in state.items():
        seen.setdefault((tensor.data_ptr(), tensor.shape) if tensor.numel() else (id(tensor), tensor.shape), name)
    return {name: state[name] for name in seen.values()}


def _differences(
    source: Path, *, missing: set[str], unknown: set[str], shapes: Mapping[str, tuple[object, object]]
) -> str | None:
    """What is wrong in one line, or None."""
    found = (
        ("missing", sorted(missing)),
        ("unknown", sorted(unknown)),
        ("of another shape", [f"{name} is {given}, not {needed}" for name, (given, needed) in sorted(shapes.items())]),
    )
    problems = [
        f"{len(keys)} {what}: {', '.join(keys[:8])}{', ...' if len(keys) > 8 else ''}" for what, keys in found if keys
    ]
    return f"the weights in {source} do not fit its config.json: {'; '.join(problems)}" if problems else None


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with safe_open(file, framework="pt") as handle:
            yield handle
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} cannot be read ({error}); copy or download it again") from error


def _bytes(dtype: str) -> int:
    """Bytes of one value of a type as safetensors names it, such as "BF16"."""
    digits = re.findall(r"\d+", dtype)
    return max(1, int(digits[0]) // 8) if digits else 1
