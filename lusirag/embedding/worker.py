"""One worker process: loads a model on one device and embeds batches that come through its standard input.

    python -m lusirag.embedding.worker '{"directory": "...", "device": "cuda:1", "dtype": "bfloat16"}'

A message is its length (8 bytes, little-endian) and that many bytes: one byte that names its kind, then arrays in
numpy's own format. The process ends when its standard input does, so none is left when its owner is gone, however it
went. It is started as a program of its own and not by `multiprocessing`, which would run a user's script or notebook
a second time.
"""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

READY, BATCH, ROWS, OUT_OF_MEMORY, FAILED = b"r", b"b", b"o", b"m", b"f"
_LENGTH = struct.Struct("<Q")


def send(stream: IO[bytes], kind: bytes, *arrays: npt.NDArray[Any], text: str = "") -> None:
    """Write one message."""
    body = io.BytesIO()
    body.write(kind)
    for array in arrays:
        np.lib.format.write_array(body, np.ascontiguousarray(array), allow_pickle=False)
    body.write(text.encode("utf-8"))
    stream.write(_LENGTH.pack(body.tell()))
    stream.write(body.getbuffer())
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[bytes, io.BytesIO]:
    """Read one message: its kind, and the rest.

    Raises:
        EOFError: the other side is gone.
    """
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    body = stream.read(length)
    if len(body) < length:
        raise EOFError
    return body[:1], io.BytesIO(body[1:])


def read_array(body: io.BytesIO) -> npt.NDArray[Any]:
    """The next array of a message."""
    array: npt.NDArray[Any] = np.lib.format.read_array(body, allow_pickle=False)
    return array


def main() -> None:
    """Load, then answer batches until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's; it closes our input
    requests = sys.stdin.buffer
    # NOTE: what libraries print must not get between the messages, so standard output becomes standard error.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        from lusirag.embedding.torch_runtime import TorchRuntime, choose_device, choose_dtype

        settings = json.loads(sys.argv[1])
        device = choose_device(settings["device"])
        dtype = choose_dtype(settings["dtype"], device)
        runtime = TorchRuntime.load(
            Path(settings["directory"]), device=device, dtype=dtype, attention=settings["attention"]
        )
    except Exception as error:
        send(answers, FAILED, text=f"{error}")
        return
    send(answers, READY, text=f"{runtime.batch_tokens} {runtime.arithmetic}")
    while True:
        try:
            _, body = receive(requests)
        except EOFError:
            return
        try:
            send(answers, ROWS, runtime(read_array(body), read_array(body)))
        except MemoryError as error:
            send(answers, OUT_OF_MEMORY, text=f"{error}")
        except Exception as error:
            send(answers, FAILED, text=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
