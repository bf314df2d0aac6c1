"""FAISS on a GPU: whether it is used, what is done there, and what happens where it cannot be.

LUSIRAG_FAISS_DEVICE   building    searching
auto (if not set)      GPU, if any CPU
gpu                    GPU         GPU
cpu                    CPU         CPU

Structures are built once, from vectors that are at hand, and a GPU is free again afterwards; so one that is there is
taken. It searches only when asked to, because before the first answer all that is searched is copied to its memory,
where the embedding model lies too: that is for servers and many queries, not for a command that asks one. It is the
first GPU that CUDA_VISIBLE_DEVICES shows.

A FAISS that was built with cuVS (faiss-gpu-cuvs) also links `hnsw` on a GPU, and searches it there; see `cagra`.

Files have the same form whatever built them. A GPU adds up in another order than a CPU, so its lists and candidates
differ a little; as those are scored again from the stored vectors, scores are the same. What a GPU cannot do, the CPU
does: where FAISS has no GPU form of a structure, where few rows may be found, and, with one warning, where it fails, as
when its memory is full.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lusirag.errors import InvalidArgumentError
from lusirag.index.engine import load_faiss, reason, too_few
from lusirag.index.tombstones import Bitmap
from lusirag.types import Vectors

logger = logging.getLogger(__name__)

VARIABLE = "LUSIRAG_FAISS_DEVICE"
DEVICES = ("auto", "cpu", "gpu")
FAILURES = (RuntimeError, MemoryError)  # of FAISS's own kernels, and of cuVS when memory is full
MOST = 2048  # neighbours of a query, and lists that it looks into, that FAISS's GPU kernels can select

Rows = npt.NDArray[np.int64]

_TEMPORARY_BYTES = 512 << 20  # FAISS's own choice is three times that
_MARGIN, _SPARE = 1.25, 32  # more rows than must be fetched if those that are hidden lie evenly among the others
# NOTE: what FAISS allocates on a GPU is not safe for threads, not even where they only search, nor when it is freed.
_lock = threading.RLock()


class _Warned:
    """Whether this process was told that the GPU failed."""

    failed = False


def checked_device() -> str:
    """One of DEVICES, as the environment says.

    Raises:
        InvalidArgumentError: it is something else, or "gpu" where FAISS has none.
        MissingDependencyError: "gpu", and FAISS is not installed.
    """
    device = os.environ.get(VARIABLE) or "auto"
    if device not in DEVICES:
        raise InvalidArgumentError(f"{VARIABLE} is {device!r}; allowed: {', '.join(DEVICES)}")
    if device == "gpu" and not _present():
        raise InvalidArgumentError(f"{VARIABLE} is 'gpu', and {_what_lacks()}, or set it to auto or cpu")
    return device


def _what_lacks() -> str:
    faiss = load_faiss()
    if hasattr(faiss, "StandardGpuResources"):
        return "faiss-gpu finds no NVIDIA GPU; see whether nvidia-smi does"
    return (
        f"this FAISS {faiss.__version__} was built for CPUs; replace it (pip uninstall faiss-cpu, then "
        "pip install faiss-gpu, on Linux)"
    )


def builds() -> bool:
    """Whether structures are built on a GPU. Raises what `checked_device` does."""
    return checked_device() != "cpu" and _present()


def searches() -> bool:
    """Whether searching takes place on a GPU, where it can. Raises what `checked_device` does."""
    return checked_device() == "gpu"


def _present() -> bool:
    return int(load_faiss().get_num_gpus()) > 0


class Resident:
    """A FAISS index in the memory of a GPU, for as long as this object lives. Threads that search it take turns.

    Attributes:
        most: neighbours of a query that it can find.
    """

    most = MOST

    def __init__(self, index: Any) -> None:
        self.index = index

    def search(self, queries: Vectors, m: int, parameters: Any = None) -> tuple[Vectors, Rows] | None:
        """Scores and rows (n, m) from large to small, as FAISS's `search`; None where the GPU fails."""
        with _lock:
            try:
                return self._found(queries, m, parameters)
            except FAILURES as error:
                failed(error)
                return None

    def _found(self, queries: Vectors, m: int, parameters: Any) -> tuple[Vectors, Rows]:
        found: tuple[Vectors, Rows] = self.index.search(queries, m, params=parameters)
        return found

    def __del__(self, lock: Any = _lock) -> None:
        with lock:
            self.index = None


