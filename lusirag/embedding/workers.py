"""Several devices: one worker process each, started once, that embed batches side by side."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

from lusirag.embedding.batching import Ids
from lusirag.embedding.worker import BATCH, FAILED, OUT_OF_MEMORY, READY, read_array, receive, send
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.types import Vectors

STOPPING = 5.0  # seconds that a worker has to end by itself


class WorkerRuntime:
    """A `Runtime` that hands each batch to the next free of its worker processes; call it from several threads.

    Workers end with `close`, with the object, with the interpreter, and when this process is killed.

    Args:
        directory: of the model.
        devices: one worker for each, as torch names them: ["cuda:0", "cuda:1"]; "cpu" may stand more than once.
        dtype, attention: as `Embedder.load` takes them.

    Raises:
        ModelError: a worker could not load the model; none is left running.
        InvalidArgumentError: no device was given.
    """

    def __init__(
        self, directory: Path, *, devices: Sequence[str], dtype: str | None, attention: str | None = None
    ) -> None:
        if not devices:
            raise InvalidArgumentError("devices is empty; give one device or more, such as ['cuda:0', 'cuda:1']")
        self.parallel = len(devices)
        self._free: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._workers: list[subprocess.Popen[bytes]] = []
        self._finalizer = weakref.finalize(self, _stop, self._workers)
        try:
            for device in devices:
                settings = {"directory": str(directory), "device": device, "dtype": dtype, "attention": attention}
                self._workers.append(_start(settings))
            sizes, kinds = [], set()
            for worker, device in zip(self._workers, devices, strict=True):
                size, kind = _when_ready(worker, device)
                sizes.append(size)
                kinds.add(kind)
                self._free.put(worker)
            self.batch_tokens = min(sizes)
            self.arithmetic = "+".join(sorted(kinds))  # several where a GPU and a CPU work side by side
        except BaseException:
            self.close()
            raise

    def __call__(self, ids: Ids, mask: Ids) -> Vectors:
        """(B, S), (B, S) -> float32 (B, O), not normalised.

        Raises:
            MemoryError: the batch is too large for the worker's device.
            ModelError: the worker failed or is gone.
        """
        if not self._finalizer.alive:
            raise ModelError("the worker processes of this embedder are closed; load it again")
        worker = self._free.get()
        try:
            assert worker.stdin is not None and worker.stdout is not None  # noqa: PT018  (both are pipes)
            try:
                send(worker.stdin, BATCH, ids, mask)
                kind, body = receive(worker.stdout)
            except (EOFError, OSError) as error:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.wait(STOPPING)
                raise ModelError(
                    f"a worker process of the embedder ended by itself (exit code {worker.returncode})"
                ) from error
        except BaseException:
            # An answer may still come (Ctrl-C while waiting): whoever asks next must not get it.
            self.close()
            raise
        self._free.put(worker)
        if kind == OUT_OF_MEMORY:
            raise MemoryError(body.read().decode("utf-8"))
        if kind == FAILED:
            raise ModelError(f"a worker process of the embedder failed: {body.read().decode('utf-8')}")
        return read_array(body)

    def close(self) -> None:
        """End the worker processes; a second call does nothing."""
        self._finalizer()


def _start(settings: Mapping[str, object]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "lusirag.embedding.worker", json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _when_ready(worker: subprocess.Popen[bytes], device: str) -> tuple[int, str]:
    """Wait until a worker has loaded its model; how many tokens fit on its device, and its arithmetic."""
    assert worker.stdout is not None
    try:
        kind, body = receive(worker.stdout)
    except EOFError:
        raise ModelError(f"the worker process for {device} ended while it was loading") from None
    message = body.read().decode("utf-8")
    if kind != READY:
        raise ModelError(message)
    size, arithmetic = message.split()
    return int(size), arithmetic


def _stop(workers: list[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        for stream in (worker.stdin, worker.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
    for worker in workers:
        try:
            worker.wait(STOPPING)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
    workers.clear()
