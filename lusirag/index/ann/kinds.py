"""Kinds of approximate search: which FAISS structure a segment gets, and what `auto` decides.

kind      structure of a segment               bytes a passage at 384 dimensions (float16 vectors on disk are 768)
flat      none: exact search over the vectors  768
hnsw      HNSW32,SQ8                           656
ivf       IVF<lists>,SQ8                       about 405
ivf-pq    IVF<lists>,PQ<dimension/4>x4fs       about 70
binary    RaBitQ: one bit a number             56

Any other FAISS factory string is taken too. Whatever the structure, its candidates are scored again from the vectors.
"""

from __future__ import annotations

import logging
import math
import re

from lusirag.errors import InvalidArgumentError
from lusirag.index.ann.memory import Layout, in_words, structure_bytes
from lusirag.index.ann.records import DEFAULT_LATENCY_MS, AnnRecord
from lusirag.index.engine import load_faiss, reason

logger = logging.getLogger(__name__)

KINDS = ("auto", "flat", "hnsw", "ivf", "ivf-pq", "binary")
_BY_PREFERENCE = ("hnsw", "ivf", "ivf-pq", "binary")  # each is smaller than the one before

# Smaller segments are searched exactly: it takes a millisecond, and they soon become part of a larger one.
SMALLEST_SEGMENT = 8192
# Numbers in all vectors that exact search passes over in a millisecond, roughly, on one core (benchmarks/storage.py).
EXACT_NUMBERS_A_MS = 10_000 * 384
TRAINING_POINTS = 39  # that a list must have at least, as FAISS recommends


def checked_kind(kind: object, dimension: int) -> str:
    """A kind, or a FAISS factory string that fits the vectors.

    Raises:
        InvalidArgumentError: it is neither; says what FAISS says of it.
        MissingDependencyError: a factory string, and FAISS is not installed.
    """
    if kind in KINDS:
        return str(kind)
    allowed = f"allowed: {', '.join(KINDS)}, or a FAISS factory string such as HNSW32,SQ8 or IVF4096,PQ48"
    if not isinstance(kind, str) or not kind or kind.lower() in KINDS or "IDMap" in kind:
        raise InvalidArgumentError(f"ann is {kind!r}; {allowed}")
    faiss = load_faiss()
    try:
        index = faiss.index_factory(dimension, kind, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise InvalidArgumentError(
            f"ann is {kind!r}, of which FAISS makes nothing for {dimension} dimensions ({reason(error)}); {allowed}"
        ) from None
    if index.metric_type != faiss.METRIC_INNER_PRODUCT or index.d != dimension:
        raise InvalidArgumentError(f"ann is {kind!r}, which does not search by inner product; {allowed}")
    return kind


def structure_for(ann: AnnRecord, rows: int, total: int, layout: Layout) -> str | None:
    """The factory string of a segment's structure, None for exact search.

    Args:
        ann: what was asked for.
        rows: passages of the segment.
        total: live passages of the index.
        layout: of the index.
    """
    if rows < SMALLEST_SEGMENT:
        return None
    kind = ann.kind if ann.kind != "auto" else chosen(total, layout, ann.memory, ann.latency_ms)
    return factory(kind, rows, layout.dimension)


def chosen(total: int, layout: Layout, memory: int | None, latency_ms: float = DEFAULT_LATENCY_MS) -> str:
    """What `auto` takes for `total` passages: exact search where it is quick enough, else the first that fits.

    Where nothing fits, the smallest; whoever knows the number before refuses with `check_memory`.
    """
    exact = total * layout.dimension <= latency_ms * EXACT_NUMBERS_A_MS
    for kind in ("flat", *_BY_PREFERENCE) if exact else _BY_PREFERENCE:
        if memory is None or (needed(kind, total, layout) or 0) <= memory:
            return kind
    return _BY_PREFERENCE[-1]


def factory(kind: str, rows: int, dimension: int) -> str | None:
    """The factory string of a kind for a segment of `rows` passages; of a factory string, what fits so many."""
    lists = max(1, min(round(4 * math.sqrt(rows)), rows // TRAINING_POINTS))
    if kind == "flat":
        return None
    if kind == "hnsw":
        return "HNSW32,SQ8"
    if kind == "ivf":
        return f"IVF{lists},SQ8"
    if kind == "ivf-pq":
        return f"IVF{lists},PQ{_quarter(dimension)}x4fs"
    if kind == "binary":
        return "RaBitQ"
    asked = re.search(r"(?<![A-Za-z])IVF(\d+)", kind)
    if asked and int(asked[1]) > (most := max(1, rows // TRAINING_POINTS)):
        logger.info("%s: a segment of %s passages gets %d lists instead of %s", kind, f"{rows:,}", most, asked[1])
        return f"{kind[: asked.start(1)]}{most}{kind[asked.end(1) :]}"
    return kind


def _quarter(dimension: int) -> int:
    """The largest divisor of the dimension that is at most a quarter of it."""
    return next(parts for parts in range(max(dimension // 4, 1), 0, -1) if dimension % parts == 0)


def needed(kind: str, total: int, layout: Layout) -> int | None:
    """Bytes of memory that an index of `total` passages needs; None for a factory string of unknown size."""
    sizes = []
    for rows in layout.segment_rows(total):
        structure = None if rows < SMALLEST_SEGMENT else factory(kind, rows, layout.dimension)
        sizes.append(structure_bytes(structure, rows, layout.dimension, layout.number_bytes))
    return None if None in sizes else sum(size for size in sizes if size is not None)


def check_memory(ann: AnnRecord, total: int, layout: Layout) -> None:
    """Refuse an index that will not fit, before it is built.

    Raises:
        InvalidArgumentError: it needs more than `memory`, or how much is not known; names the kinds that fit.
    """
    kind, memory = ann.kind, ann.memory
    if memory is None:
        return
    sizes = {name: needed(name, total, layout) or 0 for name in ("flat", *_BY_PREFERENCE)}
    asked = chosen(total, layout, memory, ann.latency_ms) if kind == "auto" else kind
    size = sizes[asked] if asked in sizes else needed(asked, total, layout)
    if size is not None and size <= memory:
        return
    fitting = [f"{name} ({in_words(each)})" for name, each in sizes.items() if each <= memory]
    advice = f"what fits: {', '.join(fitting)}" if fitting else "nothing fits; allow more, or index less"
    about = f"{total:,} passages of {layout.dimension} numbers"
    if size is None:
        raise InvalidArgumentError(
            f"how much memory ann={asked!r} needs is not known, so it cannot be kept under {in_words(memory)}; "
            f"leave memory out, or choose a kind ({advice})"
        )
    smallest = " even" if kind == "auto" else ""
    raise InvalidArgumentError(
        f"{about} need{smallest} {in_words(size)} with ann={asked!r}, and {in_words(memory)} are allowed; {advice}"
    )