def resident_lists(index: Any) -> Resident | None:
    """A copy of an IVF index on the GPU; None where it has no form there or does not fit."""
    if not _has_form(index):
        return None
    return resident(lambda: Resident(_copied(resources(), index)))


def resident_flat(dimension: int, blocks: Iterable[Vectors]) -> Resident | None:
    """Vectors on the GPU, as float32, to be searched by inner product; None where they do not fit.

    Args:
        dimension: of them.
        blocks: the vectors, (rows, dim) each.
    """

    def copied() -> Resident:
        faiss = load_faiss()
        index = _copied(resources(), faiss.IndexFlatIP(dimension))
        for block in blocks:
            index.add(block)
        return Resident(index)

    return resident(copied)


def resident(make: Callable[[], Resident]) -> Resident | None:
    """What `make` copies to the GPU; None where the GPU fails."""
    with _lock:
        try:
            return make()
        except FAILURES as error:
            failed(error)
            return None


def built(empty: Callable[[], Any], fill: Callable[[Any], None]) -> Any | None:
    """An index that a GPU has trained and filled, in the CPU's memory.

    Where FAISS has no GPU form of it, the GPU finds the centroids of its lists, and the CPU does the rest.

    Args:
        empty: makes the index, not trained.
        fill: trains the index that it is given, and adds the vectors.

    Returns:
        None where no GPU is used, the index has no lists, or the GPU fails.

    Raises:
        RuntimeError: of FAISS, the vectors are too few for the training.
    """
    if not builds():
        return None
    faiss = load_faiss()
    index = empty()
    lists = faiss.try_extract_index_ivf(index)
    if lists is None:
        return None
    try:
        own = new_resources()  # its memory is free again at the end
        if _has_form(index):
            on_gpu = _copied(own, index)
            fill(on_gpu)
            return faiss.index_gpu_to_cpu(on_gpu)
        # NOTE: FAISS holds a bare pointer to it.
        assigner = _copied(own, faiss.IndexFlat(lists.d, lists.metric_type))
        lists.clustering_index = assigner
        fill(index)
        lists.clustering_index = None
    except FAILURES as error:
        if too_few(error):
            raise
        failed(error)
        return None
    return index


def fetched(k: int, allowed: int, rows: int, most: int = MOST) -> int | None:
    """How many of `rows` to fetch to have k among those `allowed`, if these lie evenly; None if more than `most`.

    A GPU knows no filters: what may not be found is left out afterwards.
    """
    wanted = k if allowed == rows else math.ceil(_MARGIN * k * rows / max(allowed, 1)) + _SPARE
    wanted = min(wanted, rows)
    return wanted if wanted <= most else None


def among(allowed: Bitmap, scores: Vectors, rows: Rows, k: int) -> tuple[Vectors, Rows]:
    """The first k of what was found, scores and rows (n, m), that are allowed; the row is -1 where there are fewer."""
    hidden = (rows < 0) | ((allowed[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1 == 0)
    order = np.argsort(hidden, axis=1, kind="stable")[:, :k]
    scores, rows = np.where(hidden, -np.inf, scores), np.where(hidden, -1, rows)
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _has_form(index: Any) -> bool:
    """Whether FAISS has a GPU form of an index: lists, of vectors, scalar or product codes, found by a flat quantizer.

    NOTE: asked to copy something else, FAISS leaves it on the CPU and does not say so.
    """
    faiss = load_faiss()
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return _has_form(index.index)
    if type(index) not in (faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer, faiss.IndexIVFPQ):
        return False
    return isinstance(faiss.downcast_index(index.quantizer), faiss.IndexFlat)


def _copied(resources: Any, index: Any) -> Any:
    return load_faiss().index_cpu_to_gpu(resources, 0, index)


def new_resources() -> Any:
    """Memory of a GPU for FAISS to work in."""
    found = load_faiss().StandardGpuResources()
    found.setTempMemory(_TEMPORARY_BYTES)
    return found


@cache
def resources() -> Any:
    """That of all that is searched."""
    return new_resources()


def failed(error: Exception) -> None:
    """Say once in a process that the GPU failed."""
    if not _Warned.failed:
        _Warned.failed = True
        logger.warning("FAISS could not use the GPU, and uses the CPU instead: %s", reason(error))
