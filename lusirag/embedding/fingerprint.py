"""A short name for what a model computes: another one when its weights, tokenizer or text templates differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PIECE = 32 * 2**20  # bytes hashed by one thread at a time
# Notes of the library that wrote config.json; they do not change a vector.
NOTES = ("architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path")


def fingerprint_of(config: dict[str, Any], files: Iterable[Path]) -> str:
    """32 hexadecimal digits over the configuration and the bytes of the files (tokenizer and weights).

    Args:
        config: config.json as read.
        files: their names count too, not their folders.
    """
    relevant = {key: value for key, value in config.items() if key not in NOTES}
    total = hashlib.blake2b(json.dumps(relevant, sort_keys=True, ensure_ascii=False).encode("utf-8"), digest_size=16)
    with ThreadPoolExecutor() as threads:
        for file in files:
            total.update(file.name.encode("utf-8"))
            starts = range(0, file.stat().st_size, PIECE)
            for digest in threads.map(lambda start, file=file: _digest(file, start), starts):
                total.update(digest)
    return total.hexdigest()


def cut_fingerprint(fingerprint: str, kept: int, full: int) -> str:
    """A model's fingerprint where its vectors are cut from `full` to `kept` values."""
    return fingerprint if kept == full else f"{fingerprint}-{kept}"


def _digest(file: Path, start: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(start)
        return hashlib.blake2b(stream.read(PIECE), digest_size=16).digest()
