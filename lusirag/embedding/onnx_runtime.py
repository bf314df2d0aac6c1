"""Runs a LUSIFER network by onnxruntime on the CPU, without torch: 8-bit matrices, one text length at a time."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lusirag.embedding.batching import Ids
from lusirag.embedding.description import Description
from lusirag.embedding.onnx_shape import read_shape
from lusirag.embedding.onnx_smoothing import read_smoothing
from lusirag.embedding.onnx_weights import Arrays, as_unsigned, graph_weights
from lusirag.embedding.stored import stored_tensors
from lusirag.errors import MissingDependencyError, ModelError
from lusirag.types import Vectors

GRAPH = "model.onnx"
UNSIGNED_GRAPH = "model_uint8.onnx"  # the same for CPUs whose sums may overflow; missing in exports of earlier versions
RUN_TOKENS = 256  # of a run, so that what it computes stays in a core's cache
EXACT_SUMS = ("session.x64quantprecision", "1")  # a session option of onnxruntime: right and slower
BATCH_TOKENS = 4096  # a thread: enough runs that all threads finish at about the same time


class OnnxRuntime:
    """Token ids to embeddings by onnxruntime. Safe to share between threads.

    Each run is one thread's: several texts of exactly one length, so nothing is padded and nothing is masked. A batch
    is many runs, which `threads` threads take one after another; that wastes less than all threads in one run.

    Args:
        description: of the model directory; it holds model.onnx.
        threads: how many; the physical cores that this process may use when None.
        meanwhile: called before a wait that leaves the interpreter free, to start something in another thread.

    Raises:
        ModelError: the directory has no ONNX form, or its files do not belong together.
        MissingDependencyError: onnxruntime is not installed.
    """

    parallel = 1  # it has threads of its own
    arithmetic = "onnx-int8"

    def __init__(
        self, description: Description, *, threads: int | None = None, meanwhile: Callable[[], object] | None = None
    ) -> None:
        directory = description.directory
        if not (directory / GRAPH).is_file():
            raise ModelError(
                f"{directory} has no {GRAPH}: write it with `lusirag models export`, or use runtime='torch'"
            )
        shape, stored = read_shape(description.config), stored_tensors(directory)
        weights = graph_weights(shape, stored, smoothing=read_smoothing(directory))
        graph = directory / GRAPH
        if sums_may_overflow() and (directory / UNSIGNED_GRAPH).is_file():
            graph, weights = directory / UNSIGNED_GRAPH, as_unsigned(weights)
        self._dimension = shape.dimension
        self._threads = threads or usable_cores()
        self._session = open_session(graph, weights, directory=directory, threads=1, meanwhile=meanwhile)

    def close(self) -> None:
        """Nothing to give back."""

    @property
    def batch_tokens(self) -> int:
        """How many tokens a batch should have at most."""
        return BATCH_TOKENS * self._threads

    def __call__(self, ids: Ids, mask: Ids) -> Vectors:
        """(B, S), (B, S) -> float32 (B, O), not normalised."""
        result = np.empty((len(ids), self._dimension), dtype=np.float32)

        def run(rows: npt.NDArray[np.int64]) -> None:
            tokens = ids[rows][mask[rows] != 0].reshape(len(rows), -1)  # (texts of the run, their length)
            [result[rows]] = self._session.run(None, {"input_ids": tokens})

        runs = list(plan_runs(mask.sum(axis=1)))
        if len(runs) == 1 or self._threads == 1:
            for rows in runs:
                run(rows)
        else:
            with ThreadPoolExecutor(self._threads) as threads:
                list(threads.map(run, runs))
        return result


def plan_runs(lengths: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of one length, as many as `RUN_TOKENS` allows, the longest first."""
    for length in np.unique(lengths)[::-1]:
        rows = np.flatnonzero(lengths == length)
        step = max(1, RUN_TOKENS // int(length))
        for start in range(0, len(rows), step):
            yield rows[start : start + step]


def open_session(
    graph: Path | bytes,
    weights: Arrays,
    *,
    directory: Path,
    threads: int,
    meanwhile: Callable[[], object] | None = None,
) -> Any:
    """An onnxruntime session of a graph whose weights are at hand.

    Args:
        graph: model.onnx, or its content.
        weights: by their names in it; word embeddings are read from `directory` instead.
        directory: the model directory.
        threads: of one run; 0 for all cores.
        meanwhile: see `OnnxRuntime`.

    Raises:
        ModelError: graph and weights do not belong together.
        MissingDependencyError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            'runtime="onnx" needs onnxruntime, which is not installed. Run: pip install "lusirag[cpu]"'
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only
    options.enable_mem_reuse = False  # NOTE: planning the reuse takes 0.3 s for this graph and gains no speed
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if sums_may_overflow():
        options.add_session_config_entry(*EXACT_SUMS)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(directory))
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(weights[name]) for name in weights]
    options.add_external_initializers(list(weights), values)
    content = graph if isinstance(graph, bytes) else str(graph)
    if meanwhile is not None:
        meanwhile()
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's errors share no class of their own
        name = graph.name if isinstance(graph, Path) else GRAPH
        raise ModelError(
            f"{directory / name} does not fit the weights beside it: run `lusirag models export` again, "
            f"or load the model with runtime='torch' ({str(error).splitlines()[0]})"
        ) from error


def sums_may_overflow() -> bool:
    """Whether this CPU adds products of bytes in 16 bits: x86 without VNNI instructions, as far as can be told.

    NOTE: the library's option for such CPUs makes others 2.5 times slower too (onnxruntime 1.31.1), so it is not
    simply always on.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return True
    return "avx512_vnni" not in flags and "avx_vnni" not in flags


def usable_cores() -> int:
    """Physical cores that this process may use; where the system does not tell, all that it names."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = set()
    for number in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        cores.add(siblings.read_text("ascii") if siblings.is_file() else str(number))
    return len(cores)
