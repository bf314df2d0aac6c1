"""Vectors of many texts, kept in a memory-mapped file beside the result: an interrupted run goes on where it stopped.

A folder holds, for each role, `<role>.npy` (float32, (n, dim)) and `<role>.json`, which says of what model and which
texts they are and how many rows are done. Rows are synced before they are counted.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lusirag.index.files import replace_file, storage_errors, sync_directory
from lusirag.types import Vectors
from lusirag_training.preparation.progress import Progress
from lusirag_training.preparation.texts import Texts

logger = logging.getLogger(__name__)

Encode = Callable[[list[str]], Vectors]

_ROWS_AT_ONCE = 2048


class Embedding(NamedTuple):
    """How texts become vectors.

    Attributes:
        encode: some texts -> float32 unit vectors (n, dim).
        dimension: dim.
        fingerprint: of the model, its template and the instruction.
    """

    encode: Encode
    dimension: int
    fingerprint: str


def embed_texts(
    texts: Texts, embedding: Embedding, folder: Path, role: str, *, progress: Progress | None = None
) -> Vectors:
    """Embed texts into `folder`, or find that it was done.

    Args:
        texts: n texts.
        embedding: what makes the vectors.
        folder: made if it is missing.
        role: the file's name, such as "queries".
        progress: called as progress("embedding <role>", done, n).

    Returns:
        float32 (n, dim), memory-mapped, read-only.

    Raises:
        StorageError: the file system refuses.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    vectors_file, state_file = folder / f"{role}.npy", folder / f"{role}.json"
    shape = (len(texts), embedding.dimension)
    fingerprint = _fingerprint(texts, embedding)
    done = _rows_done(vectors_file, state_file, fingerprint, shape)
    if done == 0:
        state_file.unlink(missing_ok=True)  # first, so that it never counts rows of another file
        with storage_errors(vectors_file):
            np.lib.format.open_memmap(vectors_file, mode="w+", dtype=np.float32, shape=shape).flush()
        sync_directory(folder)
    elif progress is not None:
        progress(f"embedding {role}", done, len(texts))
    if done < len(texts):
        vectors = np.lib.format.open_memmap(vectors_file, mode="r+")
        for batch in texts.batches(done, size=_ROWS_AT_ONCE):
            vectors[done : done + len(batch)] = embedding.encode(batch)
            vectors.flush()
            done += len(batch)
            state = {"fingerprint": fingerprint, "rows": len(texts), "done": done}
            replace_file(state_file, json.dumps(state).encode())
            if progress is not None:
                progress(f"embedding {role}", done, len(texts))
        del vectors
    mapped: Vectors = np.lib.format.open_memmap(vectors_file, mode="r")
    return mapped


def _fingerprint(texts: Texts, embedding: Embedding) -> str:
    """Of the model and of the texts as they are: normalised ones may have other vectors."""
    digest = hashlib.blake2b(f"{embedding.fingerprint} {embedding.dimension}".encode(), digest_size=16)
    for batch in texts.batches():
        digest.update("".join(f"{len(text)} {text}" for text in batch).encode())
    return digest.hexdigest()


def _rows_done(vectors_file: Path, state_file: Path, fingerprint: str, shape: tuple[int, int]) -> int:
    """How many rows of these texts are there already; 0 when the file is of others, or damaged."""
    try:
        state = json.loads(state_file.read_bytes())
        there = np.lib.format.open_memmap(vectors_file, mode="r")
        same = state["fingerprint"] == fingerprint and there.shape == shape and there.dtype == np.float32
        return min(int(state["done"]), shape[0]) if same else 0
    except FileNotFoundError:
        return 0
    except (ValueError, KeyError, TypeError):
        logger.warning("%s is damaged and is made anew", vectors_file)
        return 0
