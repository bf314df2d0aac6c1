"""How much memory search needs, told before anything is built.

What counts is what a search keeps touching: the structure of an approximate index, the vectors themselves where search
is exact. Both are memory maps: where there is less memory, search still answers, but waits for the disk. Approximate
search reads a few stored vectors of each query besides; those are not counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lusirag.errors import InvalidArgumentError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40, "K": 10**3, "M": 10**6, "G": 10**9}
_LISTED_ID = 8  # bytes of a row's number in an inverted list


@dataclass(frozen=True, slots=True)
class Layout:
    """What of an index decides how large it gets.

    Attributes:
        dimension: numbers of a vector.
        number_bytes: bytes of a stored number.
        largest: passages that one segment may hold.
    """

    dimension: int
    number_bytes: int
    largest: int

    def segment_rows(self, total: int) -> Iterator[int]:
        """How many passages the segments of an index of `total` passages hold once they are merged."""
        while total > 0:
            yield min(total, self.largest)
            total -= self.largest


def structure_bytes(factory: str | None, rows: int, dimension: int, number_bytes: int) -> int | None:
    """Bytes that must stay in memory for a segment to be searched quickly.

    Args:
        factory: FAISS factory string; None for exact search.
        rows: passages of the segment.
        dimension: of the vectors.
        number_bytes: bytes of a stored number.

    Returns:
        None for a factory string with parts whose size is not known here. The others are those of FAISS's own file
        format, up to 15 % (tests/unit/index/test_ann_memory.py).
    """
    if factory is None:
        return number_bytes * dimension * rows
    width, each, once = dimension, 0.0, 0.0  # of a vector as it arrives; bytes a passage; bytes of the whole structure
    coded = False
    for part in re.split(r",(?![^()]*\))", factory):
        if found := re.fullmatch(r"(OPQ\d+|PCA[RW]?|RR)(?:_?(\d+))?", part):
            new = int(found[2] or width)
            once += 4 * width * (new + (width if found[1].startswith("PCA") else 0))
            width = new
        elif found := re.fullmatch(r"IVF(\d+)(?:\(?_?HNSW(\d+).*)?", part):
            once += int(found[1]) * (4 * width + (_links(int(found[2])) if found[2] else 0))
            each += _LISTED_ID
        elif found := re.fullmatch(r"HNSW(\d*)", part):
            each += _links(int(found[1] or 32))
        else:
            code = _code(part, width)
            if code is None or coded:
                return None
            each, once, coded = each + code[0], once + code[1], True
    return int(rows * (each + (0 if coded else 4 * width)) + once)


def _links(neighbours: int) -> float:
    """Bytes of a node's links in HNSW: twice as many on the lowest level, hardly any above, and its level and place."""
    return 4 * (2 * neighbours + neighbours / max(neighbours - 1, 1)) + 12


def _code(part: str, width: int) -> tuple[float, float] | None:
    """Bytes of a vector's code, and of what decodes it."""
    if part == "Flat":
        return 4.0 * width, 0.0
    if found := re.fullmatch(r"SQ(8|6|4|fp16|bf16)(?:bit)?", part):
        bits = {"fp16": 16, "bf16": 16}.get(found[1]) or int(found[1])
        return width * bits / 8, 8.0 * width
    if found := re.fullmatch(r"PQ(\d+)(?:x(\d+))?(fs)?(?:np)?(?:_\d+)?", part):
        bits = int(found[2] or 8)
        return int(found[1]) * bits / 8, 4.0 * width * (1 << bits)
    if re.fullmatch(r"RaBitQ(fs)?", part):
        return width / 8 + 8, 4.0 * width
    return None


def parse_size(text: str | int | None) -> int | None:
    """A number of bytes such as "2GB", "500 MiB" or 10_000_000; None stays None.

    Raises:
        InvalidArgumentError: it is no such thing, or zero.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([A-Za-z]*)", str(text).strip())
    unit = _UNITS.get(found[2].upper()) if found else None
    size = int(float(found[1]) * unit) if found and unit else 0
    if size < 1 or isinstance(text, bool):
        raise InvalidArgumentError(f"memory is {text!r}; it must be a size such as 500MB, 2GB or 1.5GiB")
    return size


def in_words(size: int) -> str:
    """A number of bytes as a person reads it."""
    for unit, one in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= one:
            return f"{size / one:,.1f} {unit}"
    return f"{size} B"
